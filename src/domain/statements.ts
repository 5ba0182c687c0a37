import { columnsOf, commentOf, parseReplicatedEngine, storageClauses } from './ddl.js';
import { RecoveryError } from './errors.js';
import type { Method, TableDefinition } from './inventory.js';
import {
  asideTable,
  cloneName,
  literal,
  quote,
  quoteTable,
  RECOVERY_DATABASE,
  type CloneRole,
  type TableName,
} from './names.js';

/**
 * All SQL that changes something. Pure builders: the planner lists these texts, an approval is for them, and the
 * activities send no other. Reads are in `queries.ts`.
 */

/** Stands for a partition id in a plan: `REPLACE PARTITION` is sent once for each partition of the clone. */
export const PARTITION_PLACEHOLDER = '{partition}';

const PARTITION_ID = /^[A-Za-z0-9_-]{1,200}$/;

/**
 * A clone must keep its parts as they are: `SYSTEM STOP MERGES` is forgotten at a restart, so it is a table setting.
 * 1 byte: no merge has inputs that small. TTLs are in no clone's engine clause.
 */
const UNMERGEABLE =
  'max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1, max_number_of_merges_with_ttl_in_pool = 0';

/** Partition, primary, sorting and sampling key as written: parts move between tables only where these are equal. */
export function keys(definition: TableDefinition): string {
  const clauses = storageClauses(definition.engineFull);
  return (['PARTITION BY', 'PRIMARY KEY', 'ORDER BY', 'SAMPLE BY'] as const)
    .map((keyword) => (clauses[keyword] === undefined ? '' : ` ${keyword} ${clauses[keyword]}`))
    .join('');
}

/** Settings that decide whether parts of one table fit into another. */
const STRUCTURAL =
  /^(index_granularity|index_granularity_bytes|storage_policy|allow_nullable_key|allow_experimental_reverse_key|enable_block_number_column|enable_block_offset_column|deduplicate_merge_projection_mode) = /;

export function inheritedSettings(definition: TableDefinition): string {
  const settings = storageClauses(definition.engineFull).SETTINGS ?? '';
  // A comma inside a quoted value would end the match early, and the setting would not start with a known name.
  const each = settings.match(/\w+ = (?:'(?:[^'\\]|\\.)*'|[^,]+)/g) ?? [];
  return each
    .filter((setting) => STRUCTURAL.test(setting))
    .map((setting) => `${setting}, `)
    .join('');
}

function twinClause(definition: TableDefinition): string {
  const note = JSON.stringify({ database: definition.database, table: definition.table, uuid: definition.uuid });
  return `ENGINE = MergeTree${keys(definition)} SETTINGS ${inheritedSettings(definition)}${UNMERGEABLE} COMMENT ${literal(note)}`;
}

export function createRecoveryDatabase(method: Method): string {
  const engine = method === 'conversion' ? 'Ordinary' : 'Atomic';
  return `CREATE DATABASE IF NOT EXISTS ${quote(RECOVERY_DATABASE)} ENGINE = ${engine}`;
}

export const createLedger =
  `CREATE TABLE IF NOT EXISTS ${quote(RECOVERY_DATABASE)}.ledger ` +
  '(at DateTime64(3), recovery String, plan String, kind LowCardinality(String), database String, table String, detail String) ' +
  // one small part an entry, and merges are stopped while fenced: never refuse an entry for their number
  'ENGINE = MergeTree ORDER BY at SETTINGS parts_to_throw_insert = 1000000, parts_to_delay_insert = 1000000';

/** `at`: milliseconds, ascending: those servers have no time of less than a second. */
export const createOldLedger =
  `CREATE TABLE IF NOT EXISTS ${quote(RECOVERY_DATABASE)}.ledger ` +
  '(at UInt64, recovery String, plan String, kind String, database String, table String, detail String) ' +
  'ENGINE = MergeTree PARTITION BY tuple() ORDER BY at SETTINGS index_granularity = 8192, parts_to_throw_insert = 1000000, parts_to_delay_insert = 1000000';

export function createDatabase(name: string, engine: string): string {
  return `CREATE DATABASE IF NOT EXISTS ${quote(name)} ENGINE = ${engine}`;
}

/** A hard-link copy of all parts, beside the data. Works while the source is read-only. */
export function cloneTable(definition: TableDefinition): string {
  return `CREATE TABLE ${quoteTable(cloneName('making', definition))} CLONE AS ${quoteTable(definition)} ${twinClause(definition)}`;
}

export function stagingName(name: TableName): TableName {
  return cloneName('staging', name);
}

/** An empty twin for RESTORE, or for clickhouse-backup under the name that it can map to. */
export function createStaging(definition: TableDefinition, name = stagingName(definition)): string {
  return `CREATE TABLE ${quoteTable(name)} ${columnsOf(definition)} ${twinClause(definition)}`;
}

