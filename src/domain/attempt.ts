import type { ErrorCode } from './errors.js';
import { decideConversion } from './conversion.js';
import { mergedFrom, sameParts, type Method, type PartsDigest } from './inventory.js';
import { NOT_REBUILT, type RebuildRefusal } from './plan.js';

/** What one attempt at one table on one replica sees. Everything is observed anew before every statement. */
export interface Observation {
  /** One of our statements for this table that the server still runs, and for how long. */
  running: { seconds: number } | null;
  table: {
    state: 'missing' | 'detached' | 'plain' | 'replicated';
    parts: PartsDigest;
    readonly: boolean;
    sessionExpired: boolean;
  };
  /** Null: a table that never was replicated. */
  keeper: {
    replicaPathExists: boolean;
    /** `is_active` under our replica's path, held by somebody else than the table we look at. */
    heldByOther: boolean;
    partsAgree: boolean | null;
    /** Registrations of other replicas that the plan wants gone before this one goes first, and that nobody holds. */
    stalePeers: boolean;
  } | null;
  clone: PartsDigest | null;
  /** A clone that was being made or a staging table that is not verified yet. */
  making: PartsDigest | null;
  /** What stood in the way and was moved aside. */
  held: PartsDigest | null;
  /** Conversion: the replicated table that is to take the place. `queue`: entries of its replication queue that are not from just now. */
  next: { parts: PartsDigest; readonly: boolean; sessionExpired: boolean; queue: number } | null;
  /** Block numbers that the parts of the replicated table cover (of `next`, where there is one): see `mergedFrom`. */
  blocks: number;
  embedded: boolean;
}

export interface Goal {
  replicated: boolean;
  /** The clone comes from the table itself, or from a backup (then it must exist before anything else). `peer`: no clone, it is fetched. */
  source: 'table' | 'backup' | 'peer';
  method: Method;
  /** The table stood on the node when the plan was made. */
  standing: boolean;
  /** Why ATTACH … AS REPLICATED cannot give the table its old path back: then it is not taken apart. Null: it can. */
  rebuildRefusal: RebuildRefusal | null;
  /** Conversion: the table takes no inserts while it stands as a plain one. */
  closed: boolean;
  /**
   * A later replica on a live server: it fetches what the authority has, whatever it held itself. `live`: a peer that
   * may be written to meanwhile, so its queue tells when all is there. Null: it goes first, or nothing
   * fetches (embedded node), and its own clone is what must be there.
   */
  fetches: PartsDigest | 'live' | null;
  statementDeadlineSeconds: number;
  sessionTimeoutSeconds: number;
}

export type WaitReason =
  | 'statement-running'
  | 'session-expired'
  | 'becoming-writable'
  /** Its metadata is gone, and the server has not noticed yet. */
  | 'becoming-readonly'
  | 'catching-up';

export type Step =
  | { do: 'done' }
  | { do: 'wait'; why: WaitReason }
  | { do: 'refuse'; code: ErrorCode; why: string }
  | { do: 'drop-making' }
  | { do: 'make-clone' }
  | { do: 'complete-clone' }
  | { do: 'restore-replica' }
  | { do: 'detach' }
  | { do: 'drop-replica' }
  /** Of the shard's other replicas: whoever joins a path with registrations attaches nothing of its own. */
  | { do: 'drop-peers' }
  | { do: 'attach-not-replicated' }
  | { do: 'create-plain' }
  | { do: 'replace-partitions' }
  /** DETACH and ATTACH AS REPLICATED: one step, since a plain table that is detached looks like any detached one. */
  | { do: 'convert' }
  // the conversion's own
  | { do: 'take-out' }
  | { do: 'attach-plain' }
  | { do: 'move-aside' }
  | { do: 'create-next' }
  | { do: 'fill-next' }
  | { do: 'promote' };

/**
 * The attempt table of the design: the one next step from what is observed. Asked again after every step, so a crash
 * before, after or between statements only means that the next worker looks at a later row.
 */
export function decideAttempt(seen: Observation, goal: Goal): Step {
  const hindrance = hindered(seen, goal);
  if (hindrance) return hindrance;
  if (goal.method === 'conversion' && goal.replicated) return decideConversion(seen, goal);
  if (seen.table.state === 'replicated' && seen.table.sessionExpired) return { do: 'wait', why: 'session-expired' };
  if (!seen.clone) return withoutClone(seen, goal);
  if (!goal.replicated) return plainTable(seen, seen.clone);
  const step = replicatedTable(seen, seen.clone, goal.fetches);
  const rebuilds = !['done', 'wait', 'drop-peers', 'restore-replica'].includes(step.do);
  return rebuilds && goal.rebuildRefusal !== null
    ? {
        do: 'refuse',
        code: goal.rebuildRefusal,
        why: `${NOT_REBUILT[goal.rebuildRefusal]}; its parts are in _recovery`,
      }
    : step;
}

