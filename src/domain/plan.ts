import type { ErrorCode, Problem } from './errors.js';
import type { KeeperStateLine, Method, PartsDigest } from './inventory.js';
import type { RestoreNames } from './clickhouse-backup-names.js';
import type { PlaceOrder } from './cold-place.js';
import type { CountedParts } from './manifest.js';
import type { LeftOut } from './drill-left-out.js';
import type { StoredPlan } from './stored-plan.js';
import type { NodeRef } from './topology.js';

export type Situation =
  | 'healthy'
  | 'keeper-metadata-lost'
  | 'replica-lost'
  | 'data-lost'
  | 'table-lost'
  | 'half-restored'
  | 'diverged'
  | 'stale-path'
  | 'stale-path-live-replica'
  | 'not-recoverable';

export type Action =
  | 'none'
  | 'restore-replica'
  | 'rebuild-from-clone'
  | 'restore-from-backup'
  | 'recreate-and-fetch'
  | 'create-object'
  | 'needs-operator';

/** What a statement is for. The executor sends a statement only by its name here, so it can send no other. */
export type StepName =
  | 'drop-making'
  | 'make-clone'
  | 'create-making'
  | 'fill-making'
  | 'complete-clone'
  | 'hold-clone'
  | 'drop-staging'
  | 'create-staging'
  | 'create-target'
  | 'rename-target'
  | 'drop-target'
  | 'restore'
  | 'attach-part'
  | 'complete-staging'
  | 'rename-into-place'
  | 'create-plain'
  | 'create-replicated'
  | 'create-object'
  | 'detach'
  | 'drop-replica'
  | 'drop-peer-replica'
  | 'delete-peer-path'
  | 'attach-not-replicated'
  | 'attach'
  | 'replace-partition'
  | 'drop-partition'
  | 'attach-as-replicated'
  | 'attach-plain'
  | 'move-aside'
  | 'delete-replica-path'
  | 'create-next'
  | 'fill-next'
  | 'empty-next'
  | 'promote'
  | 'restart-replica'
  | 'restore-replica';

export interface PlannedStatement {
  step: StepName;
  /** For `delete-replica-path`, the one change that is not a statement (invariant G): the ZooKeeper path. */
  sql: string;
}

/** A path that is not the server's default, or a server that does not know the statement. */
export type RebuildRefusal = Extract<ErrorCode, 'EXPLICIT_KEEPER_PATH' | 'UNSUPPORTED_SERVER'>;

export const NOT_REBUILT: Record<RebuildRefusal, string> = {
  EXPLICIT_KEEPER_PATH: 'it would have to be rebuilt, which loses its explicit ZooKeeper path',
  UNSUPPORTED_SERVER:
    'it would have to be rebuilt, and its server does not know ATTACH … AS REPLICATED or does not show detached tables',
};

/** One table on one replica: what is wrong with it and what will be done. */
export interface PlanItem {
  database: string;
  table: string;
  node: NodeRef;
  situation: Situation;
  action: Action;
  /** Goes first in its shard: what it holds is what survives. */
  authority: boolean;
  replicated: boolean;
  method: Method;
  /** It stands on the node, in whatever state. */
  standing: boolean;
  /** The MergeTree parts that must be there in the end; null: known only once the backup is restored. */
  expected: PartsDigest | null;
  /**
   * A later replica on a live server: what it fetches. `live`: from a peer that may be written to meanwhile, so queue and
   * Keeper tell when all is there. Null: it goes first, or nothing fetches (embedded node, plain table).
   */
  fetches: PartsDigest | 'live' | null;
  /** Keeper path of the table and this replica's name on it; null for tables without. */
  keeperPath: { tablePath: string; replicaName: string } | null;
  uuid: string;
  /** Its data comes by clickhouse-backup: which backup, and into which table. */
  restore?: { repository: string; backup: string; names: RestoreNames; counted: CountedParts | null };
  /** Its data comes from a cold copy: the agent of its host places the parts, SQL attaches them. */
  place?: PlaceOrder;
  /**
   * Every statement that this unit may send and that changes something, as exact SQL, in the order of the undisturbed
   * run, repairs after a crash last. `{partition}` stands for a partition id (letters, digits, - and _), `{part}`
   * for the name of a part, `{operation}` for the id by which `system.backups` knows a RESTORE.
   */
  statements: PlannedStatement[];
  /** Why it cannot be rebuilt in place by ATTACH … AS REPLICATED, which gives it its old ZooKeeper path back; null: it can. */
  rebuildRefusal: RebuildRefusal | null;
  /** Where a refused item stands and why. */
  problem?: Problem;
}

export interface Plan {
  cluster: string;
  /** sha256 of everything below: what an approval is for. */
  hash: string;
  backup: { repository: string; name: string; takenAt: string; evidence: 'manifest' | 'backup' } | null;
  /** Statements for each node before and after its tables: fence, databases, objects, unfence. */
  nodes: {
    node: NodeRef;
    embedded: boolean;
    version: string;
    method: Method;
    /** The method in words, and why. */
    strategy: string;
    fence: string[];
    databases: string[];
    /** After validation: the canary, what becomes of `_recovery`, the fence lifted. Plans of older workers have none. */
    closing?: string[];
  }[];
  items: PlanItem[];
  /** What becomes of the safety clones in the end: renamed aside, or dropped. Plans of older workers do not say. */
  keepAside?: boolean;
  /** Objects without data (views, dictionaries, Distributed): created after the tables. */
  keeperState: KeeperStateLine[];
  warnings: string[];
  /** Of a drill: what of the backup is not made, and why. */
  leftOut?: LeftOut[];
  /** Anything that forbids the run as a whole: nothing is fenced or touched. */
  refusals: Problem[];
  /** Where its items are, if they are too many for a history. Not part of the hash. */
  stored?: StoredPlan;
}

/** Whether anything is to be executed. */
export function hasWork(plan: Plan): boolean {
  return plan.stored ? plan.stored.work > plan.stored.refused : workOf(plan).length > 0;
}

/** Items that need work. */
export function workOf(plan: Plan): PlanItem[] {
  return plan.items.filter((item) => item.action !== 'none' && item.action !== 'needs-operator');
}

/** `succeeded` needs no more; the answer to 'is there anything to do?'. */
export function nothingToDo(plan: Plan): boolean {
  const isIdle = plan.stored ? plan.stored.work === 0 : plan.items.every((item) => item.action === 'none');
  return plan.refusals.length === 0 && isIdle;
}

export function situationCounts(plan: Plan): Record<string, number> {
  if (plan.stored) return plan.stored.situations;
  const counts: Record<string, number> = {};
  for (const item of plan.items) counts[item.situation] = (counts[item.situation] ?? 0) + 1;
  return counts;
}

/** A node without work, or whose replicas only join their living peers, goes on as it is. */
export function isChanged(node: string, items: PlanItem[]): boolean {
  return items.some(
    (item) =>
      item.node.name === node && item.action !== 'none' && item.action !== 'needs-operator' && item.fetches !== 'live',
  );
}
