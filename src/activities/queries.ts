import type { Capabilities, LateRead } from '../domain/inventory.js';
import * as old from './queries-old.js';
import { nameListHash, OF_NAMES, OF_TABLES, proofOf, quietOf, UNIT_NAMES, UNIT_REPLICA } from './query-parts.js';

/** All reads. Values are bound; a read never changes anything. */

// Of a tag: /* ch-recover 0123456789abcdef */
const TAG_LENGTH = 33;

/** Non-empty parts only: REPLACE PARTITION leaves empty covering parts. */
const DIGEST = `count() AS parts, sum(p.rows) AS rows, toString(sum(cityHash64(p.hash_of_all_files, p.rows))) AS digest, uniqExact(partition_id) AS partitions, sum(bytes_on_disk) AS bytes`;

export const NODE = `SELECT version() AS version, toUnixTimestamp(now()) - uptime() AS boot`;
export const MACROS = `SELECT macro, substitution FROM system.macros`;
export const INTERSERVER_PORT = `SELECT getServerPort('interserver_http_port') AS port`;
const DEFAULT_PATHS = `SELECT name, value FROM system.server_settings WHERE name IN ('default_replica_path', 'default_replica_name')`;
export const DATABASES = `SELECT name, engine FROM system.databases WHERE name NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') AND NOT startsWith(name, '_recovery') ORDER BY name`;
const PENDING_DROPS = `SELECT toString(uuid) AS uuid FROM system.dropped_tables`;

const DEFINITION = `database, name AS table, toString(uuid) AS uuid, engine, engine_full AS engineFull, partition_key AS partitionKey, sorting_key AS sortingKey, primary_key AS primaryKey, sampling_key AS samplingKey, create_table_query AS createQuery`;
const TABLES = `SELECT ${DEFINITION} FROM system.tables WHERE has({databases:Array(String)}, database) AND NOT is_temporary ORDER BY database, name`;
const ONE_TABLE = `SELECT ${DEFINITION} FROM system.tables WHERE ${OF_NAMES}`;
/** Makes createQuery carry UUIDs, TO INNER UUID among them. */
export const WITH_UUID = { show_table_uuid_in_table_create_query_if_not_nil: 1 };

const PART_DIGESTS = `SELECT database, table, ${DIGEST} FROM system.parts AS p WHERE p.active AND p.rows > 0 AND has({databases:Array(String)}, database) GROUP BY database, table`;
const DETACHED_PARTS = `SELECT database, table, countIf(ifNull(reason, '') = '') AS plain, countIf(startsWith(name, 'attaching_') OR ifNull(reason, '') = 'attaching') AS attaching, groupArrayIf(100)(name, ifNull(reason, '') IN ('ignored', 'unexpected')) AS aside, count() AS total FROM system.detached_parts WHERE has({databases:Array(String)}, database) GROUP BY database, table`;
/** Only columns that the server answers without asking ZooKeeper. */
export const REPLICAS = `SELECT database, table, is_readonly AS readonly, is_session_expired AS sessionExpired, zookeeper_path AS tablePath, replica_name AS replicaName FROM system.replicas WHERE has({databases:Array(String)}, database)`;
/** Asks ZooKeeper. Of the whole node, so for a node that is healthy. */
export const REPLICA_LAG = `SELECT database, table, zookeeper_path AS path, replica_name AS replica, is_readonly AS readonly, is_session_expired AS sessionExpired, queue_size AS queue, if(queue_size = 0, 0, toUInt32(now()) - toUInt32(queue_oldest_time)) AS oldestSeconds, active_replicas AS active, total_replicas AS total FROM system.replicas ORDER BY database, table`;
/** All parts of the tables that have some which count no more. */
export const PARTS_WITH_INACTIVE = `SELECT database, table, name, active, path FROM system.parts WHERE concat(database, '.', table) IN (SELECT concat(database, '.', table) FROM system.parts WHERE NOT active)`;
const NAME_HASH = `count() AS names, ${nameListHash('groupArray(name)')} AS hash`;
export const PART_NAME_HASHES = `SELECT database, table, ${NAME_HASH} FROM system.parts WHERE active AND has({databases:Array(String)}, database) GROUP BY database, table`;
export const PART_NAMES = `SELECT name FROM system.parts WHERE active AND database = {database:String} AND table = {table:String}`;
const PART_LIST = `SELECT name, partition_id AS partitionId, min_block_number AS minBlock, max_block_number AS maxBlock, level, rows, hash_of_all_files AS hash FROM system.parts AS p WHERE p.active AND p.rows > 0 AND database = {database:String} AND table = {table:String}`;

