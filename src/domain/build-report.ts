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
import { tallyOf, type Tally } from './tally.js';
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
  /** Where the results are elsewhere: how they are in sum. */
  tally?: Tally;
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
export function decideOutcome(input: Pick<ReportInput, 'plan' | 'results' | 'aborted' | 'problem' | 'tally'>): {
  outcome: Outcome;
  problem?: Problem;
} {
  if (input.aborted) return { outcome: 'aborted', ...(input.problem ? { problem: input.problem } : {}) };
  if (input.problem) return { outcome: ERRORS[input.problem.code].outcome, problem: input.problem };
  const refusal = input.plan?.refusals[0];
  if (refusal) return { outcome: ERRORS[refusal.code].outcome, problem: refusal };
  const tally = input.tally ?? tallyResults(input.plan?.items ?? [], input.results);
  if (tally.failed > 0) {
    const hard = tally.problem;
    return { outcome: hard ? ERRORS[hard.code].outcome : 'failed', ...(hard ? { problem: hard } : {}) };
  }
  if (tally.refused > 0) return { outcome: 'needs-operator', ...(tally.refusal ? { problem: tally.refusal } : {}) };
  if (tally.skipped > 0) return { outcome: 'needs-operator' };
  if (input.plan === null) return { outcome: 'failed' };
  if (tally.work === 0) return { outcome: 'nothing-to-do' };
  return { outcome: tally.done === tally.work ? 'succeeded' : 'failed' };
}

export function tallyResults(items: readonly PlanItem[], results: ReadonlyMap<string, UnitResult>): Tally {
  return tallyOf(
    items.map((item) => ({
      label: itemLabel(item),
      action: item.action,
      problem: item.problem,
      result: results.get(unitKey(item)),
    })),
  );
}

export function buildReport(input: ReportInput): Report {
  const { plan, request } = input;
  const { outcome, problem } = decideOutcome(input);
  const fromBackup =
    plan?.stored?.fromBackup ?? plan?.items.some((item) => item.action === 'restore-from-backup') ?? false;
  const tables = tableReports(plan?.items ?? [], input);
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
    unrecovered: unrecovered(tables),
  };
}

type Times = Pick<ReportInput, 'startedAt' | 'finishedAt' | 'stages'>;

export function tableReports(
  items: readonly PlanItem[],
  { results, timelines, ...times }: Pick<ReportInput, 'results' | 'timelines'> & Times,
): TableReport[] {
  return items.map((item) => {
    const timed = timelines?.get(unitKey(item)) ?? [];
    const timeline = timed.length === 0 ? {} : { timeline: spansOf(timed, times) };
    return { ...tableReport(item, results.get(unitKey(item))), ...timeline };
  });
}

const unrecovered = (tables: TableReport[]): Report['unrecovered'] =>
  tables
    .filter((table) => table.outcome === 'failed' || table.outcome === 'skipped')
    .map((table) => ({
      database: table.database,
      table: table.table,
      shard: table.shard,
      reason: table.problem?.message ?? table.outcome,
    }));

/** Tables that the result of a workflow names, where it cannot name all: Temporal takes 2 MiB. */
const MAX_NAMED = 100;

/** Restored parts have to be those that the manifest or the backup lists: its checksums alone do not tell what is not there. */
export const isUnverified = ({ action, evidence }: Pick<TableReport, 'action' | 'evidence'>) =>
  action === 'restore-from-backup' && !evidence.startsWith('part hashes of the ');

/** The report of a run whose results are elsewhere: whole, for the store, and as the workflow's result has it. */
export function withTables(report: Report, tables: TableReport[]): { whole: Report; result: Report } {
  const whole: Report = {
    ...report,
    tables,
    warnings: [...report.warnings, ...leftovers(tables)],
    unrecovered: unrecovered(tables),
  };
  const open = tables.filter((table) => table.outcome === 'failed' || table.outcome === 'skipped');
  // What a drill does not call good.
  const bare = tables.filter((table) => table.outcome === 'recovered' && isUnverified(table));
  const named = new Set([...open.slice(0, MAX_NAMED), ...bare.slice(0, MAX_NAMED)]);
  const omittedTables: Report['omittedTables'] = {};
  for (const table of tables)
    if (!named.has(table)) omittedTables[table.outcome] = (omittedTables[table.outcome] ?? 0) + 1;
  const result: Report = {
    ...whole,
    tables: [...named].map(({ timeline: _timeline, ...table }) => table),
    unrecovered: whole.unrecovered.slice(0, MAX_NAMED),
    omittedTables,
  };
  return { whole, result };
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
