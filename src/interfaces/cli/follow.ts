import { tableCount, type Report } from '../../domain/report.js';
import { exitCodeOf, printJson, printLines, shellWord, silenceLines, type ExitCode } from './output.js';
import type { CommandContext } from './command.js';
import { ProgressView } from './progress-view.js';
import { nextSteps } from './status-text.js';

/** Milliseconds between two looks. */
const POLL_MS = 500;

/** Follows a recovery to its end. Ctrl-C leaves it running. */
export async function follow(context: CommandContext, id: string, json: boolean): Promise<ExitCode> {
  const { streams } = context;
  const view = new ProgressView(streams);
  const release = streams.onInterrupt?.(() =>
    view.note(`the recovery goes on; come back with: ch-recover watch ${shellWord(id)}`),
  );
  let silent = false;
  let hinted = '';
  try {
    const report = await (
      await context.recoveries()
    ).watch(
      id,
      (progress) => {
        silent = false;
        if (!json) view.show(progress);
        // Somebody has to act: once for each time, on stderr, so that stdout stays what it is.
        const next = nextSteps(progress).join('\n');
        if (next !== hinted) for (const line of nextSteps(progress)) view.note(line);
        hinted = next;
      },
      POLL_MS,
      (reason) => {
        if (!silent) for (const line of silenceLines(reason)) view.note(line);
        silent = true;
      },
    );
    if (json) printJson(streams, report, 2);
    else printLines(streams, ['', ...summary(report)]);
    return exitCodeOf(report.outcome);
  } finally {
    release?.();
  }
}

function summary(report: Report): string[] {
  const recovered = tableCount(report, 'recovered');
  return [
    `${report.outcome}: ${recovered} ${recovered === 1 ? 'table' : 'tables'} recovered, ${tableCount(report, 'failed') + tableCount(report, 'skipped')} not, RTO ${report.rtoSeconds} s, fence ${report.fence}`,
    ...(report.problem ? [`${report.problem.code}: ${report.problem.message}`, `hint: ${report.problem.hint}`] : []),
    ...report.warnings.map((warning) => `warning: ${warning}`),
    `the whole report: ch-recover report ${shellWord(report.recoveryId)}`,
  ];
}
