import { RecoveryError } from '../domain/errors.js';
import { methodOf } from '../domain/inventory.js';
import { quoteTable } from '../domain/names.js';
import { canary, createCanary, dropAside, insertCanary } from '../domain/statements.js';
import type { ClusterPorts } from '../ports.js';
import { capabilitiesOf } from './capabilities.js';
import { ensureLedger } from './ledger.js';
import { pause, type StepContext } from './runtime.js';

const POLL_MS = 200;
/** Time for a row to get from one replica to another. Seconds. */
const DEADLINE_SECONDS = 120;

/**
 * Proves that a shard replicates: a row that is inserted on each replica is read on all of them, in a replicated table
 * in `_recovery`. No table of the user is written to.
 */
export async function proveReplication(
  cluster: ClusterPorts,
  run: { recovery: string },
  shard: string,
  context: StepContext,
): Promise<void> {
  const members = cluster.topology.nodes.filter((node) => node.shard === shard);
  if (members.length < 2) return;
  const name = canary(run.recovery);
  const nodes = members.map((ref) => ({ ref, node: cluster.node(ref.name) }));
  for (const { ref, node } of nodes) {
    await ensureLedger(node);
    await node.execute(createCanary(name, `/clickhouse/recovery/${run.recovery}/${shard}/canary`, ref.replica));
  }
  for (const [index, { node }] of nodes.entries()) await node.execute(insertCanary(name, index));
  const deadline = performance.now() + DEADLINE_SECONDS * 1000;
  for (const { ref, node } of nodes)
    for (;;) {
      const [row] = await node.query<{ found: string }>(`SELECT uniqExact(n) AS found FROM ${quoteTable(name)}`);
      if (Number(row?.found) === nodes.length) break;
      if (performance.now() > deadline)
        throw new RecoveryError(
          'VALIDATION_FAILED',
          `shard ${shard}: ${ref.name} has ${row?.found} of ${nodes.length} canary rows after ${DEADLINE_SECONDS} s: it does not replicate`,
          { objects: [ref.name] },
        );
      await pause(POLL_MS, context.signal);
      context.assertFresh();
    }
  for (const { node } of nodes) await node.execute(dropAside(name.table, methodOf(await capabilitiesOf(node))));
}
