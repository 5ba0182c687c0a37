import type { PartsDigest } from './inventory.js';
import type { Plan, PlanItem } from './plan.js';

/** Whether its rows come from a backup. */
export const needsData = (item: PlanItem) => item.statements.some((statement) => statement.step === 'restore');

/** The same table on the replicas of one shard. */
export const tableInShard = ({ node, database, table }: PlanItem) => JSON.stringify([node.shard, database, table]);

/** Work on a table that is made beside the place where it belongs. */
export const isBeside = (item: PlanItem) =>
  item.replicated && item.method === 'conversion' && item.action !== 'none' && item.action !== 'needs-operator';

/** Whether tables are made beside their places: then what depends on them comes after their promotion. */
export const hasBeside = (nodes: Plan['nodes']) => nodes.some(({ method }) => method === 'conversion');

/**
 * Between plan and fence, merges and inserts went on. What the one that goes first held under the fence, in its clone,
 * is what it must have in the end, and what the others fetch.
 */
export function asVerified(item: PlanItem, parts: PartsDigest | undefined): PlanItem {
  if (!parts || !item.replicated) return item;
  if (item.authority) return { ...item, expected: parts };
  return item.fetches === null || item.fetches === 'live' ? item : { ...item, expected: parts, fetches: parts };
}