/** What no step may run into: a statement of ours that is still at work, another server on our path. */
export function hindered(seen: Observation, goal: Pick<Goal, 'statementDeadlineSeconds'>): Step | null {
  if (seen.running)
    return seen.running.seconds > goal.statementDeadlineSeconds
      ? {
          do: 'refuse',
          code: 'STATEMENT_HUNG',
          why: `our statement has been running for ${Math.round(seen.running.seconds)} s`,
        }
      : { do: 'wait', why: 'statement-running' };
  if (seen.keeper?.heldByOther)
    return { do: 'refuse', code: 'REPLICA_ACTIVE', why: 'another server is active on this replica’s ZooKeeper path' };
  return null;
}

function withoutClone(seen: Observation, goal: Goal): Step {
  if (goal.source === 'backup')
    return { do: 'refuse', code: 'VERIFY_FAILED', why: 'there is no verified staging table to promote' };
  if (seen.table.state !== 'replicated' && seen.table.state !== 'plain')
    return {
      do: 'refuse',
      code: 'HALF_RESTORED_NO_BASELINE',
      why: 'the table is not attached and has no safety clone',
    };
  return decideClone(seen);
}

/**
 * The source is untouched as long as no clone is complete, so an unequal one is a torn copy, which is made anew. Never
 * filled over: what REPLACE PARTITION replaces stays on the disk for some minutes, and a plain table whose server is
 * killed meanwhile has it back, beside what replaced it (seen on 18.16.1).
 */
export function decideClone({ making, table }: Pick<Observation, 'making' | 'table'>): Step {
  if (!making) return { do: 'make-clone' };
  return { do: sameParts(making, table.parts) ? 'complete-clone' : 'drop-making' };
}

/** A later replica has what the first one was given. That one may have merged it since, and nobody else can write to it. */
export function hasAll(found: PartsDigest, blocks: number, given: PartsDigest): boolean {
  return sameParts(found, given) || mergedFrom(given, found, blocks);
}

function plainTable(seen: Observation, clone: PartsDigest): Step {
  switch (seen.table.state) {
    case 'missing':
      return { do: 'create-plain' };
    case 'detached':
      return { do: 'attach-not-replicated' };
    default:
      return sameParts(seen.table.parts, clone) ? { do: 'done' } : { do: 'replace-partitions' };
  }
}

function replicatedTable(seen: Observation, clone: PartsDigest, fetches: Goal['fetches']): Step {
  const path = seen.keeper?.replicaPathExists ?? false;
  if (fetches && path && seen.table.state === 'replicated') {
    if (seen.table.readonly)
      return seen.keeper?.partsAgree === false ? { do: 'detach' } : { do: 'wait', why: 'becoming-writable' };
    const fetched =
      fetches === 'live' ? seen.keeper?.partsAgree === true : hasAll(seen.table.parts, seen.blocks, fetches);
    return fetched ? { do: 'done' } : { do: 'wait', why: 'catching-up' };
  }
  const complete = sameParts(seen.table.parts, clone);
  switch (seen.table.state) {
    case 'missing':
      return path ? { do: 'drop-replica' } : { do: 'create-plain' };
    case 'detached':
      return path ? { do: 'drop-replica' } : { do: 'attach-not-replicated' };
    case 'plain':
      if (!complete) return { do: 'replace-partitions' };
      // Our own path may still be there from an interrupted run: it goes while nothing of ours is attached to it.
      return path ? { do: 'detach' } : { do: 'convert' };
    case 'replicated':
      if (path && complete && seen.keeper?.partsAgree !== false)
        return !seen.embedded && seen.table.readonly ? { do: 'wait', why: 'becoming-writable' } : { do: 'done' };
      if (!path && complete)
        return !seen.table.readonly
          ? { do: 'wait', why: 'becoming-readonly' }
          : { do: seen.keeper?.stalePeers ? 'drop-peers' : 'restore-replica' };
      // Whoever inserted since would lose it by our rebuild.
      if (!seen.embedded && !seen.table.readonly && seen.table.parts.rows > clone.rows)
        return { do: 'refuse', code: 'FENCE_BYPASSED', why: 'it has rows that its safety clone lacks' };
      return { do: 'detach' };
  }
}