/** A Log-family table has no parts to clone: it is restored as a whole beside, with its old UUID, and renamed into place. */
export function createWholeStaging(definition: TableDefinition): string {
  return `CREATE TABLE ${quoteTable(cloneName('staging', definition))}${uuidClause(definition.uuid)} ${columnsOf(definition)} ENGINE = ${definition.engineFull}${commentOf(definition)}`;
}

export function dropClone(role: CloneRole, name: TableName): string {
  return `DROP TABLE IF EXISTS ${quoteTable(cloneName(role, name))} SYNC`;
}

/** Marks a clone as complete: the rename is atomic, so a clone under this name has been compared. */
export function completeClone(from: 'making' | 'staging', name: TableName): string {
  return `RENAME TABLE ${quoteTable(cloneName(from, name))} TO ${quoteTable(cloneName('clone', name))}`;
}

/** What a table still held before it is rebuilt from a backup: kept, whatever happens. */
export function holdClone(name: TableName): string {
  return `RENAME TABLE ${quoteTable(cloneName('making', name))} TO ${quoteTable(cloneName('held', name))}`;
}

/** Moves what a finished recovery leaves out of the way of the next one. Names in `_recovery`. */
export function setAside(tables: { from: string; to: string }[]): string {
  const own = (table: string) => quoteTable({ database: RECOVERY_DATABASE, table });
  return `RENAME TABLE ${tables.map(({ from, to }) => `${own(from)} TO ${own(to)}`).join(', ')}`;
}

export function asideName(table: string, recoveryId: string): string {
  // Ids that people choose share their beginning, run ids theirs within a minute: the whole id counts.
  return asideTable(recoveryId, table);
}

export function dropAside(table: string, method: Method): string {
  return `DROP TABLE IF EXISTS ${quoteTable({ database: RECOVERY_DATABASE, table })}${method === 'conversion' ? '' : ' SYNC'}`;
}

/** The table as plain MergeTree with its old UUID: the Keeper is not needed to fill it. */
export function createPlain(definition: TableDefinition, replicated: boolean): string {
  const engine = replicated ? parseReplicatedEngine(definition.engineFull).plain : definition.engineFull;
  return `CREATE TABLE ${quoteTable(definition)}${uuidClause(definition.uuid)} ${columnsOf(definition)} ENGINE = ${engine}${commentOf(definition)}`;
}

/** The table as it was, empty: it fetches its parts from the other replicas. */
export function createReplicated(definition: TableDefinition): string {
  return `CREATE TABLE ${quoteTable(definition)}${uuidClause(definition.uuid)} ${columnsOf(definition)} ENGINE = ${definition.engineFull}${commentOf(definition)}`;
}

function uuidClause(uuid: string): string {
  return uuid === '' || uuid.startsWith('00000000-0000-0000') ? '' : ` UUID ${literal(uuid)}`;
}

/**
 * Views, dictionaries, Distributed. A materialized view is attached: CREATE would make a second inner table and, with
 * POPULATE, fill it.
 */
export function createObject(definition: TableDefinition): string {
  return definition.createQuery.replace(/^CREATE MATERIALIZED VIEW/, 'ATTACH MATERIALIZED VIEW');
}

export function replacePartition(name: TableName, partitionId: string): string {
  if (partitionId !== PARTITION_PLACEHOLDER && !PARTITION_ID.test(partitionId))
    throw new RecoveryError('INTERNAL', 'a partition id has unexpected characters');
  return `ALTER TABLE ${quoteTable(name)} REPLACE PARTITION ID ${literal(partitionId)} FROM ${quoteTable(cloneName('clone', name))}`;
}

/** Only for a partition that the clone does not have, after what the table held was cloned aside. */
export function dropPartition(name: TableName, partitionId: string): string {
  if (partitionId !== PARTITION_PLACEHOLDER && !PARTITION_ID.test(partitionId))
    throw new RecoveryError('INTERNAL', 'a partition id has unexpected characters');
  return `ALTER TABLE ${quoteTable(name)} DROP PARTITION ID ${literal(partitionId)}`;
}

/** Names of parts are letters, digits, - and _. */
export const attachPart = (name: TableName, part: string) =>
  `ALTER TABLE ${quoteTable(name)} ATTACH PART ${literal(part)}`;

