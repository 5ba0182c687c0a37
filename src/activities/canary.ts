import { RecoveryError } from '../domain/errors.js';
import { methodOf } from '../domain/inventory.js';
import { quoteTable, tableKey, type TableName } from '../domain/names.js';
import type { NodeRef } from '../domain/topology.js';
import { canary, canaryPath, createCanary, dropAside, insertCanary } from '../domain/statements.js';
import { ServerError, type ClusterPorts } from '../ports.js';
import { capabilitiesOf } from './capabilities.js';
import { ensureLedger } from './ledger.js';
import * as queries from './queries.js';
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
): Promise<{ warnings: string[] }> {
  const members = cluster.topology.nodes.filter((node) => node.shard === shard);
  if (members.length < 2) return { warnings: await deafDistributed(cluster, members) };
  const name = canary(run.recovery);
  const nodes = members.map((ref) => ({ ref, node: cluster.node(ref.name) }));
  for (const { ref, node } of nodes) {
    await ensureLedger(node);
    await node.execute(createCanary(name, canaryPath(run.recovery, shard), ref.replica));
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
  return { warnings: await deafDistributed(cluster, members) };
}

/** Distributed tables that do not answer. A warning: what they read may be somebody else's, and was so before. */
async function deafDistributed(cluster: ClusterPorts, members: NodeRef[]): Promise<string[]> {
  const deaf: string[] = [];
  for (const { name } of members) {
    const node = cluster.node(name);
    for (const table of await node.query<TableName>(queries.DISTRIBUTED)) {
      try {
        await node.query(`SELECT 1 AS answer FROM ${quoteTable(table)} LIMIT 1`);
      } catch (error) {
        if (!(error instanceof ServerError || error instanceof RecoveryError)) throw error;
        deaf.push(
          `${tableKey(table)} on ${name}, a Distributed table, does not answer: ${error.message}`.slice(0, 300),
        );
      }
    }
  }
  return deaf;
}
