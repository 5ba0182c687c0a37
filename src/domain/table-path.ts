/** What ClickHouse 1.1 … 26 makes itself below a table's path in ZooKeeper. */
const OWN_CHILDREN = new Set([
  ...['metadata', 'columns', 'log', 'replicas', 'temp', 'quorum', 'mutations', 'leader_election', 'dropped'],
  ...['blocks', 'async_blocks', 'deduplication_hashes', 'block_numbers', 'nonincrement_block_numbers'],
  ...['alter_partition_version', 'table_shared_id', 'lost_part_count', 'pinned_part_uuids', 'part_moves_shard'],
  ...['zero_copy_s3', 'zero_copy_hdfs', 'lightweight_updates', 'last_part', 'failed_parts', 'zookeeper_info'],
]);

/**
 * What stands at a table's path. With explicit paths one table may lie below another's (`…/01` and `…/01/b`): such a child
 * is foreign, and where there is nothing else the node is only an ancestor of it, and no table's.
 */
export function tablePathOf(children: readonly string[] | null): { isThere: boolean; foreign: string[] } {
  const foreign = (children ?? []).filter((name) => !OWN_CHILDREN.has(name));
  return { isThere: children !== null && (children.length === 0 || foreign.length < children.length), foreign };
}
