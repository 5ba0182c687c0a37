import { inLanes } from '../domain/lanes.js';
import { tableReports, withTables } from '../domain/build-report.js';
import type { Report } from '../domain/report.js';
import type { PlanRef } from '../domain/stored-plan.js';
import type { Ports } from '../ports.js';
import type { Run } from './index.js';
import { findRecords, resultsOf } from './results.js';
import { readIndex, readPiece } from './stored-plan.js';

export interface LargeReportInput {
  id: string;
  run: Run;
  stored: PlanRef;
  /** As the workflow knows it: everything but the tables. */
  report: Report;
}

const READS_AT_ONCE = 8;

/** Piece by piece: the tables of a report take a tenth of the space of their plan. */
export async function saveLargeReport(ports: Ports, { id, run, stored, report }: LargeReportInput): Promise<Report> {
  const { plan, pieces } = await readIndex(ports, stored);
  const times = {
    startedAt: Date.parse(report.startedAt),
    finishedAt: Date.parse(report.finishedAt),
    stages: report.stages,
  };
  const found = await inLanes([...pieces.keys()], READS_AT_ONCE, async (piece) => {
    const items = await readPiece(ports, stored, piece);
    // Of what was never begun nothing is known.
    const results = resultsOf(items, (await findRecords(ports, run, piece)) ?? {});
    const timelines = new Map([...results].map(([key, { timeline }]) => [key, timeline]));
    return tableReports(items, { results, timelines, ...times });
  });
  const tables = found.flat();
  const { whole, result } = withTables({ ...report, keeperState: plan.keeperState }, tables);
  await ports.reports.save(id, whole);
  return { ...result, keeperState: report.keeperState };
}
