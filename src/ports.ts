import type { RestoreNames } from './domain/clickhouse-backup-names.js';
import type { ClickHouseBackupManifest } from './domain/clickhouse-backup.js';
import type { ColdReport } from './domain/cold.js';
import type { BackupContents, Manifest } from './domain/manifest.js';
import type { DrillReport, DrillSettings } from './domain/drill.js';
import type { LeftOut } from './domain/drill-left-out.js';
import type { NodeFacts } from './domain/inventory.js';
import type { Policy } from './domain/policy.js';
import type { Report } from './domain/report.js';
import type { NodeRef, Topology } from './domain/topology.js';

/** Values bound as `{name:Type}`. */
export type Params = Record<string, unknown>;

export interface StatementOptions {
  params?: Params;
  /** Milliseconds to wait for the answer. @default 30_000 for reads, 600_000 for statements */
  timeoutMs?: number;
  signal?: AbortSignal;
  settings?: Record<string, string | number>;
}

/**
 * One ClickHouse node. Throws RecoveryError `NODE_UNAVAILABLE` when it cannot be reached or the answer was lost,
 * `CREDENTIALS_REFUSED`, else `ServerError` with ClickHouse's own code.
 */
export interface ClickHouseNode {
  readonly ref: NodeRef;
  /** A read: rows as objects; UInt64 comes as text. */
  query<Row>(sql: string, options?: StatementOptions): Promise<Row[]>;
  /** A statement that changes something. Never sent twice by the adapter. */
  execute(sql: string, options?: StatementOptions): Promise<void>;
}

/** An exception that ClickHouse answered. `code`: ClickHouse's number, such as 36 BAD_ARGUMENTS. */
export class ServerError extends Error {
  override readonly name = 'ServerError';
  constructor(
    readonly code: number,
    message: string,
    readonly node: string,
  ) {
    super(message);
  }
}

export type StaleKind = 'replica' | 'table';

/** ZooKeeper or ClickHouse Keeper, read only but for one call (invariant G). Throws RecoveryError `KEEPER_UNAVAILABLE`. */
export interface Keeper {
  exists(path: string): Promise<boolean>;
  /** Names of the children, null where the path is absent. */
  children(path: string): Promise<string[] | null>;
  /** UTF-8 text of the node, null where the path is absent. */
  get(path: string): Promise<string | null>;
  /** Tells one node from another that has its path in another ensemble or chroot; null where the path is absent. */
  stamp(path: string): Promise<string | null>;
  /**
   * Deletes what a replica, or a table without any replica, left behind: for servers without SYSTEM DROP REPLICA, and
   * only paths that the approved plan names. Safe to repeat. Throws `REPLICA_ACTIVE` when something under it lives,
   * or when a table's path has a child that is not this table's.
   */
  deleteStale(path: string, kind: StaleKind): Promise<void>;
}

/** Native BACKUP and RESTORE in a place. */
export interface NativeRepository {
  readonly name: string;
  readonly kind: 'native';
  /** The SQL destination of one shard's backup, such as `Disk('backups', 'prod/01/nightly-1')`. */
  destination(shard: string, backup: string): string;
  /** Where its manifest is: a tiny backup of its own, written last. */
  manifestDestination(shard: string, backup: string): string;
}

/** A backup as clickhouse-backup lists it. */
export interface ListedBackup {
  name: string;
  location: 'local' | 'remote';
  /** `YYYY-MM-DD hh:mm:ss` in the time zone of that clickhouse-backup. */
  created: string;
  bytes: number;
  /** The base of an incremental backup. */
  required: string | null;
  /** What is wrong with it; null: nothing known. */
  broken: string | null;
}

/**
 * A restore of one table's data into a table of `_recovery` that is there and has no parts. What an earlier try with the
 * same backup left in its detached/ does no harm.
 *
 * `id` is ours: letters, digits and _, a new one for each try. It stands in the command that clickhouse-backup keeps, so
 * the operation is found again by whoever asks, also when the answer to its start was lost.
 */
export interface RestoreOrder {
  id: string;
  backup: string;
  names: RestoreNames;
}

/**
 * - `running`
 * - `success`: all parts were attached
 * - `error`: it ended; some parts may be attached
 * - `busy`: another one worked on that backup: nothing was done, start it again later
 * - `unknown`: not started, or clickhouse-backup was restarted since. Parts may be attached, and after a reload of its
 *   configuration (`cancelled`) it may even go on.
 *
 * After `error` and `unknown` the target is to be dropped and made anew: a second restore on top doubles rows.
 */
export interface BackupOperation {
  state: 'running' | 'success' | 'error' | 'busy' | 'unknown';
  /** clickhouse-backup's words, without secrets. */
  error: string;
  cancelled: boolean;
}

export interface BackupCallOptions {
  signal?: AbortSignal;
}

/**
 * The clickhouse-backup beside one node. Throws RecoveryError `NODE_UNAVAILABLE` when it cannot be reached or does not
 * answer as it should, `CREDENTIALS_REFUSED`. It runs one operation at a time: so restores of one node go one by one.
 */
