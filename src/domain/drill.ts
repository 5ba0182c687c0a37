import { z } from 'zod';
import type { LeftOut } from './drill-left-out.js';
import { ERRORS, problem, type Problem } from './errors.js';
import { checkName, tableKey, type TableName } from './names.js';
import { parseBackupRef, parseWith } from './request.js';
import type { Report, StageName } from './report.js';

/** Input of `recoveryDrill`, as typed into the Temporal UI: only `cluster` is required. */
export const drillRequestSchema = z.strictObject({
  cluster: z.string().min(1).max(206).describe('the cluster whose backup is restored, into its scratch target'),
  backup: z
    .string()
    .min(1)
    .max(420)
    .optional()
    .describe('"latest", "REPO" or "REPO/NAME"; default: that of recovery.yaml'),
});
export type DrillRequest = z.infer<typeof drillRequestSchema>;

export function parseDrillRequest(value: unknown): DrillRequest {
  const request = parseWith(drillRequestSchema, value, 'INPUT_INVALID');
  checkName(request.cluster, 'cluster');
  if (request.backup !== undefined) parseBackupRef(request.backup);
  return request;
}

/** One drill a target. It is not the lock of a recovery: production's is never held. */
export const drillLockId = (target: string) => `clickhouse-drill/${target}`;
export const drillScheduleId = (cluster: string) => `clickhouse-drill-schedule/${cluster}`;

/** The target with the source's backups, as a cluster for `recoverCluster`. No name in recovery.yaml has an `@`. */
export const drillView = (source: string, target: string) => `${source}@${target}`;

export function parseDrillView(name: string): { source: string; target: string } | null {
  const at = name.indexOf('@');
  return at < 0 ? null : { source: name.slice(0, at), target: name.slice(at + 1) };
}

/** Of a cluster in recovery.yaml. */
export interface DrillSettings {
  target: string;
  backup: string;
  objectives: Objectives;
  timeoutSeconds: number;
}

export interface Objectives {
  rtoSeconds: number;
  rpoSeconds: number;
}

/** A finished backup, as the catalogue in the source's ledgers has it. */
export interface DrilledBackup {
  repository: string;
  name: string;
  /** ISO 8601; '' where it has no manifest that says so. */
  takenAt: string;
}

/** One table of one shard, in the source as it is now, beside what was restored. */
export interface TableComparison extends TableName {
  shard: string;
  /** Null: not restored. */
  restoredRows: number | null;
  /** Null: an object without rows of its own, such as a view. */
  sourceRows: number | null;
  /** It is older than the backup and not in it, or had rows then and was restored without any. */
  isLost: boolean;
}

/**
 * Whether a table of the source should have been restored otherwise. Times in seconds since the epoch: `since` of the
 * oldest trace of the table, `filledSince` of its oldest rows (Infinity: none), `taken` of the backup; where nobody knows
 * when that was (NaN), nothing can be said to be too young for it.
 */
export function isLost(table: {
  restored: { rows: number | null } | undefined;
  since: number;
  filledSince: number;
  taken: number;
}): boolean {
  const { restored, since, filledSince, taken } = table;
  const isOlder = (time: number) => Number.isFinite(time) && !(time > taken);
  return restored === undefined ? isOlder(since) : restored.rows === 0 && isOlder(filledSince);
}

/** What was found in the target, and what of the source is not there. */
export interface Measured {
  tables: number;
  rows: number;
  /** The newest point in time in a column of the restored tables' keys, not past the backup; ISO 8601. */
  newestRow: string | null;
  /** Only tables that lack something; the first MAX_LISTED. */
  lacking: TableComparison[];
  /** Of all tables. */
  rowsSince: number;
  tablesLost: number;
}

export const MAX_LISTED = 50;

export type DrillOutcome = 'passed' | 'failed' | 'skipped' | 'aborted';

