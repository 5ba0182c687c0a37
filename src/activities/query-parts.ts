/** What reads of all servers have in common. */

/** Of several tables at once. Where names of two databases are crossed, it is also of tables that nobody asked for. */
export const OF_TABLES = `has({databases:Array(String)}, database) AND has({tables:Array(String)}, table)`;
export const OF_NAMES = `has({databases:Array(String)}, database) AND has({tables:Array(String)}, name)`;

/** In an order of bytes, as JavaScript sorts them too: part names are ASCII. */
export const nameListHash = (names: string) => `lower(hex(SHA256(arrayStringConcat(arraySort(${names}), '\\n'))))`;

/** Only columns that the server answers without asking ZooKeeper. */
export const UNIT_REPLICA = `SELECT 'replica' AS kind, database, table, [toString(is_readonly), toString(is_session_expired), toString(queue_size), toString(merges_in_queue), toString(toUInt32(queue_oldest_time)), toString(toUInt32(now())), zookeeper_path, replica_name] AS facts FROM system.replicas WHERE ${OF_TABLES}`;

/** Of all active parts. Names of clones are compared with nothing. */
export const UNIT_NAMES = `toString(count()), ${nameListHash(`groupArrayIf(name, database != '_recovery' OR startsWith(table, 'next '))`)}`;

/** Of all tables at once: mostly nothing is merged and nobody writes, which says it of each. */
export const quietOf = (writing: string) =>
  `SELECT '' AS database, '' AS table, (SELECT count() FROM system.merges) AS merges, (SELECT count() FROM system.processes WHERE ${writing}) AS writers, toUnixTimestamp(now()) - uptime() AS boot`;

/** Of one table. */
export const proofOf = (
  writing: string,
) => `SELECT (SELECT count() FROM system.merges WHERE database = {database:String} AND table = {table:String}) AS merges,
 (SELECT count() FROM system.processes WHERE ${writing}
   AND (position(query, concat({database:String}, '.', {table:String})) > 0 OR position(query, concat('\`', {table:String}, '\`')) > 0)) AS writers,
 toUnixTimestamp(now()) - uptime() AS boot`;