export interface ClickHouseBackup {
  /** The node's name. */
  readonly node: string;
  list(options?: BackupCallOptions): Promise<ListedBackup[]>;
  /**
   * From its metadata folder as configured, else from `folder` where that can be read; null: neither. Throws
   * `BACKUP_UNKNOWN`, `MANIFEST_INVALID`.
   */
  manifest(backup: string, folder?: string): Promise<ClickHouseBackupManifest | null>;
  /**
   * Starts the restore unless its id is known already. While another operation runs it waits, past `busyDeadlineMs`
   * (default 600_000) it throws `BACKUP_BUSY`. Throws `RESTORE_FAILED` when the request is refused.
   */
  startRestore(order: RestoreOrder, options?: BackupCallOptions & { busyDeadlineMs?: number }): Promise<void>;
  restore(id: string, options?: BackupCallOptions): Promise<BackupOperation>;
}

/** clickhouse-backup over its REST API. */
export interface ClickHouseBackupRepository {
  readonly name: string;
  readonly kind: 'clickhouse-backup';
  /** The nodes that have one, in the order of the configuration. */
  readonly nodes: readonly string[];
  on(node: string): ClickHouseBackup;
  /** For people, in plans and reports: `clickhouse-backup 'b1' on a`. */
  describe(node: string, backup: string): string;
  /** There is no SQL destination. Throws `INPUT_INVALID`: for callers that know native backups only. */
  destination(shard: string, backup: string): never;
  manifestDestination(shard: string, backup: string): never;
}

/** Cold copies, which only the agents of their hosts read: their workflow asks them. */
export interface ColdRepository {
  readonly name: string;
  readonly kind: 'cold';
  /** There is no SQL destination. Throws `INPUT_INVALID`: for callers that know native backups only. */
  destination(shard: string, backup: string): never;
  manifestDestination(shard: string, backup: string): never;
}

/** A kind of backup in a place, as recovery.yaml names it. */
export type BackupRepository = NativeRepository | ClickHouseBackupRepository | ColdRepository;

export interface ClusterPorts {
  topology: Topology;
  policy: Policy;
  node(name: string): ClickHouseNode;
  /** Where the URL of a node leads to. */
  endpoint(node: string): { host: string; port: number };
  keeper: Keeper;
  /** Waits until ZooKeeper may be asked what a statement costs it. Before the proofs that the statement needs: those must be fresh. */
  pace: (statement: string) => Promise<void>;
  /** '' or such as `/scratch`: what all paths of `keeper` are under. */
  keeperChroot: string;
  repositories: BackupRepository[];
  /** Drills may restore into it, and drop all that is in it. */
  scratch: boolean;
  /** Of a scratch cluster: object storage disks that are no other servers'. */
  ownDisks: string[];
  drill: DrillSettings | null;
  /** What of a shard's backup must not be made on this node, and why; null: all of it is. Reads only. */
  leaveOut: ((backup: BackupContents, node: NodeFacts) => Promise<LeftOut[]>) | null;
  /** The ZooKeeper servers by the names of their agents; null: this cluster has no host agents. */
  cold: { keepers: Record<string, string>; agentTimeoutSeconds: number; chroot: boolean } | null;
}

export interface ReportStore {
  /** Returns where it was put, for people. */
  save(id: string, report: Report): Promise<string>;
  /** The report that was stored for this id last; null where there is none. Throws `REPORTS_UNAVAILABLE`. */
  load(id: string): Promise<Report | null>;
  /** What `planToText` made of the plan: too large for the report, and what was approved is to be read for years. */
  savePlan(hash: string, text: string): Promise<void>;
  plan(hash: string): Promise<string | null>;
}

/** Parts of plans that are too large for a history, and results of their batches. Throws `PLAN_UNAVAILABLE`. */
export interface PieceStore {
  put(name: string, text: string): Promise<void>;
  /** Null where there is none. */
  get(name: string): Promise<string | null>;
}

/** Reports of drills, for as long as somebody keeps them: Temporal forgets its runs. */
export interface DrillStore {
  /** Returns where it was put, for people. Safe to repeat. */
  save(report: DrillReport): Promise<string>;
  /** Of one cluster, newest first. */
  list(cluster: string, limit: number): Promise<DrillReport[]>;
}

/** Reports of cold backups and restores. */
export interface ColdStore {
  /** Returns where it was put, for people. Safe to repeat. */
  save(report: ColdReport): Promise<string>;
  /** Null where there is none. Throws `REPORTS_UNAVAILABLE`. */
  load(id: string): Promise<ColdReport | null>;
}

/** What an activity may ask of the outside. */
export interface Ports {
  /** Throws RecoveryError `CLUSTER_UNKNOWN`. */
  cluster(name: string): ClusterPorts;
  clusterNames(): string[];
  reports: ReportStore;
  pieces: PieceStore;
  drills: DrillStore;
  coldReports: ColdStore;
  /** The id of a recovery of this cluster that runs, or waits for its approval; null: there is none. */
  recoveryOn(cluster: string): Promise<string | null>;
  /** Whether our search attributes are registered: an upsert of an unknown one would block the workflow. */
  searchAttributes: boolean;
  /** Addresses of a host, as the worker resolves it; none where it cannot. */
  readonly resolve: (host: string) => Promise<string[]>;
  readonly sha256: (text: string) => string;
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

export type { BackupContents, ClickHouseBackupManifest, Manifest, RestoreNames };
