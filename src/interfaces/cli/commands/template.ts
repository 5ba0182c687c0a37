import { RecoveryError } from '../../../domain/errors.js';
import { parseRequest } from '../../../domain/request.js';
import { templateLink } from '../../../domain/template.js';
import { likelyUi } from '../../../service/connect.js';
import { collect, type CommandContext, type CommonOptions, type Define } from '../command.js';
import { printJson, printLines } from '../output.js';

interface TemplateOptions extends CommonOptions {
  cluster: string;
  backup?: string;
  tables?: string[];
  ui?: string;
}

export function addTemplate(define: Define): void {
  define<TemplateOptions>(
    'template',
    'leave a run that does nothing, and print the link to a form of the Temporal UI that is filled in like it',
    (command) =>
      command
        .requiredOption('--cluster <name>')
        .option('--backup <ref>', 'latest, REPO or REPO/NAME')
        .option('--tables <pattern>', "such as 'db.*'; repeatable", collect)
        .option('--ui <url>', 'address of the UI; default: temporal.ui of recovery.yaml'),
    async (context, options) => {
      const { cluster, backup, tables } = options;
      const request = parseRequest({ cluster, backup, tables });
      if (options.ui !== undefined && !/^https?:\/\/[^/]/.test(options.ui))
        throw new RecoveryError('INPUT_INVALID', '--ui is no http or https address', { field: 'ui' });
      const taskQueue = await context.taskQueue();
      const configured = options.ui ?? (await uiOf(context));
      const template = await (await context.recoveries()).template(request, taskQueue);
      const url = templateLink(configured ?? likelyUi(), template);
      if (options.json) printJson(context.streams, { ...template, url });
      else printLines(context.streams, [`left the template ${template.id}; start a recovery like it with:`, url]);
      if (configured === undefined)
        context.streams.err('note: where the UI is was guessed; --ui or temporal.ui in recovery.yaml says it\n');
      return 0;
    },
  );
}

/** Undefined also where there is no configuration: `taskQueue` has complained where there should be one. */
async function uiOf(context: CommandContext): Promise<string | undefined> {
  try {
    return (await context.direct()).ui;
  } catch {
    return undefined;
  }
}
