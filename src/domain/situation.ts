import type { ErrorCode } from './errors.js';
import { sameParts, type PartsDigest, type TableFacts } from './inventory.js';
import type { Action, Situation } from './plan.js';

/** What a table on one replica is compared with. */
export interface Surroundings {
  embedded: boolean;
  /** What the named backup holds of this table on this shard; null: nothing, or no backup was named. */
  backup: { parts: PartsDigest | null } | null;
}

export interface Verdict {
  situation: Situation;
  action: Action;
  code?: ErrorCode;
  why?: string;
}

const restoreOr = (backup: Surroundings['backup'], situation: Situation, code: ErrorCode, why: string): Verdict =>
  backup ? { situation, action: 'restore-from-backup', why } : { situation, action: 'needs-operator', code, why };

/** The situation of a replicated table that stands on a node, from what the node and the Keeper say of it. */
export function judgeReplicated(table: TableFacts, around: Surroundings): Verdict {
  if (table.unsupported !== '')
    return { situation: 'not-recoverable', action: 'needs-operator', code: 'NOT_RECOVERABLE', why: table.unsupported };
  const keeper = table.keeper;
  if (!keeper)
    return {
      situation: 'not-recoverable',
      action: 'needs-operator',
      code: 'NOT_RECOVERABLE',
      why: 'its ZooKeeper path cannot be worked out',
    };
  const held = keeper.activeReplicas.includes(keeper.replicaName);
  if (held && (around.embedded || table.readonly))
    return {
      situation: 'stale-path-live-replica',
      action: 'needs-operator',
      code: 'REPLICA_ACTIVE',
      why: `replica ${keeper.replicaName} is active in another server`,
    };
  if (table.clone) {
    // Our own evidence of an interrupted recovery is there: go on from it, whatever the table looks like by now.
    if (!sameParts(table.clone, table.parts)) return { situation: 'half-restored', action: 'rebuild-from-clone' };
    if (!keeper.replicaPathExists) return { situation: 'keeper-metadata-lost', action: 'restore-replica' };
    return keeper.partsAgree === false || (!around.embedded && table.readonly)
      ? { situation: 'stale-path', action: 'rebuild-from-clone' }
      : { situation: 'healthy', action: 'none' };
  }
  const noBaseline =
    'an interrupted SYSTEM RESTORE REPLICA: parts are left in detached/ and no safety clone tells which';
  if (table.attachingParts > 0 || (table.parts.parts === 0 && table.detachedParts > 0))
    return restoreOr(around.backup, 'half-restored', 'HALF_RESTORED_NO_BASELINE', noBaseline);
  if (!keeper.replicaPathExists) {
    const empty = table.parts.rows === 0 && (around.backup?.parts?.rows ?? 0) > 0;
    if (empty)
      return {
        situation: 'data-lost',
        action: 'restore-from-backup',
        why: 'the table stands empty, the backup has rows',
      };
    return { situation: 'keeper-metadata-lost', action: 'restore-replica' };
  }
  if (keeper.partsAgree === false) {
    const inUse = !around.embedded && held;
    // Its next parts would get numbers that those on the disk have; and a backup would replace what is newer.
    if (keeper.notListed > 0 && (inUse || keeper.missingLocally > 0))
      return {
        situation: 'stale-path',
        action: 'needs-operator',
        code: 'KEEPER_OUT_OF_STEP',
        why: `ZooKeeper lacks ${keeper.notListed} parts that are on the disk${keeper.missingLocally > 0 ? `, and lists ${keeper.missingLocally} that are not` : ''}`,
      };
    if (inUse) return { situation: 'healthy', action: 'none', why: 'a live replica is catching up' };
    if (keeper.missingLocally > 0)
      return restoreOr(
        around.backup,
        'data-lost',
        'DATA_LOST_NO_BACKUP',
        `ZooKeeper lists ${keeper.missingLocally} parts that are not on the disk`,
      );
    return {
      situation: 'stale-path',
      action: 'rebuild-from-clone',
      why: 'the ZooKeeper path is of an older state than the disk',
    };
  }
  if (!around.embedded && table.readonly && table.sessionExpired)
    return {
      situation: 'stale-path',
      action: 'needs-operator',
      code: 'SESSION_EXPIRED',
      why: 'its server has no session with ZooKeeper, which we do reach',
    };
  if (!around.embedded && table.readonly && !table.sessionExpired)
    return {
      situation: 'stale-path',
      action: 'rebuild-from-clone',
      why: 'read-only, though its ZooKeeper path is there',
    };
  return { situation: 'healthy', action: 'none' };
}

/** The situation of a plain MergeTree table that stands. */
export function judgePlain(table: TableFacts, around: Surroundings): Verdict {
  if (table.clone)
    return sameParts(table.clone, table.parts)
      ? { situation: 'healthy', action: 'none' }
      : { situation: 'data-lost', action: 'restore-from-backup' };
  if (table.parts.rows === 0 && (around.backup?.parts?.rows ?? 0) > 0)
    return {
      situation: 'data-lost',
      action: 'restore-from-backup',
      why: 'the table stands empty, the backup has rows',
    };
  return { situation: 'healthy', action: 'none' };
}

/** What is known of a table that a node lacks. */
export interface Absence {
  /** Another replica of the shard has it. */
  onPeer: boolean;
  inBackup: boolean;
  /** Nothing of the backup stands on any replica of the shard. */
  shardEmpty: boolean;
  pathActive: boolean;
  uuidPendingDrop: boolean;
}

export function judgeMissing(absence: Absence): Verdict {
  if (absence.pathActive)
    return {
      situation: 'stale-path-live-replica',
      action: 'needs-operator',
      code: 'REPLICA_ACTIVE',
      why: 'its replica path is active in another server',
    };
  if (absence.uuidPendingDrop)
    return {
      situation: 'table-lost',
      action: 'needs-operator',
      code: 'UUID_PENDING_DROP',
      why: 'the dropped table still holds the UUID',
    };
  if (absence.onPeer) return { situation: 'replica-lost', action: 'recreate-and-fetch' };
  const situation = absence.shardEmpty ? 'data-lost' : 'table-lost';
  return absence.inBackup
    ? { situation, action: 'restore-from-backup' }
    : {
        situation,
        action: 'needs-operator',
        code: 'DATA_LOST_NO_BACKUP',
        why: 'the other shards have it, this one does not, and no backup was named',
      };
}
