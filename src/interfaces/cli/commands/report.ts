import { RecoveryError } from '../../../domain/errors.js';
import { printable } from '../../../domain/render-plan.js';
import { reportToMarkdown } from '../../../domain/render-report.js';
import { exitCodeOf, printJson, silenceLines } from '../output.js';
import type { CommonOptions, Define } from '../command.js';

export function addReport(define: Define): void {
  define<CommonOptions & { format: string }>(
    'report',
    'the report of a recovery; waits for its end',
    (command) => command.argument('<id>').option('--format <format>', 'json or markdown', 'markdown'),
    async (context, options, id) => {
      if (options.format !== 'json' && options.format !== 'markdown')
        throw new RecoveryError('INPUT_INVALID', 'format is json or markdown', { field: 'format' });
      const report = await (
        await context.recoveries()
      ).report(id, (reason) => {
        for (const line of silenceLines(reason)) context.streams.err(`${printable(line)}\n`);
      });
      if (options.json || options.format === 'json') printJson(context.streams, report, 2);
      else context.streams.out(reportToMarkdown(report));
      return exitCodeOf(report.outcome);
    },
  );
}
