import { OF_NAMES, OF_TABLES, proofOf, quietOf, UNIT_NAMES, UNIT_REPLICA } from './query-parts.js';

/**
 * Reads for servers without part hashes, UUIDs and detached_* tables, as tried on 18.16.1. Their parts are compared by
 * rows and bytes on disk: a hard link and a fetched part have both alike.
 */
const NOTHING = 'FROM system.one WHERE dummy = 1';
const ACTIVE = 'FROM system.parts WHERE active AND rows > 0';
const DIGEST = `count() AS parts, sum(rows) AS total, toString(sum(cityHash64(rows, bytes_on_disk))) AS digest, toString(sum(cityHash64(name, rows, bytes_on_disk))) AS identity, uniqExact(partition_id) AS partitions`;
const digests = (where: string) =>
  `SELECT database, table, parts, total AS rows, digest, identity, partitions, blocks FROM (SELECT database, table, ${DIGEST}, sum(max_block_number - min_block_number + 1) AS blocks ${ACTIVE} AND ${where} GROUP BY database, table)`;

export const DEFAULT_PATHS = `SELECT '' AS name, '' AS value ${NOTHING}`;
export const PENDING_DROPS = `SELECT '' AS uuid ${NOTHING}`;

const DEFINITION = `database, name AS table, '' AS uuid, engine, engine_full AS engineFull, partition_key AS partitionKey, sorting_key AS sortingKey, primary_key AS primaryKey, sampling_key AS samplingKey, create_table_query AS createQuery`;
export const TABLES = `SELECT ${DEFINITION} FROM system.tables WHERE has({databases:Array(String)}, database) AND NOT is_temporary ORDER BY database, name`;
export const ONE_TABLE = `SELECT ${DEFINITION} FROM system.tables WHERE ${OF_NAMES}`;

export const PART_DIGESTS = digests('has({databases:Array(String)}, database)');
export const DETACHED_PARTS = `SELECT '' AS database, '' AS table, 0 AS plain, 0 AS attaching, emptyArrayString() AS aside ${NOTHING}`;
/** A name is of one Keeper path's block numbers: on two replicas, the same name with the same bytes is the same part. */
export const PART_LIST = `SELECT name, partition_id AS partitionId, min_block_number AS minBlock, max_block_number AS maxBlock, level, rows, concat(name, '/', toString(bytes_on_disk)) AS hash ${ACTIVE} AND database = {database:String} AND table = {table:String}`;

export const UNIT_STATE = [
  `SELECT 'table' AS kind, database, name AS table, [engine, ''] AS facts FROM system.tables WHERE ${OF_NAMES}`,
  `SELECT 'parts' AS kind, database, table, [toString(countIf(rows > 0)), toString(sum(rows)), toString(sumIf(cityHash64(rows, bytes_on_disk), rows > 0)), toString(sumIf(max_block_number - min_block_number + 1, rows > 0)), ${UNIT_NAMES}] AS facts FROM system.parts WHERE active AND ${OF_TABLES} GROUP BY database, table`,
  UNIT_REPLICA,
].join('\nUNION ALL ');
export const UNIT_DETACHED_PARTS = `SELECT '' AS database, '' AS table, '0' AS parts ${NOTHING}`;
export const UNIT_DETACHED_TABLE = null;

export const PARTITIONS = `SELECT database, table, partition_id AS id, toString(sum(rows)) AS total, concat(toString(count()), ' ', toString(sum(cityHash64(rows, bytes_on_disk)))) AS content ${ACTIVE} AND ${OF_TABLES} GROUP BY database, table, partition_id`;

const WRITING = `match(query, '^(?i)\\\\s*(insert|optimize)') AND NOT startsWith(query, 'INSERT INTO \`_recovery\`')`;
export const FENCE_QUIET = quietOf(WRITING);
export const FENCE_PROOF = proofOf(WRITING);

/** With what was moved aside: a table that is attached as a plain one keeps the names of its parts. */
export const CLONES_ON_NODE = `SELECT name, sum(part) AS parts, sum(part_rows) AS rows, toString(sum(hash)) AS digest, toString(sum(named)) AS identity FROM
 (SELECT name, 0 AS part, 0 AS part_rows, toUInt64(0) AS hash, toUInt64(0) AS named FROM system.tables WHERE database = '_recovery' AND match(name, '^(clone|held) ')
  UNION ALL SELECT table AS name, 1 AS part, rows AS part_rows, cityHash64(rows, bytes_on_disk) AS hash, cityHash64(part_name, rows, bytes_on_disk) AS named FROM
   (SELECT table, name AS part_name, rows, bytes_on_disk ${ACTIVE} AND database = '_recovery' AND match(table, '^(clone|held) ')))
 GROUP BY name`;