export interface DrillReport {
  schemaVersion: 1;
  drillId: string;
  /** The recovery into the target, which has a report of its own; '' where none was started. */
  recoveryId: string;
  cluster: string;
  target: string;
  outcome: DrillOutcome;
  /** Everything that was wrong; of one that was skipped, why. */
  problems: Problem[];
  backup: DrilledBackup | null;
  objectives: Objectives | null;
  /** From the start of the recovery to the end of validation; null: it did not succeed. */
  rtoSeconds: number | null;
  /** Stages overlap. */
  stages: { name: StageName; seconds: number | null }[];
  rpo: { seconds: number; basis: 'newest row' | 'backup'; newestRow: string | null; backupAgeSeconds: number } | null;
  restored: { tables: number; rows: number };
  /** What the source has by now and the backup has not. */
  missing: { rows: number; tables: (TableName & { shard: string; rows: number | null; why: string })[] };
  /** What of the backup was not made in the target, since it would reach outside or act by itself. Absent before 0.3. */
  leftOut?: LeftOut[];
  /** Null: nothing was there to be cleaned up. */
  cleanedUp: boolean | null;
  warnings: string[];
  startedAt: string;
  finishedAt: string;
}

export interface DrillFacts {
  drillId: string;
  recoveryId: string;
  cluster: string;
  settings: DrillSettings | null;
  backup: DrilledBackup | null;
  recovery: Report | null;
  measured: Measured | null;
  /** What ended it early: refused, timed out, an activity that failed. */
  problem: Problem | null;
  /** Why it stepped aside. */
  skipped: Problem | null;
  aborted: boolean;
  cleanedUp: boolean | null;
  cleanUpProblem: Problem | null;
  /** Milliseconds since the epoch, workflow time. */
  startedAt: number;
  finishedAt: number;
}

/** The one place that decides how a drill ended. 'No data' is never healthy: what was not measured has not passed. */
export function buildDrillReport(facts: DrillFacts): DrillReport {
  const rpo = rpoOf(facts);
  const problems = facts.skipped ? [facts.skipped] : problemsOf(facts, rpo);
  if (facts.cleanUpProblem) problems.push(facts.cleanUpProblem);
  const { recovery, measured } = facts;
  return {
    schemaVersion: 1,
    drillId: facts.drillId,
    recoveryId: facts.recoveryId,
    cluster: facts.cluster,
    target: facts.settings?.target ?? '',
    outcome: outcomeOf(facts, problems),
    problems,
    backup: facts.backup,
    objectives: facts.settings?.objectives ?? null,
    rtoSeconds: recovery?.outcome === 'succeeded' ? recovery.rtoSeconds : null,
    stages: (recovery?.stages ?? []).map(({ name, startedAt, finishedAt }) => ({
      name,
      seconds:
        startedAt === null || finishedAt === null
          ? null
          : Math.round((Date.parse(finishedAt) - Date.parse(startedAt)) / 100) / 10,
    })),
    rpo,
    restored: { tables: measured?.tables ?? 0, rows: measured?.rows ?? 0 },
    missing: {
      rows: measured?.rowsSince ?? 0,
      tables: (measured?.lacking ?? []).map((each) => ({
        database: each.database,
        table: each.table,
        shard: each.shard,
        rows: each.sourceRows === null ? null : Math.max(0, each.sourceRows - (each.restoredRows ?? 0)),
        why: whyLacking(each),
      })),
    },
    leftOut: recovery?.leftOut ?? [],
    cleanedUp: facts.cleanedUp,
    warnings: recovery?.warnings.slice(0, MAX_LISTED) ?? [],
    startedAt: new Date(facts.startedAt).toISOString(),
    finishedAt: new Date(facts.finishedAt).toISOString(),
  };
}

function whyLacking({ isLost: lost, restoredRows }: TableComparison): string {
  if (restoredRows === null) return lost ? 'older than the backup, and not in it' : 'made since the backup';
  return lost ? 'had rows before the backup, and was restored without any' : 'rows since the backup';
}

function outcomeOf({ aborted, skipped, cleanUpProblem }: DrillFacts, problems: Problem[]): DrillOutcome {
  if (cleanUpProblem) return 'failed';
  if (aborted) return 'aborted';
  if (skipped) return 'skipped';
  return problems.length > 0 ? 'failed' : 'passed';
}