/** All that is observed of a table and of what stands for it in `_recovery`, in one query: see UnitState. */
const UNIT_STATE = [
  `SELECT 'table' AS kind, database, name AS table, [engine, toString(uuid)] AS facts FROM system.tables WHERE ${OF_NAMES}`,
  `SELECT 'parts' AS kind, database, table, [toString(countIf(rows > 0)), toString(sum(rows)), toString(sumIf(cityHash64(hash_of_all_files, rows), rows > 0)), toString(sumIf(max_block_number - min_block_number + 1, rows > 0)), ${UNIT_NAMES}] AS facts FROM system.parts WHERE active AND ${OF_TABLES} GROUP BY database, table`,
  UNIT_REPLICA,
].join('\nUNION ALL ');
/** Asks ZooKeeper, on old servers for one table after the other, and fails there for one whose nodes are gone: so of finished tables, and of no other. */
export const REPLICATION = `SELECT database, table, queue_size AS queue, merges_in_queue AS merges, toUInt32(queue_oldest_time) AS oldest, toUInt32(now()) AS now, active_replicas AS active, total_replicas AS total, log_max_index AS logEnd, log_pointer AS logNext FROM system.replicas WHERE has({names:Array(String)}, concat(database, '.', table))`;
/** It lists folders, so only of tables that are finished. */
const UNIT_DETACHED_PARTS = `SELECT database, table, toString(count()) AS parts FROM system.detached_parts WHERE ${OF_TABLES} GROUP BY database, table`;
const UNIT_DETACHED_TABLE = `SELECT toString(uuid) AS uuid FROM system.detached_tables WHERE database = {database:String} AND table = {table:String}`;
/** Tags of units are of one length; who waits for an answer looks for its own. */
export const RUNNING = `SELECT '' AS database, substring(query, 1, ${TAG_LENGTH}) AS table, max(elapsed) AS seconds FROM system.processes WHERE startsWith(query, '/* ch-recover ') AND has({databases:Array(String)}, '') AND has({tables:Array(String)}, table) GROUP BY table`;

const PARTITIONS = `SELECT database, table, partition_id AS id, toString(sum(rows)) AS total, concat(toString(count()), ' ', toString(sum(cityHash64(hash_of_all_files, rows)))) AS content FROM system.parts WHERE active AND rows > 0 AND ${OF_TABLES} GROUP BY database, table, partition_id`;

/** Proof that the fence holds for a table: nothing merges it, and nobody but us writes it. */
const WRITING = `query_kind IN ('Insert', 'Optimize') AND NOT startsWith(query, '/* ch-recover') AND NOT startsWith(query, 'INSERT INTO \`_recovery\`')`;
const FENCE_QUIET = quietOf(WRITING);
const FENCE_PROOF = proofOf(WRITING);

const OPERATION_STATE = `toString(status) AS status, error, total_size AS bytes, num_files AS files FROM system.backups`;
export const OPERATION = `SELECT id, ${OPERATION_STATE} WHERE id = {id:String}`;
/** Of several at once, by their ids in place of tables. */
export const OPERATIONS = `SELECT '' AS database, id AS table, ${OPERATION_STATE} WHERE has({databases:Array(String)}, '') AND has({tables:Array(String)}, id)`;
export const FAILED_OPERATIONS = `SELECT count() AS failed FROM system.backups WHERE startsWith(id, {prefix:String}) AND status IN ('RESTORE_FAILED', 'BACKUP_FAILED')`;
export const CHECK_SETTINGS = { check_query_single_value_result: 0 };

