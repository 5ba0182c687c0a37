import type { Problem } from './errors.js';
import type { Plan } from './plan.js';
import type { Outcome, StageReport } from './report.js';

/**
 * The public names of the workflows and of their messages, shared by the workflow, the CLI and the HTTP API.
 * Changing one breaks running recoveries and other teams' scripts.
 */
export const WORKFLOWS = {
  recover: 'recoverCluster',
  /** Of a large recovery: the tables of one shard. Started by `recoverCluster` only. */
  shard: 'recoverShard',
  backup: 'backupCluster',
  drill: 'recoveryDrill',
  lock: 'clusterLock',
} as const;
/** The stop-the-world path has runs of its own: see cold.ts. */
export const COLD_WORKFLOWS = { backup: 'coldBackup', restore: 'coldRestore' } as const;
export const UPDATES = { approve: 'approve' } as const;
export const SIGNALS = { resolve: 'resolve', abort: 'abort', pause: 'pause', resume: 'resume' } as const;
export const QUERIES = { progress: 'progress', plan: 'plan', report: 'report' } as const;

export const TASK_QUEUE = 'clickhouse-recovery';

/** Temporal's uniqueness of this id is the lock: one recovery per cluster. */
export function lockId(cluster: string): string {
  return `clickhouse-recovery/${cluster}`;
}

/** Search attributes, registered by the worker where it may; everything works without them. */
export const SEARCH_ATTRIBUTES = {
  cluster: 'ClickHouseCluster',
  stage: 'ClickHouseRecoveryStage',
  outcome: 'ClickHouseRecoveryOutcome',
} as const;

/** Argument of the update `approve`. A hash other than the current plan's is rejected and adds no event. */
export interface Approval {
  planHash: string;
  by: string;
}

/** Argument of the signal `resolve`; `tables` are patterns, none means all that failed. */
export interface Resolution {
  action: 'retry' | 'skip' | 'abort';
  tables?: string[];
  by?: string;
}

export type Phase =
  | 'inspecting'
  | 'waiting-for-approval'
  | 'waiting-for-lock'
  | 'executing'
  | 'waiting-for-resolve'
  | 'finishing'
  | 'closed';

/** `state` of a unit: `waiting`, the stage it is in, or how it ended. */
export interface UnitProgress {
  label: string;
  state: 'waiting' | 'restore-data' | 'verify-parts' | 'restore-replica' | 'validate' | 'done' | 'failed' | 'skipped';
  rows: number | null;
  problem?: Problem;
}

export type UnitTotals = Record<'units' | 'done' | 'failed' | 'skipped', number>;

/** How many tables are how. */
export function totalsOf({ units, totals }: Pick<Progress, 'units' | 'totals'>): UnitTotals & { waiting: number } {
  const count = (state: UnitProgress['state']) => units.filter((unit) => unit.state === state).length;
  const {
    units: all,
    done,
    failed,
    skipped,
  } = totals ?? {
    units: units.length,
    done: count('done'),
    failed: count('failed'),
    skipped: count('skipped'),
  };
  const waiting = totals ? Math.max(0, all - done - failed - skipped) : count('waiting');
  return { units: all, done, failed, skipped, waiting };
}

/** Answer of the query `progress`. */
export interface Progress {
  recoveryId: string;
  cluster: string;
  phase: Phase;
  planHash: string | null;
  stages: StageReport[];
  /** Of a large recovery those that failed, the first of them; `totals` has the numbers. */
  units: UnitProgress[];
  totals?: UnitTotals;
  paused: boolean;
  outcome: Outcome | null;
  problem: Problem | null;
}

/** Result of the workflow `backupCluster`. */
export interface BackupResult {
  cluster: string;
  repository: string;
  name: string;
  shards: { shard: string; node: string; tables: number; rows: number; parts: number; bytes: number; exact: number }[];
  warnings: string[];
}

export type PlanAnswer = Plan | null;
