import type { Problem } from './errors.js';
import type { LeftOut } from './drill-left-out.js';
import type { KeeperStateLine } from './inventory.js';

export const REPORT_SCHEMA_VERSION = 1;

export const OUTCOMES = ['succeeded', 'nothing-to-do', 'failed', 'needs-operator', 'aborted'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export const STAGES = ['stop', 'restore-data', 'verify-parts', 'restore-replica', 'validate'] as const;
export type StageName = (typeof STAGES)[number];

export interface StageReport {
  name: StageName;
  /** ISO 8601, workflow time; null: never started. */
  startedAt: string | null;
  finishedAt: string | null;
  outcome: 'done' | 'failed' | 'skipped' | 'not-needed';
}

/** What recovery.yaml wants of a recovery. */
export interface Objectives {
  rtoSeconds?: number;
  rpoSeconds?: number;
}

/** A table was in a stage from … to …, in seconds after the recovery's `startedAt`. Short: there may be thousands. */
export type StageSpan = [stage: StageName, from: number, to: number];

export interface TableReport {
  database: string;
  table: string;
  shard: string;
  replica: string;
  situation: string;
  action: string;
  outcome: 'recovered' | 'unchanged' | 'failed' | 'skipped';
  rowsExpected: number | null;
  rowsFound: number | null;
  partsExpected: number | null;
  partsFound: number | null;
  detachedLeft: number;
  /** How sure the comparison is: part hashes, contents, or only what a plain backup carries. */
  evidence: string;
  activation: string;
  /** In order; a stage comes again where the table was tried again. Absent in reports of before 0.3. */
  timeline?: StageSpan[];
  problem?: Problem;
}

/** How many tables ended so, those among them that are not named here. */
export function tableCount(
  { tables, omittedTables = {} }: Pick<Report, 'tables' | 'omittedTables'>,
  outcome: TableReport['outcome'],
): number {
  return tables.filter((each) => each.outcome === outcome).length + (omittedTables[outcome] ?? 0);
}

export interface Report {
  schemaVersion: number;
  recoveryId: string;
  cluster: string;
  incident?: string;
  backup?: { repository: string; name: string; takenAt: string };
  outcome: Outcome;
  problem?: Problem;
  situations: Record<string, number>;
  plan: { hash: string; approvedBy: string };
  stages: StageReport[];
  tables: TableReport[];
  /** Of a large recovery, the result of the workflow names tables that are not recovered only; the stored report has all. */
  omittedTables?: Partial<Record<TableReport['outcome'], number>>;
  keeperState: KeeperStateLine[];
  fence: 'lifted' | 'held' | 'never-raised';
  startedAt: string;
  finishedAt: string;
  rtoSeconds: number;
  /** What may be missing since the backup. Null where no data came from a backup. */
  rpo: { restoredFrom: string; ageSeconds: number } | null;
  objectives?: Objectives;
  warnings: string[];
  /** Of the recovery that a drill is: what of the backup was not made, and why. */
  leftOut?: LeftOut[];
  unrecovered: { database: string; table: string; shard: string; reason: string }[];
}
