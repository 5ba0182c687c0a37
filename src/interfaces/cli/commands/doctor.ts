import { RecoveryError } from '../../../domain/errors.js';
import type { DoctorCheck, DoctorReport } from '../../../service/direct.js';
import { toRecoveryError } from '../../../service/recoveries.js';
import { printJson, printLines } from '../output.js';
import type { CommandContext, CommonOptions, Define } from '../command.js';

export function addDoctor(define: Define): void {
  define<CommonOptions & { cluster: string }>(
    'doctor',
    'read-only checks of nodes, ZooKeeper and the worker',
    (command) => command.requiredOption('--cluster <name>'),
    async (context, options) => {
      const direct = await context.direct();
      const [examined, worker] = await Promise.all([
        direct.doctor(options.cluster),
        examineWorker(context, direct.taskQueue),
      ]);
      const report: DoctorReport = { ...examined, ok: examined.ok && worker.ok, worker };
      if (options.json) printJson(context.streams, report, 2);
      else printLines(context.streams, lines(report));
      return report.ok ? 0 : 1;
    },
  );
}

/** Whether a recovery would find somebody to run it. */
async function examineWorker(context: CommandContext, taskQueue: string): Promise<DoctorCheck> {
  try {
    const workers = await (await context.recoveries()).workers(taskQueue);
    if (workers === 0) throw new RecoveryError('WORKER_UNAVAILABLE', `no worker polls task queue ${taskQueue}`);
    const seen =
      workers === null ? 'Temporal does not say whether one polls' : `${workers} polled in the last five minutes`;
    return { name: 'worker', ok: true, detail: `${seen} (task queue ${taskQueue})` };
  } catch (error) {
    const found = toRecoveryError(error);
    if (!(found instanceof RecoveryError)) throw found;
    return { name: 'worker', ok: false, detail: `${found.code}: ${found.message} (hint: ${found.hint})` };
  }
}

function lines({ keeper, worker, nodes, backups }: DoctorReport): string[] {
  const line = ({ ok, name, detail }: DoctorCheck, where = '') => `${ok ? '✔' : '✖'} ${where}${name}: ${detail}`;
  return [
    line(worker),
    line(keeper),
    ...nodes.flatMap((node) =>
      node.checks.map((check) => line(check, `${node.name} (${node.shard}/${node.replica}) `)),
    ),
    ...backups.map((backup) => `  backup ${backup.repository}/${backup.name}, taken ${backup.takenAt}`),
    ...(backups.length === 0
      ? ['  no backup is known to the nodes that answer: `ch-recover backup` takes one, others are named as REPO/NAME']
      : []),
  ];
}
