import type { BackupResult } from '../../../domain/messages.js';
import { parseBackupRequest } from '../../../domain/request.js';
import { announce } from '../announce.js';
import { printJson, printLines } from '../output.js';
import type { CommonOptions, Define } from '../command.js';

interface BackupOptions extends CommonOptions {
  cluster: string;
  to: string;
  name?: string;
  wait?: boolean;
}

export function addBackup(define: Define): void {
  define<BackupOptions>(
    'backup',
    'back up every shard, with a manifest',
    (command) =>
      command
        .requiredOption('--cluster <name>')
        .requiredOption('--to <repository>')
        .option('--name <name>', 'default: the time')
        .option('--wait', 'wait for its end'),
    async (context, options) => {
      const request = parseBackupRequest({ cluster: options.cluster, to: options.to, name: options.name });
      const json = options.json === true;
      const taskQueue = await context.taskQueue();
      const recoveries = await context.recoveries();
      const started = await recoveries.startBackup(request, taskQueue);
      announce(context, started, json);
      if (!options.wait) {
        if (json) printJson(context.streams, started);
        return 0;
      }
      const result = await recoveries.backupResult(started.id);
      if (json) printJson(context.streams, result, 2);
      else printLines(context.streams, lines(result));
      return 0;
    },
  );
}

function lines({ repository, name, shards, warnings }: BackupResult): string[] {
  const number = (value: number) => value.toLocaleString('en-US');
  return [
    ...shards.map(
      (shard) =>
        `shard ${shard.shard} from ${shard.node}: ${number(shard.tables)} tables, ${number(shard.rows)} rows, ${number(shard.parts)} parts, ${number(shard.bytes)} bytes`,
    ),
    ...warnings.map((warning) => `warning: ${warning}`),
    `backup ${repository}/${name}`,
  ];
}
