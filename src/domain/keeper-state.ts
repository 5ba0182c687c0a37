import type { KeeperStateLine } from './inventory.js';
import type { PlanItem } from './plan.js';
import type { PlanInput } from './plan-input.js';

/** State that lived in Keeper beside the tables, a line each: never silence. */
export function keeperState(input: PlanInput, items: PlanItem[]): KeeperStateLine[] {
  const lines = input.nodes.flatMap((node) => node.keeperState);
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
