import { covers, partBlocks } from './part-name.js';
import type { TableName } from './names.js';
import type { NodeRef } from './topology.js';

/**
 * The multiset of a table's non-empty active parts, in three numbers.
 *
 * `digest` is the wrapping sum of `cityHash64(hash_of_all_files, rows)`: independent of part names and order, and twins
 * count twice. Empty parts do not count, since REPLACE PARTITION leaves empty covering parts.
 */
export interface PartsDigest {
  parts: number;
  rows: number;
  /** UInt64 as text: it does not fit in a number. */
  digest: string;
}

export const NO_PARTS: PartsDigest = { parts: 0, rows: 0, digest: '0' };

export function sameParts(a: PartsDigest, b: PartsDigest): boolean {
  return a.parts === b.parts && a.rows === b.rows && a.digest === b.digest;
}

/**
 * Whether a replicated table holds exactly what the parts `whole` brought to it, some merged since: a server that was
 * restarted merges until it is fenced again. Each part that REPLACE PARTITION or ATTACH brings gets one block number, and
 * a merged part covers those of its sources. `blocks`: how many are covered; rows tell of a part that was lost between two
 * that were merged. Where Replacing and its kin merged rows away, nothing tells the one from the other: not the same.
 */
export function mergedFrom(whole: PartsDigest, found: PartsDigest, blocks: number): boolean {
  return blocks === whole.parts && found.parts < whole.parts && found.rows === whole.rows;
}

/**
 * Those of the parts that ZooKeeper lists whose rows no local part holds. Where ZooKeeper came back from an old snapshot,
 * parts that were merged since are held by the part that they were merged into.
 */
export function missingParts(listed: string[], local: string[]): string[] {
  const names = new Set(local);
  const unlisted = listed.filter((name) => !names.has(name));
  if (unlisted.length === 0) return [];
  const held = local.flatMap((name) => partBlocks(name) ?? []);
  return unlisted.filter((name) => {
    const part = partBlocks(name);
    return !(part && held.some((here) => covers(here, part)));
  });
}

/**
 * Whether ZooKeeper's list of a replica's parts is that of its active ones. For some minutes after a merge it still lists
 * the sources, as the disk still has them (`old_parts_lifetime`): those count as held by the merged part.
 */
export function partsAgree(listed: string[], local: string[]): boolean {
  const names = new Set(listed);
  return local.every((name) => names.has(name)) && missingParts(listed, local).length === 0;
}

/**
 * Local parts from before and after ZooKeeper's list was read: a part is made in ZooKeeper first, so one that was there
 * before, and still is, has to be listed; one that came meanwhile is not missing.
 */
export function comparePartLists(
  before: string[],
  listed: string[],
  after: string[],
): Pick<KeeperReplicaFacts, 'partsAgree' | 'missingLocally' | 'notListed'> {
  const names = new Set(listed);
  const still = new Set(after);
  const missingLocally = missingParts(listed, after).length;
  const notListed = before.filter((name) => still.has(name) && !names.has(name)).length;
  return { partsAgree: missingLocally === 0 && notListed === 0, missingLocally, notListed };
}

/**
 * - `replicated`, `merge-tree`: MergeTree family, recovered part by part
 * - `streaming`: Kafka, RabbitMQ, NATS, S3Queue…: detached while fenced
 * - `object`: views, dictionaries, Distributed, Buffer…: recreated from DDL
 * - `other-data`: Log family, Join…: restored with plain RESTORE where they are missing
 */
export type TableKind = 'replicated' | 'merge-tree' | 'streaming' | 'object' | 'other-data';

/** They consume by themselves: detached while fenced. */
export const STREAMING_ENGINES: readonly string[] = ['Kafka', 'RabbitMQ', 'NATS', 'S3Queue', 'AzureQueue', 'FileLog'];
const DATA = new Set(['Log', 'TinyLog', 'StripeLog', 'Join', 'Set', 'EmbeddedRocksDB']);

export function tableKind(engine: string): TableKind {
  if (STREAMING_ENGINES.includes(engine)) return 'streaming';
  if (/^Replicated\w*MergeTree$/.test(engine)) return 'replicated';
  if (/MergeTree$/.test(engine) && !engine.startsWith('Shared')) return 'merge-tree';
  if (DATA.has(engine)) return 'other-data';
  return 'object';
}

/** Objects whose rows are elsewhere: in other tables, on other servers, nowhere. */
const WITHOUT_ROWS = new Set(
  [
    'View MaterializedView LiveView WindowView Dictionary Distributed Buffer Merge Null Alias TimeSeries Loop',
    'GenerateRandom FuzzJSON FuzzQuery Executable ExecutablePool MySQL PostgreSQL MongoDB Redis SQLite ODBC JDBC',
    'ExternalDistributed URL S3 GCS OSS COSN HDFS AzureBlobStorage Hive Hudi DeltaLake DeltaLakeS3 DeltaLakeAzure',
    'DeltaLakeLocal Iceberg IcebergS3 IcebergAzure IcebergHDFS IcebergLocal ArrowFlight YTsaurus',
  ].flatMap((line) => line.split(' ')),
);

/** Memory, File, KeeperMap, and any engine of tomorrow: its definition brings no row back, and no count of ours tells. */
export const mayHoldRows = (engine: string): boolean => tableKind(engine) === 'object' && !WITHOUT_ROWS.has(engine);

