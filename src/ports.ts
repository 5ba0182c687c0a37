import type { BackupContents, Manifest } from './domain/manifest.js';
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

/** ZooKeeper or ClickHouse Keeper, read only (invariant G). Throws RecoveryError `KEEPER_UNAVAILABLE`. */
export interface Keeper {
  exists(path: string): Promise<boolean>;
  /** Names of the children, null where the path is absent. */
  children(path: string): Promise<string[] | null>;
  /** UTF-8 text of the node, null where the path is absent. */
  get(path: string): Promise<string | null>;
}

/** A kind of backup in a place, as recovery.yaml names it. */
export interface BackupRepository {
  readonly name: string;
  readonly kind: 'native';
  /** The SQL destination of one shard's backup, such as `Disk('backups', 'prod/01/nightly-1')`. */
  destination(shard: string, backup: string): string;
  /** Where its manifest is: a tiny backup of its own, written last. */
  manifestDestination(shard: string, backup: string): string;
}

export interface ClusterPorts {
  topology: Topology;
  policy: Policy;
  node(name: string): ClickHouseNode;
  keeper: Keeper;
  repositories: BackupRepository[];
}

export interface ReportStore {
  /** Returns where it was put, for people. */
  save(id: string, report: Report): Promise<string>;
}

/** What an activity may ask of the outside. */
export interface Ports {
  /** Throws RecoveryError `CLUSTER_UNKNOWN`. */
  cluster(name: string): ClusterPorts;
  clusterNames(): string[];
  reports: ReportStore;
  /** Whether our search attributes are registered: an upsert of an unknown one would block the workflow. */
  searchAttributes: boolean;
  readonly sha256: (text: string) => string;
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

export type { BackupContents, Manifest };
