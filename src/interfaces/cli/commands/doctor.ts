import type { DoctorReport } from '../../../service/direct.js';
import { printJson, printLines } from '../output.js';
import type { CommonOptions, Define } from '../command.js';

export function addDoctor(define: Define): void {
  define<CommonOptions & { cluster: string }>(
    'doctor',
    'read-only checks of everything a recovery needs',
    (command) => command.requiredOption('--cluster <name>'),
    async (context, options) => {
      const report = await (await context.direct()).doctor(options.cluster);
      if (options.json) printJson(context.streams, report, 2);
      else printLines(context.streams, lines(report));
      return report.ok ? 0 : 1;
    },
  );
}

function lines({ keeper, nodes, backups }: DoctorReport): string[] {
  const mark = (ok: boolean) => (ok ? '✔' : '✖');
  return [
    `${mark(keeper.ok)} keeper: ${keeper.detail}`,
    ...nodes.flatMap((node) =>
      node.checks.map(
        (check) => `${mark(check.ok)} ${node.name} (${node.shard}/${node.replica}) ${check.name}: ${check.detail}`,
      ),
    ),
    ...backups.map((backup) => `  backup ${backup.repository}/${backup.name}, taken ${backup.takenAt}`),
    ...(backups.length === 0 ? ['  no backups'] : []),
  ];
}
