import { ERRORS, type Problem } from './errors.js';
import type { UnitProgress } from './messages.js';
import { unitLabel } from './names.js';
import { situationCounts, type Plan, type PlanItem } from './plan.js';
import {
  REPORT_SCHEMA_VERSION,
  STAGES,
  type Objectives,
  type Outcome,
  type Report,
  type StageReport,
  type TableReport,
} from './report.js';
import type { RecoveryRequest } from './request.js';
import { spansOf, type TimedStage } from './timeline.js';

/** How one unit of the plan ended. */
export interface UnitResult {
  state: UnitProgress['state'];
  rowsFound: number | null;
  partsFound: number | null;
  rowsExpected: number | null;
  partsExpected: number | null;
  detachedLeft: number;
  evidence: string;
  activation: string;
  problem?: Problem;
}

export interface ReportInput {
  recoveryId: string;
  request: RecoveryRequest;
  plan: Plan | null;
  approvedBy: string;
  results: Map<string, UnitResult>;
  /** By the same key. */
  timelines?: Map<string, TimedStage[]>;
  stages: StageReport[];
  fence: Report['fence'];
  /** Milliseconds since the epoch, workflow time. */
  startedAt: number;
  finishedAt: number;
  aborted: boolean;
  problem: Problem | null;
  warnings: string[];
  objectives?: Objectives;
}

export function unitKey(item: Pick<PlanItem, 'database' | 'table' | 'node'>): string {
  return JSON.stringify([item.node.name, item.database, item.table]);
}

export function itemLabel(item: PlanItem): string {
  return unitLabel(item, item.node.shard, item.node.replica);
}

export function emptyStages(): StageReport[] {
  return STAGES.map((name) => ({ name, startedAt: null, finishedAt: null, outcome: 'skipped' as const }));
}

/** The one place that decides how a recovery ended. Anything that is not proved good is not a success (invariant D). */
export function decideOutcome(input: Pick<ReportInput, 'plan' | 'results' | 'aborted' | 'problem'>): {
  outcome: Outcome;
  problem?: Problem;
} {
  if (input.aborted) return { outcome: 'aborted', ...(input.problem ? { problem: input.problem } : {}) };
  if (input.problem) return { outcome: ERRORS[input.problem.code].outcome, problem: input.problem };
  const refusal = input.plan?.refusals[0];
  if (refusal) return { outcome: ERRORS[refusal.code].outcome, problem: refusal };
  const items = input.plan?.items ?? [];
  const refused = items.find((item) => item.action === 'needs-operator');
  const results = [...input.results.values()];
  const failed = results.filter((result) => result.state === 'failed');
  if (failed.length > 0) {
    const problems = failed.map((result) => result.problem).filter((found) => found !== undefined);
    const hard = problems.find((found) => ERRORS[found.code].outcome === 'failed') ?? problems[0];
    return { outcome: hard ? ERRORS[hard.code].outcome : 'failed', ...(hard ? { problem: hard } : {}) };
  }
  if (refused) return { outcome: 'needs-operator', ...(refused.problem ? { problem: refused.problem } : {}) };
  if (results.some((result) => result.state === 'skipped')) return { outcome: 'needs-operator' };
  if (input.plan === null) return { outcome: 'failed' };
  const work = items.filter((item) => item.action !== 'none');
  if (work.length === 0) return { outcome: 'nothing-to-do' };
  const done = work.every((item) => {
    const result = input.results.get(unitKey(item));
    // A state is not believed alone: what was counted has to be what was expected.
    const equal = (expected: number | null | undefined, found: number | null | undefined) =>
      expected === null || expected === undefined || found === null || found === undefined || expected === found;
    return result?.state === 'done' && equal(result.rowsExpected, result.rowsFound);
  });
  return { outcome: done ? 'succeeded' : 'failed' };
}

export function buildReport(input: ReportInput): Report {
  const { plan, request } = input;
  const { outcome, problem } = decideOutcome(input);
  const fromBackup = plan?.items.some((item) => item.action === 'restore-from-backup') ?? false;
  const tables = (plan?.items ?? []).map((item) => {
    const timed = input.timelines?.get(unitKey(item)) ?? [];
    const timeline = timed.length === 0 ? {} : { timeline: spansOf(timed, input) };
    return { ...tableReport(item, input.results.get(unitKey(item))), ...timeline };
  });
  const takenAt = plan?.backup?.takenAt ?? '';
  return {
    schemaVersion: REPORT_SCHEMA_VERSION,
    recoveryId: input.recoveryId,
    cluster: request.cluster,
    ...(request.incident === undefined ? {} : { incident: request.incident }),
    ...(plan?.backup ? { backup: { repository: plan.backup.repository, name: plan.backup.name, takenAt } } : {}),
    outcome,
    ...(problem ? { problem } : {}),
    situations: plan ? situationCounts(plan) : {},
    plan: { hash: plan?.hash ?? '', approvedBy: input.approvedBy },
    stages: input.stages,
    tables,
    keeperState: plan?.keeperState ?? [],
    fence: input.fence,
    startedAt: new Date(input.startedAt).toISOString(),
    finishedAt: new Date(input.finishedAt).toISOString(),
    rtoSeconds: Math.round((input.finishedAt - input.startedAt) / 100) / 10,
    rpo:
      fromBackup && Number.isFinite(Date.parse(takenAt))
        ? {
            restoredFrom: plan?.backup?.name ?? '',
            ageSeconds: Math.max(0, Math.round((input.startedAt - Date.parse(takenAt)) / 1000)),
          }
        : null,
    ...(input.objectives ? { objectives: input.objectives } : {}),
    warnings: [...(plan?.warnings ?? []), ...input.warnings, ...leftovers(tables)],
    ...(plan?.leftOut ? { leftOut: plan.leftOut } : {}),
    unrecovered: tables
      .filter((table) => table.outcome === 'failed' || table.outcome === 'skipped')
      .map((table) => ({
        database: table.database,
        table: table.table,
        shard: table.shard,
        reason: table.problem?.message ?? table.outcome,
      })),
  };
}

function tableReport(item: PlanItem, result: UnitResult | undefined): TableReport {
  const unchanged = item.action === 'none';
  const problem = result?.problem ?? item.problem;
  return {
    database: item.database,
    table: item.table,
    shard: item.node.shard,
    replica: item.node.replica,
    situation: item.situation,
    action: item.action,
    outcome: unchanged
      ? 'unchanged'
      : result?.state === 'done'
        ? 'recovered'
        : result?.state === 'failed' || item.action === 'needs-operator'
          ? 'failed'
          : 'skipped',
    rowsExpected: result?.rowsExpected ?? item.expected?.rows ?? null,
    rowsFound: result?.rowsFound ?? (unchanged ? (item.expected?.rows ?? null) : null),
    partsExpected: result?.partsExpected ?? item.expected?.parts ?? null,
    partsFound: result?.partsFound ?? (unchanged ? (item.expected?.parts ?? null) : null),
    detachedLeft: result?.detachedLeft ?? 0,
    evidence: result?.evidence ?? '',
    activation: result?.activation ?? '',
    ...(problem ? { problem } : {}),
  };
}

function leftovers(tables: TableReport[]): string[] {
  const left = tables.filter((table) => table.detachedLeft > 0);
  if (left.length === 0) return [];
  const total = left.reduce((sum, table) => sum + table.detachedLeft, 0);
  return [
    `${total} parts stand in detached/ of ${left.length} tables; their rows are in the tables: drop them when you have looked at them (ALTER TABLE … DROP DETACHED PART)`,
  ];
}