export const detach = (name: TableName) => `DETACH TABLE ${quoteTable(name)} SYNC`;
export const attach = (name: TableName) => `ATTACH TABLE ${quoteTable(name)}`;
export const attachAsReplicated = (name: TableName) => `ATTACH TABLE ${quoteTable(name)} AS REPLICATED`;
export const attachAsNotReplicated = (name: TableName) => `ATTACH TABLE ${quoteTable(name)} AS NOT REPLICATED`;
export const restartReplica = (name: TableName) => `SYSTEM RESTART REPLICA ${quoteTable(name)}`;
export const restoreReplica = (name: TableName) => `SYSTEM RESTORE REPLICA ${quoteTable(name)}`;
export const dropReplica = (replica: string, tablePath: string) =>
  `SYSTEM DROP REPLICA ${literal(replica)} FROM ZKPATH ${literal(tablePath)}`;

/** Data of one object of a backup into its staging table. `id` is what `system.backups` knows it by. */
export function restoreTable(source: TableName, staging: TableName, destination: string, id: string): string {
  return `RESTORE TABLE ${quoteTable(source)} AS ${quoteTable(staging)} FROM ${destination} SETTINGS allow_different_table_def = 1, id = ${literal(id)} ASYNC`;
}

export const renameToStaging = (from: TableName, name: TableName) =>
  `RENAME TABLE ${quoteTable(from)} TO ${quoteTable(stagingName(name))}`;

/** Rows of a Log-family table come back as a whole: restored beside, then renamed into place. */
export function promoteByRename(name: TableName): string {
  return `RENAME TABLE ${quoteTable(cloneName('staging', name))} TO ${quoteTable(name)}`;
}

/**
 * The SQL fence of a node. Background work that could remove or spread unverified rows is stopped; each statement has
 * its counterpart in `lift`.
 */
const FENCED = [
  'MERGES',
  'TTL MERGES',
  'MOVES',
  'FETCHES',
  'REPLICATED SENDS',
  'REPLICATION QUEUES',
  'DISTRIBUTED SENDS',
] as const;
/**
 * On servers of the conversion: START REPLICATED SENDS has no effect there (seen on 18.16.1: the peer answers with
 * nothing until it is restarted), and unverified data is in no table that replicates.
 */
const OLD: readonly string[] = ['MERGES'];
const fenced = (method: Method) => FENCED.filter((what) => method === 'restore-replica' || OLD.includes(what));
export const fence = (method: Method): string[] => fenced(method).map((what) => `SYSTEM STOP ${what}`);
export const lift = (method: Method): string[] => fenced(method).map((what) => `SYSTEM START ${what}`);

/**
 * Replication of one table while the rest stays fenced: a later replica fetches, its peers send. What a living peer has
 * merged is merged here, too, or the queue never empties.
 */
export function openReplication(name: TableName, method: Method, live: boolean): string[] {
  const needed = method === 'conversion' ? [] : ['FETCHES', 'REPLICATED SENDS', 'REPLICATION QUEUES'];
  return [...needed, ...(live ? ['MERGES'] : [])].map((what) => `SYSTEM START ${what} ${quoteTable(name)}`);
}

/** The table in which replication is proved, on each replica of a shard. One an earlier recovery left is not it. */
export function canary(recovery: string): TableName {
  return { database: RECOVERY_DATABASE, table: `canary ${recovery}` };
}

export function createCanary(name: TableName, path: string, replica: string): string {
  return `CREATE TABLE IF NOT EXISTS ${quoteTable(name)} (n UInt64) ENGINE = ReplicatedMergeTree(${literal(path)}, ${literal(replica)}) ORDER BY n`;
}

export const canaryPath = (recovery: string, shard: string) => `/clickhouse/recovery/${recovery}/${shard}/canary`;

export const insertCanary = (name: TableName, n: number | '{n}') =>
  `INSERT INTO ${quoteTable(name)} SELECT toUInt64(${n})`;

/** A table that was attached after the fence went up does not know of it: stop its background work again. */
export function fenceTable(name: TableName, method: Method): string[] {
  const merges = `SYSTEM STOP MERGES ${quoteTable(name)}`;
  return method === 'conversion' ? [merges] : [merges, `SYSTEM STOP TTL MERGES ${quoteTable(name)}`];
}

/** PERMANENTLY: a server that restarts while fenced must not consume into unverified tables. */
export function detachStreaming(name: TableName, method: Method): string {
  return `DETACH TABLE ${quoteTable(name)}${method === 'conversion' ? '' : ' PERMANENTLY'}`;
}

export function backup(tables: TableName[], destination: string, id: string): string {
  return `BACKUP ${tables.map((name) => `TABLE ${quoteTable(name)}`).join(', ')} TO ${destination} SETTINGS id = ${literal(id)} ASYNC`;
}

export function backupAs(table: TableName, as: TableName, destination: string, id: string): string {
  return `BACKUP TABLE ${quoteTable(table)} AS ${quoteTable(as)} TO ${destination} SETTINGS id = ${literal(id)} ASYNC`;
}
