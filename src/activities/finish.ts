import { inLanes } from '../domain/lanes.js';
import { asideName, dropAside, setAside } from '../domain/statements.js';
import type { Policy } from '../domain/policy.js';
import type { ClickHouseNode } from '../ports.js';
import { methodOf } from '../domain/inventory.js';
import { capabilitiesOf } from './capabilities.js';
import { unmountAll } from './inspect-backup.js';
import { hasLedger, readLedger, writeLedger } from './ledger.js';
import * as queries from './queries.js';
import type { StepContext } from './runtime.js';

/** A query has 256 KiB, and names may be long. What a statement that failed in the middle has renamed is not found again. */
const RENAMES_AT_ONCE = 100;

/**
 * After validation: the clones of this recovery are renamed aside, or dropped where the policy says so. Only after it:
 * nothing is dropped before the end (invariant H).
 */
export async function finishNode(
  node: ClickHouseNode,
  run: { recovery: string; plan: string },
  policy: Pick<Policy, 'keepAside' | 'lanesPerNode'>,
  context: Pick<StepContext, 'assertFresh'>,
  /** As approved. A workflow of an older worker does not say. */
  keepAside = policy.keepAside,
): Promise<{ kept: number; dropped: number }> {
  const method = methodOf(await capabilitiesOf(node));
  const names = (await node.query<{ name: string }>(queries.RECOVERY_TABLES)).map(({ name }) => name);
  const isKept = (name: string) => keepAside && (name.startsWith('clone ') || name.startsWith('held '));
  const kept = names.filter(isKept);
  // Once we are given up, these names may be the next recovery's.
  const send = async (sql: string) => {
    context.assertFresh();
    await node.execute(sql);
  };
  for (let from = 0; from < kept.length; from += RENAMES_AT_ONCE)
    await send(
      setAside(
        kept.slice(from, from + RENAMES_AT_ONCE).map((name) => ({ from: name, to: asideName(name, run.recovery) })),
      ),
    );
  const dropped = names.filter((name) => !isKept(name));
  await inLanes(dropped, policy.lanesPerNode, (name) => send(dropAside(name, method)));
  const done = { kept: kept.length, dropped: dropped.length };
  if (method === 'restore-replica') await unmountAll(node);
  // A node of which nothing was changed has none.
  if (!(await hasLedger(node))) return done;
  const finished = await readLedger(node, 'finished');
  if (!finished.some((row) => row.recovery === run.recovery))
    await writeLedger(node, run, 'finished', `kept ${kept.length}, dropped ${dropped.length}`);
  return done;
}