/** What defines a table, as `system.tables` gives it. Lost tables take it from the backup's manifest or from a peer. */
export interface TableDefinition extends TableName {
  /** All zeros in an Ordinary database. */
  uuid: string;
  engine: string;
  engineFull: string;
  partitionKey: string;
  sortingKey: string;
  primaryKey: string;
  samplingKey: string;
  /** CREATE with UUID. */
  createQuery: string;
}

/** What the Keeper knows of one replica of one table. */
export interface KeeperReplicaFacts {
  tablePath: string;
  replicaName: string;
  tablePathExists: boolean;
  replicaPathExists: boolean;
  /** All that are registered on the path, by name. */
  replicas: string[];
  /** Those of them with an `is_active` node. */
  activeReplicas: string[];
  /** Entries of `…/replicas/R/parts`, null where the path is absent. */
  partsInKeeper: number | null;
  /** Whether Keeper's part names are exactly the names of the local active parts. Null where not compared. */
  partsAgree: boolean | null;
  /** Parts that Keeper lists and the disk does not have. */
  missingLocally: number;
  /** Parts that the disk has and Keeper does not list: its list is of another time, or an insert was cut off just now. */
  notListed: number;
}

/** One table on one node, as observed. */
export interface TableFacts {
  definition: TableDefinition;
  kind: TableKind;
  parts: PartsDigest;
  /**
   * What tells whether two replicas hold the same: the digest, and on servers without part hashes one of the parts' names,
   * since other rows can have the same number and size. Not for clones: their parts have other names.
   */
  identity: string;
  /**
   * The table whose parts have the names that they had under the Keeper path, by which replicas compare: itself, or what an
   * unfinished recovery moved aside. Null if all that is left has names of its own: the clone's, or of parts that were
   * attached again.
   */
  namedIn: TableName | null;
  partitions: number;
  /** Parts in detached/ that are not a known leftover (`ignored_`, `broken_` …). */
  detachedParts: number;
  /** `attaching_…` entries in detached/: the mark of an interrupted attach. */
  attachingParts: number;
  /**
   * Parts that the server put aside when it started since ZooKeeper does not list them (`ignored_…`), and whose rows no
   * active part holds; of the first 100. Servers without part hashes do not show them.
   */
  putAside: number;
  readonly: boolean;
  sessionExpired: boolean;
  /** Zero-copy replication, or another feature that we do not recover; empty when fine. */
  unsupported: string;
  keeper: KeeperReplicaFacts | null;
  /** Whether our own complete safety clone of an unfinished recovery is on the node, and what it holds. */
  clone: PartsDigest | null;
}

/** Columns of system tables that came after SYSTEM RESTORE REPLICA. */
export const LATE_READS = [
  'server_settings.name',
  'dropped_tables.uuid',
  'detached_tables.uuid',
  'processes.query_kind',
] as const;
export type LateRead = (typeof LATE_READS)[number];

/** What a server can do, found by asking it. */
export interface Capabilities {
  /** SYSTEM RESTORE REPLICA */
  restoreReplica: boolean;
  /** SYSTEM DROP REPLICA … FROM ZKPATH */
  dropReplica: boolean;
  /** ATTACH TABLE … AS [NOT] REPLICATED */
  attachAs: boolean;
  /** CREATE TABLE … CLONE AS */
  cloneAs: boolean;
  /** BACKUP and RESTORE, ASYNC and by id */
  nativeBackup: boolean;
  /** `hash_of_all_files` in system.parts; without it a part is known by its rows and bytes. */
  partHashes: boolean;
  /** What it has of LATE_READS not. */
  lacks: readonly LateRead[];
}

/**
 * How a table that stands gets its Keeper metadata back.
 *
 * - `restore-replica`: SYSTEM RESTORE REPLICA, in place
 * - `conversion`: its parts are cloned, the table is taken out of the way, a new replicated one is filled from the clone
 *   beside it and renamed into place once it is validated: for servers without the statement
 */
export type Method = 'restore-replica' | 'conversion';

export function methodOf(can: Capabilities): Method {
  return can.restoreReplica && can.partHashes ? 'restore-replica' : 'conversion';
}

/** For people: what of a recovery's statements the server does not know. */
export function missingStatements(can: Capabilities): string[] {
  const wanted: [boolean, string][] = [
    [can.restoreReplica, 'SYSTEM RESTORE REPLICA'],
    [can.dropReplica, 'SYSTEM DROP REPLICA'],
    [can.attachAs, 'ATTACH … AS REPLICATED'],
    [can.cloneAs, 'CLONE AS'],
    [can.partHashes, 'hashes of parts'],
  ];
  return wanted.filter(([known]) => !known).map(([, what]) => what);
}

/** State that lived in Keeper beside the tables. Each entry becomes a line in plan and report. */
export interface KeeperStateLine {
  what: string;
  detail: string;
  verdict: 'restored' | 'rebuilt' | 'replayed' | 'unrecoverable' | 'not-affected';
}

export interface NodeFacts {
  node: NodeRef;
  version: string;
  /** A node without an interserver port: its replicas never become active (ClickHouse issue 78632). */
  embedded: boolean;
  capabilities: Capabilities;
  macros: Record<string, string>;
  defaultReplicaPath: string;
  defaultReplicaName: string;
  databases: { name: string; engine: string }[];
  /** UUIDs of dropped tables whose files are not gone yet. */
  pendingDropUuids: string[];
  /** Keeper paths of replicas in `_recovery`, which an unfinished recovery made beside their tables: they are ours. */
  beside: string[];
  /** Recovery id of clones that an unfinished recovery left here, or ''. */
  unfinishedRecovery: string;
  keeperState: KeeperStateLine[];
  tables: TableFacts[];
}
