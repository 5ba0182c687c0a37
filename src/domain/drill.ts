import { z } from 'zod';
import type { LeftOut } from './drill-left-out.js';
import type { ManifestRows } from './drill-rows.js';
import { problemsOf } from './drill-problems.js';
import { ERRORS, type Problem } from './errors.js';
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
  /** Of all tables that are not lost. */
  rowsSince: number;
  tablesLost: number;
  /** What was found against the manifest of the backup; null: it has none, or an older worker measured. */
  manifest?: ManifestRows | null;
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
  /** What the backup has, or should have had, and the target has not: a failure. Absent in older reports. */
  lost?: { rows: number; tables: LackingTable[] };
  /** What the source has got since the backup. */
  missing: { rows: number; tables: LackingTable[] };
  /** Restored tables whose rows were compared with nothing. Absent in older reports. */
  uncounted?: (TableName & { shard: string; why: string })[];
  /** What of the backup was not made in the target, since it would reach outside or act by itself. Absent in older reports. */
  leftOut?: LeftOut[];
  /** Null: nothing was there to be cleaned up. */
  cleanedUp: boolean | null;
  warnings: string[];
  startedAt: string;
  finishedAt: string;
}

/** `rows`: how many; null: it has none of its own, or nobody knows. */
export interface LackingTable extends TableName {
  shard: string;
  rows: number | null;
  why: string;
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
    lost: lostIn(measured),
    missing: {
      rows: measured?.rowsSince ?? 0,
      tables: (measured?.lacking ?? []).filter((each) => !each.isLost).map(lackingTable),
    },
    uncounted: measured?.manifest?.uncounted ?? [],
    leftOut: recovery?.leftOut ?? [],
    cleanedUp: facts.cleanedUp,
    warnings: recovery?.warnings.slice(0, MAX_LISTED) ?? [],
    startedAt: new Date(facts.startedAt).toISOString(),
    finishedAt: new Date(facts.finishedAt).toISOString(),
  };
}

/** What the manifest has first: of that it is known how much it is. */
function lostIn(measured: Measured | null): { rows: number; tables: LackingTable[] } {
  const { lost = [], rowsLost = 0 } = measured?.manifest ?? {};
  const older = (measured?.lacking ?? []).filter((each) => each.isLost).map(lackingTable);
  const known = new Set(lost.map((each) => `${each.shard}/${tableKey(each)}`));
  const more = older.filter((each) => !known.has(`${each.shard}/${tableKey(each)}`));
  return {
    rows: rowsLost + more.reduce((sum, { rows }) => sum + (rows ?? 0), 0),
    tables: [...lost.map((each) => ({ ...each, why: "in the backup's manifest, and not restored" })), ...more],
  };
}

function lackingTable(each: TableComparison): LackingTable {
  const { database, table, shard, sourceRows, restoredRows } = each;
  const rows = sourceRows === null ? null : Math.max(0, sourceRows - (restoredRows ?? 0));
  return { database, table, shard, rows, why: whyLacking(each) };
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

/** Whether somebody has to decide first (3), or it did not work (1). */
export function drillExitCode({ outcome, problems }: DrillReport): 0 | 1 | 2 | 3 {
  if (outcome === 'passed' || outcome === 'skipped') return 0;
  const [first] = problems;
  return first ? ERRORS[first.code].exitCode : 1;
}
