import type { Activities, BatchInput, BatchSummary } from '../../src/activities/index.js';
import { withTables, tableReports, tallyResults, unitKey, type UnitResult } from '../../src/domain/build-report.js';
import { problem } from '../../src/domain/errors.js';
import { compilePattern } from '../../src/domain/names.js';
import type { Plan, PlanItem } from '../../src/domain/plan.js';
import type { Report } from '../../src/domain/report.js';
import { splitPlan, summaryOf } from '../../src/domain/stored-plan.js';
import { addTallies, NO_TALLY } from '../../src/domain/tally.js';

/** A store of plans and results in memory, and activities that work on it: on a cluster on which all goes well. */
export function largePlan(plan: Plan, { fails = () => false }: { fails?: (item: PlanItem) => boolean } = {}) {
  const { pieces, stored } = splitPlan(plan);
  const summary = summaryOf(plan, { ...stored, hash: plan.hash, index: 'f'.repeat(64) });
  const results = new Map<string, UnitResult>();
  const reports: Report[] = [];
  const setState = (item: PlanItem, state: UnitResult['state']) => {
    const rows = item.expected?.rows ?? null;
    results.set(unitKey(item), {
      ...{ state, rowsFound: rows, partsFound: 2, rowsExpected: rows, partsExpected: 2, detachedLeft: 0 },
      ...{ evidence: 'part hashes of the manifest', activation: 'active' },
      ...(state === 'failed' ? { problem: problem('DISK_FULL', `no space for ${item.table}`) } : {}),
    });
  };
  const itemsOf = ({ batch }: BatchInput) => pieces[batch]?.items ?? [];
  const hasWork = (item: PlanItem) => item.action !== 'none' && item.action !== 'needs-operator';
  const stateOf = (item: PlanItem) => results.get(unitKey(item))?.state ?? 'waiting';
  const chosen = (input: BatchInput) => {
    const { again } = input;
    const patterns = (again ?? []).map(compilePattern);
    const matches = (item: PlanItem) => patterns.length === 0 || patterns.some((each) => each(item));
    return itemsOf(input).filter((item) =>
      again === undefined ? hasWork(item) : stateOf(item) === 'failed' && matches(item),
    );
  };
  const summarise = (input: BatchInput, stages: BatchSummary['stages']): BatchSummary => ({
    tally: tallyResults(itemsOf(input), results),
    stages,
    failedIn: itemsOf(input).some((item) => stateOf(item) === 'failed') ? ['restore-data'] : [],
  });
  const T = Date.parse('2026-01-01T00:00:00Z');
  const activities: Partial<Activities> = {
    planRecovery: async (_request, _copies, readsStored) => (readsStored ? summary : plan),
    restoreBatch: async (input) => {
      for (const item of chosen(input))
        setState(item, fails(item) ? 'failed' : item.action === 'create-object' ? 'waiting' : 'validate');
      return summarise(input, {
        'restore-data': [T, T + 1],
        'verify-parts': [T, T + 2],
        'restore-replica': [T, T + 3],
      });
    },
    createBatchObjects: async (input) => {
      for (const item of itemsOf(input))
        if (item.action === 'create-object' && stateOf(item) === 'waiting') setState(item, 'validate');
      return summarise(input, {});
    },
    validateBatch: async (input) => {
      for (const item of itemsOf(input)) if (stateOf(item) === 'validate') setState(item, 'done');
      return summarise(input, { validate: [T + 4, T + 5] });
    },
    promoteBatch: async (input) => summarise(input, {}),
    skipFailed: async ({ batches, ...input }) => {
      let tally = NO_TALLY;
      for (let batch = input.batch; batch < input.batch + batches; batch++) {
        const at = { ...input, batch };
        for (const item of chosen({ ...at, again: input.again ?? [] })) setState(item, 'skipped');
        tally = addTallies(tally, summarise(at, {}).tally);
      }
      return tally;
    },
    saveLargeReport: async ({ report }) => {
      const times = { startedAt: T, finishedAt: T + 10, stages: report.stages };
      const { whole, result } = withTables(report, tableReports(plan.items, { results, ...times }));
      reports.push(whole);
      return result;
    },
  };
  return { summary, activities, results, reports, pieces };
}
