import { RecoveryError } from '../domain/errors.js';
import { planToText } from '../domain/render-plan.js';
import type { Report } from '../domain/report.js';
import type { RecoveryService } from './recoveries.js';

/** The part of the report store that is read: what is there when Temporal has forgotten a run. */
export interface ReportArchive {
  /** Null where there is none. Throws REPORTS_UNAVAILABLE. */
  load(id: string): Promise<Report | null>;
  plan(hash: string): Promise<string | null>;
}

/**
 * What Temporal says, or the stored report where it does not know the run any more. Only then: an id may be used again,
 * and while a run of it is open, or Temporal away, the stored report may be that of another.
 */
export async function storedUnlessKnown<T>(
  ask: () => Promise<T>,
  archive: () => Promise<Pick<ReportArchive, 'load'>>,
  id: string,
): Promise<T | Report> {
  try {
    return await whole(await ask(), archive);
  } catch (error) {
    if (!(error instanceof RecoveryError) || error.code !== 'WORKFLOW_UNKNOWN' || id === '') throw error;
    const stored = await archive()
      .then((found) => found.load(id))
      // No configuration, or a store that is away: that is no answer to the question.
      .catch(() => null);
    if (!stored) throw error;
    return stored;
  }
}

/** The result of a workflow does not name the tables of a large recovery: the stored report of the same run does. */
async function whole<T>(found: T, archive: () => Promise<Pick<ReportArchive, 'load'>>): Promise<T | Report> {
  const report = found as Partial<Report>;
  if (!report.omittedTables || report.recoveryId === undefined) return found;
  const id = report.recoveryId;
  const stored = await archive()
    .then((store) => store.load(id))
    .catch(() => null);
  return stored && stored.startedAt === report.startedAt && stored.finishedAt === report.finishedAt ? stored : found;
}

/** The plan of a report as text: stored, else from its workflow, which a worker has to answer. Null: neither has it. */
export async function planTextOf(
  report: Report,
  recoveries: Pick<RecoveryService, 'plan'>,
  archive: () => Promise<Pick<ReportArchive, 'plan'>>,
): Promise<string | null> {
  const { hash } = report.plan;
  if (hash === '') return null;
  const stored = await archive()
    .then((found) => found.plan(hash))
    .catch(() => null);
  if (stored !== null) return stored;
  const plan = await recoveries.plan(report.recoveryId).catch(() => null);
  // Of a large plan the workflow knows the numbers only.
  return plan?.hash === hash && !plan.stored ? planToText(plan) : null;
}