export const RECOVERY_TABLES = `SELECT name FROM system.tables WHERE database = '_recovery' AND (startsWith(name, 'clone ') OR startsWith(name, 'making ') OR startsWith(name, 'staging ') OR startsWith(name, 'next ') OR startsWith(name, 'canary ') OR startsWith(name, 'held ')) ORDER BY name`;
const CLONES_ON_NODE = `SELECT name, parts, rows, if(digest = '', '0', digest) AS digest FROM (SELECT name FROM system.tables WHERE database = '_recovery' AND startsWith(name, 'clone ')) AS t LEFT JOIN (SELECT table, ${DIGEST} FROM system.parts AS p WHERE p.active AND p.rows > 0 AND database = '_recovery' GROUP BY table) AS p ON t.name = p.table`;
export const HAS_LEDGER = `SELECT count() AS found FROM system.tables WHERE database = '_recovery' AND name = 'ledger'`;
export const LEDGER_OF_KIND = `SELECT recovery, database, table, detail, toString(at) AS at FROM _recovery.ledger WHERE kind = {kind:String} ORDER BY at`;
export const FENCE_STATE = `SELECT kind, toString(max(at)) AS latest FROM _recovery.ledger WHERE kind IN ('fenced', 'unfenced') GROUP BY kind`;
/** Seconds: a table that is dropped and made again within one keeps its id, and is dropped again. */
export const MADE_AT = `SELECT toString(toUInt32(metadata_modification_time)) AS id, (SELECT count() FROM system.parts WHERE active AND database = {database:String} AND table = {table:String}) AS parts FROM system.tables WHERE database = {database:String} AND name = {table:String}`;
/** Its folder is `<root>/metadata/…` or `<root>/store/…`. */
export const SERVER_PATH = `SELECT metadata_path AS path FROM system.databases WHERE position(metadata_path, '/metadata/') > 0 OR position(metadata_path, '/store/') > 0 ORDER BY name LIMIT 1`;
export const BESIDE = `SELECT concat(zookeeper_path, '/replicas/', replica_name) AS path FROM system.replicas WHERE database = '_recovery'`;
export const DISTRIBUTED = `SELECT database, name AS table FROM system.tables WHERE engine = 'Distributed' AND NOT startsWith(database, '_recovery') ORDER BY database, name`;
export const MERGES_RUNNING = `SELECT count() AS merges FROM system.merges WHERE database != '_recovery'`;
export const MUTATIONS = `SELECT database, table, mutation_id AS mutationId, command FROM system.mutations WHERE NOT is_done AND has({databases:Array(String)}, database)`;
export const FREE_SPACE = `SELECT name, free_space AS free FROM system.disks WHERE type = 'Local' OR type = 'local'`;

const MODERN = {
  DEFAULT_PATHS,
  PENDING_DROPS,
  TABLES,
  ONE_TABLE,
  PART_DIGESTS,
  DETACHED_PARTS,
  PART_LIST,
  UNIT_STATE,
  UNIT_DETACHED_PARTS,
  UNIT_DETACHED_TABLE,
  PARTITIONS,
  FENCE_QUIET,
  FENCE_PROOF,
  CLONES_ON_NODE,
};

/** Null: the server does not tell, so it is not asked. */
export type Queries = Record<Exclude<keyof typeof MODERN, 'UNIT_DETACHED_TABLE'>, string> & {
  UNIT_DETACHED_TABLE: string | null;
};

/** What a read needs that a server may lack although it has part hashes: its old form needs none of it. */
const LATE: Partial<Record<keyof Queries, LateRead>> = {
  DEFAULT_PATHS: 'server_settings.name',
  PENDING_DROPS: 'dropped_tables.uuid',
  UNIT_DETACHED_TABLE: 'detached_tables.uuid',
  FENCE_QUIET: 'processes.query_kind',
  FENCE_PROOF: 'processes.query_kind',
};

/** The reads that are not the same on all servers. */
export function queriesFor({ partHashes, lacks }: Pick<Capabilities, 'partHashes' | 'lacks'>): Queries {
  const isLate = (name: keyof Queries) => lacks.some((missing) => missing === LATE[name]);
  const names = Object.keys(MODERN) as (keyof Queries)[];
  return Object.fromEntries(
    names.map((name) => [name, partHashes && !isLate(name) ? MODERN[name] : old[name]]),
  ) as Queries;
}
