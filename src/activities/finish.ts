import { dropAside, setAside } from '../domain/statements.js';
import type { Policy } from '../domain/policy.js';
import type { ClickHouseNode } from '../ports.js';
import { methodOf } from '../domain/inventory.js';
import { capabilitiesOf } from './capabilities.js';
import { unmountAll } from './inspect-backup.js';
import { hasLedger, readLedger, writeLedger } from './ledger.js';
import * as queries from './queries.js';

/**
 * After validation: the clones of this recovery are renamed aside, or dropped where the policy says so. Only after it:
 * nothing is dropped before the end (invariant H).
 */
export async function finishNode(
  node: ClickHouseNode,
  run: { recovery: string; plan: string },
  policy: Policy,
): Promise<{ kept: number; dropped: number }> {
  const method = methodOf(await capabilitiesOf(node));
  let kept = 0;
  let dropped = 0;
  for (const { name } of await node.query<{ name: string }>(queries.RECOVERY_TABLES)) {
    const worthKeeping = name.startsWith('clone ') || name.startsWith('held ');
    if (policy.keepAside && worthKeeping) {
      await node.execute(setAside(name, run.recovery));
      kept++;
    } else {
      await node.execute(dropAside(name, method));
      dropped++;
    }
  }
  if (method === 'restore-replica') await unmountAll(node);
  // A node of which nothing was changed has none.
  if (!(await hasLedger(node))) return { kept, dropped };
  const done = await readLedger(node, 'finished');
  if (!done.some((row) => row.recovery === run.recovery))
    await writeLedger(node, run, 'finished', `kept ${kept}, dropped ${dropped}`);
  return { kept, dropped };
}
