import type { KeeperStateLine } from './inventory.js';
import type { PlanItem } from './plan.js';
import type { PlanInput } from './plan-input.js';

/** Tables say whether Keeper was lost: it took their paths with it, and that of a dropped table only is no sign. */
const KEEPER_WAS_THERE: readonly PlanItem['situation'][] = ['healthy', 'replica-lost', 'table-lost'];

/** State that lived in Keeper beside the tables, a line each: never silence. Where Keeper still has its data it is there. */
export function keeperState(input: PlanInput, items: PlanItem[]): KeeperStateLine[] {
  const replicated = items.filter((item) => item.replicated);
  const isThere = replicated.length > 0 && replicated.every((item) => KEEPER_WAS_THERE.includes(item.situation));
  const lines = input.nodes
    .flatMap((node) => node.keeperState)
    .map((line) => (isThere ? { ...line, verdict: 'not-affected' as const } : line));
  for (const [shard, backup] of input.backups)
    for (const mutation of backup.unfinishedMutations)
      lines.push({
        what: 'unfinished mutation',
        detail: `shard ${shard}, ${mutation.database}.${mutation.table}: ${mutation.command}`.slice(0, 300),
        verdict: 'unrecoverable',
      });
  // A replica that only joins again finds the hashes of its table where they were.
  if (items.some((item) => item.replicated && item.action !== 'none' && item.fetches !== 'live'))
    lines.push({
      what: 'block deduplication hashes',
      detail: 'inserts repeated from before the loss are not recognised as repeats',
      verdict: 'unrecoverable',
    });
  const seen = new Set<string>();
  return lines.filter((line) => !seen.has(`${line.what}/${line.detail}`) && seen.add(`${line.what}/${line.detail}`));
}