function rpoOf({ backup, measured, startedAt }: DrillFacts): DrillReport['rpo'] {
  const takenAt = Date.parse(backup?.takenAt ?? '');
  if (!measured || !Number.isFinite(takenAt)) return null;
  const ageOf = (time: number) => Math.max(0, Math.round((startedAt - time) / 1000));
  const newest = measured.newestRow === null ? null : Date.parse(measured.newestRow);
  return {
    seconds: ageOf(newest ?? takenAt),
    basis: newest === null ? 'backup' : 'newest row',
    newestRow: measured.newestRow,
    backupAgeSeconds: ageOf(takenAt),
  };
}

function problemsOf(facts: DrillFacts, rpo: DrillReport['rpo']): Problem[] {
  const { recovery, measured, settings } = facts;
  if (facts.problem) return [facts.problem];
  if (facts.aborted) return [problem('REJECTED', 'the drill was cancelled')];
  if (!recovery || !settings) return [problem('INTERNAL', 'the drill ended without a recovery')];
  if (recovery.outcome === 'nothing-to-do')
    return [problem('DRILL_NO_DATA', 'the backup holds nothing that could be restored')];
  if (recovery.outcome !== 'succeeded')
    return [recovery.problem ?? problem('INTERNAL', `the recovery into the target ended ${recovery.outcome}`)];
  if (!measured) return [problem('DRILL_UNVERIFIED', 'what was restored was not measured')];
  return [
    ...(measured.rows === 0 ? [problem('DRILL_NO_DATA', `${measured.tables} tables were restored, and no row`)] : []),
    ...unverified(recovery, rpo),
    ...lost(measured),
    ...missed(recovery, rpo, settings.objectives),
  ];
}

/** Restored parts have to be those that the manifest or the backup lists: its checksums alone do not tell what is not there. */
function unverified(recovery: Report, rpo: DrillReport['rpo']): Problem[] {
  if (rpo === null)
    return [problem('DRILL_UNVERIFIED', 'the backup has no manifest: nobody knows its age and its rows')];
  const bare = recovery.tables.filter(
    ({ action, evidence }) => action === 'restore-from-backup' && !evidence.startsWith('part hashes of the '),
  );
  if (bare.length === 0) return [];
  return [
    problem('DRILL_UNVERIFIED', `${bare.length} tables were compared with nothing`, {
      objects: bare.slice(0, 20).map(tableKey),
    }),
  ];
}

function lost({ lacking, tablesLost }: Measured): Problem[] {
  if (tablesLost === 0) return [];
  const names = lacking.filter(({ isLost }) => isLost);
  return [
    problem(
      'DRILL_DATA_MISSING',
      `${tablesLost === 1 ? '1 table is' : `${tablesLost} tables are`} older than the backup and not in it: ${names.slice(0, 3).map(tableKey).join(', ')}`,
      {
        objects: names.slice(0, 20).map((each) => `${tableKey(each)} @ ${each.shard}`),
      },
    ),
  ];
}

function missed(recovery: Report, rpo: DrillReport['rpo'], objectives: Objectives): Problem[] {
  const problems: Problem[] = [];
  if (recovery.rtoSeconds > objectives.rtoSeconds)
    problems.push(
      problem(
        'DRILL_RTO_MISSED',
        `the recovery took ${recovery.rtoSeconds} s, the objective is ${objectives.rtoSeconds} s`,
      ),
    );
  if (rpo && rpo.seconds > objectives.rpoSeconds)
    problems.push(
      problem(
        'DRILL_RPO_MISSED',
        `the ${rpo.basis} is ${rpo.seconds} s old, the objective is ${objectives.rpoSeconds} s`,
      ),
    );
  return problems;
}

/** Whether somebody has to decide first (3), or it did not work (1). */
export function drillExitCode({ outcome, problems }: DrillReport): 0 | 1 | 2 | 3 {
  if (outcome === 'passed' || outcome === 'skipped') return 0;
  const [first] = problems;
  return first ? ERRORS[first.code].exitCode : 1;
}
