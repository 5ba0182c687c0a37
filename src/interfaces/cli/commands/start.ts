import { RecoveryError } from '../../../domain/errors.js';
import { parseRequest } from '../../../domain/request.js';
import { follow } from '../follow.js';
import { printJson, printLines, shellWord } from '../output.js';
import { collect, type CommonOptions, type Define } from '../command.js';
import { announce } from '../announce.js';

interface StartOptions extends CommonOptions {
  cluster: string;
  backup?: string;
  tables?: string[];
  incident?: string;
  approve?: string;
  yes?: boolean;
  adopt?: boolean;
  wait?: boolean;
}

export function addStart(define: Define): void {
  define<StartOptions>(
    'start',
    'start a recovery',
    (command) =>
      command
        .requiredOption('--cluster <name>')
        .option('--backup <ref>', 'latest, REPO or REPO/NAME')
        .option('--tables <pattern>', "such as 'db.*'; repeatable", collect)
        .option('--incident <id>', 'a repeat with the same id finds the run instead of starting another')
        .option('--approve <hash>', 'approve the plan with this hash in advance')
        .option('--yes', 'approve whatever the plan is')
        .option('--adopt', 'go on from the safety clones of an unfinished recovery')
        .option('--wait', 'follow it to its end'),
    async (context, options) => {
      // Before anything is opened: bad input needs no server to be refused.
      const request = requestOf(options);
      const json = options.json === true;
      const taskQueue = await context.taskQueue();
      const started = await (await context.recoveries()).start(request, taskQueue);
      announce(context, started, json);
      if (options.wait) return follow(context, started.id, json);
      if (json) printJson(context.streams, started);
      else printLines(context.streams, [`watch it with: ch-recover watch ${shellWord(started.id)}`]);
      return 0;
    },
  );
}

function requestOf(options: StartOptions) {
  if (options.yes && options.approve !== undefined)
    throw new RecoveryError('INPUT_INVALID', '--yes and --approve exclude each other', { field: 'approve' });
  return parseRequest({
    cluster: options.cluster,
    backup: options.backup,
    tables: options.tables,
    incident: options.incident,
    approve: options.approve,
    adopt: options.adopt,
    approval: options.yes ? 'auto' : undefined,
  });
}
