/**
 * One shape for the three kinds of cluster that scenarios run on: embedded nodes (embedded-cluster.ts), ClickHouse
 * servers on this machine (server-cluster.ts), and somebody else's (external-cluster.ts).
 */

export const PROVIDERS = ['embedded', 'servers', 'external'] as const;
export type Provider = (typeof PROVIDERS)[number];

/** What a scenario may need. One that lacks it says so in its name and is skipped there, never silently. */
export type Capability =
  /** `SYSTEM RESTORE REPLICA` and `ATTACH TABLE … AS REPLICATED`. */
  | 'restoreReplica'
  /** Replicas become active, take inserts and fetch from each other. */
  | 'liveReplication'
  /** `BACKUP` and `RESTORE` statements. */
  | 'nativeBackup'
  /** Something takes backups and gives them back: its statements, or a clickhouse-backup. */
  | 'backups'
  /** No `SYSTEM RESTORE REPLICA`: plain parts are converted. */
  | 'conversion'
  /** Tables have UUIDs, and a `DROP` or `RENAME` waits for nobody. */
  | 'atomicDatabases';

export interface TestNode {
  readonly name: string;
  /** Values of the macros `shard` and `replica`. */
  readonly shard: string;
  readonly replica: string;
  /** Of the HTTP interface, without credentials. */
  readonly url: string;
  /** @default 'default' */
  readonly user?: string;
  readonly password?: string;
}

/** ZooKeeper or ClickHouse Keeper: what can happen to it as a whole. */
export interface Keeper {
  /** `host:port` of every server. */
  readonly hosts: readonly string[];
  /** Starts what does not run; resolves when it serves. */
  start(): Promise<void>;
  /** The data stays. */
  stop(): Promise<void>;
  /** Deletes all data; it must be stopped. */
  wipe(): void | Promise<void>;
}

/** The part of recovery.yaml that describes one cluster. */
export interface ClusterConfig {
  readonly keeper: { readonly hosts: string[]; readonly chroot?: string };
  readonly nodes: {
    readonly name: string;
    readonly shard: string;
    readonly replica: string;
    readonly url: string;
    readonly user?: string;
    readonly password?: { readonly env: string } | { readonly file: string };
  }[];
  readonly backups?: Record<string, unknown>;
}

/** Nodes are named by their index in `nodes`, shard by shard: of 2 x 2, node 2 is the first replica of the second shard. */
export interface TestCluster {
  readonly provider: Provider;
  readonly capabilities: ReadonlySet<Capability>;
  /** Its name in recovery.yaml, and the value of the macro `cluster`. */
  readonly clusterName: string;
  readonly nodes: readonly TestNode[];
  /** `host:port` of every Keeper. */
  readonly keeperHosts: readonly string[];
  /** The `clusters` entry of recovery.yaml. */
  readonly config: { readonly clusters: Record<string, ClusterConfig> };
  /** Starts a node that does not run, and waits until it answers. @throws Error with its log where it does not come up */
  startNode(index: number): Promise<void>;
  /** An orderly stop; nothing if it does not run. */
  stopNode(index: number): Promise<void>;
  /** SIGKILL, as a crash; nothing if it does not run. */
  killNode(index: number): Promise<void>;
  /** Starts those that do not run. */
  startAll(): Promise<void>;
  stopAll(): Promise<void>;
  killAll(): Promise<void>;
  /** Deletes all that a stopped node stored: its disk was lost. @throws Error when the node runs */
  wipeNodeData(index: number): void | Promise<void>;
}
