import { printJson, printLines } from '../output.js';
import type { CommonOptions, Define } from '../command.js';

export function addUnfence(define: Define): void {
  define<CommonOptions & { cluster: string }>(
    'unfence',
    'lift the fence of a cluster; works without a workflow',
    (command) => command.requiredOption('--cluster <name>'),
    async (context, options) => {
      const report = await (await context.direct()).unfence(options.cluster);
      if (options.json) printJson(context.streams, report, 2);
      else
        printLines(
          context.streams,
          report.nodes.map((node) => `${node.ok ? '✔' : '✖'} ${node.name}: ${node.detail}`),
        );
      return report.ok ? 0 : 1;
    },
  );
}
