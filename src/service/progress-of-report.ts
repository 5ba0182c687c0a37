import type { Progress, UnitProgress, UnitTotals } from '../domain/messages.js';
import { unitLabel } from '../domain/names.js';
import { tableCount, type Report, type TableReport } from '../domain/report.js';

const STATE: Record<TableReport['outcome'], UnitProgress['state']> = {
  recovered: 'done',
  unchanged: 'done',
  failed: 'failed',
  skipped: 'skipped',
};

function totalsOfReport(report: Report): UnitTotals {
  const [done, failed, skipped] = (['recovered', 'failed', 'skipped'] as const).map((each) => tableCount(report, each));
  return { units: done! + failed! + skipped!, done: done!, failed: failed!, skipped: skipped! };
}

/** The last progress of a closed run, from its result: needs no worker to answer a query. */
export function progressOfReport(report: Report): Progress {
  return {
    recoveryId: report.recoveryId,
    cluster: report.cluster,
    phase: 'closed',
    planHash: report.plan.hash === '' ? null : report.plan.hash,
    stages: report.stages,
    ...(report.omittedTables ? { totals: totalsOfReport(report) } : {}),
    units: report.tables
      .filter((table) => table.action !== 'none')
      .map((table) => ({
        label: unitLabel(table, table.shard, table.replica),
        state: STATE[table.outcome],
        rows: table.rowsFound,
        ...(table.problem ? { problem: table.problem } : {}),
      })),
    paused: false,
    outcome: report.outcome,
    problem: report.problem ?? null,
  };
}
