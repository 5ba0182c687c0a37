import { RecoveryError } from '../domain/errors.js';
import { tableKey } from '../domain/names.js';
import { methodOf } from '../domain/inventory.js';
import { attach, detachStreaming, fence, lift } from '../domain/statements.js';
import { ServerError, type ClickHouseNode } from '../ports.js';
import { capabilitiesOf } from './capabilities.js';
import { ensureLedger, hasLedger, readLedger, recordBaseline, writeLedger } from './ledger.js';
import * as queries from './queries.js';
import { pause, type StepContext } from './runtime.js';
import { rememberFence } from './unit.js';

/** Longest wait for merges that were running when the fence went up; STOP MERGES cancels them. Seconds. */
const DRAIN_SECONDS = 60;

/**
 * Raises the SQL fence on a node: records, then stops. Safe to repeat. What is detached is in the ledger before it is
 * detached, so that `unfence` finds it after any crash.
 */
export async function raiseFence(
  node: ClickHouseNode,
  run: { recovery: string; plan: string },
  context: StepContext,
): Promise<{ streamingTables: number }> {
  const method = methodOf(await capabilitiesOf(node));
  await ensureLedger(node);
  const mine = (rows: { recovery: string }[]) => rows.some((row) => row.recovery === run.recovery);
  if (!mine(await readLedger(node, 'begun'))) await writeLedger(node, run, 'begun', '');
  if (!mine(await readLedger(node, 'baseline'))) {
    await recordBaseline(node, run);
    await writeLedger(node, run, 'baseline', 'complete');
  }
  const streaming = await node.query<{ database: string; table: string }>(
    `SELECT database, name AS table FROM system.tables WHERE engine IN ('Kafka', 'RabbitMQ', 'NATS', 'S3Queue', 'AzureQueue', 'FileLog') AND NOT startsWith(database, '_recovery')`,
  );
  for (const name of streaming) {
    await writeLedger(node, run, 'streaming', '', name);
    context.assertFresh();
    await node.execute(detachStreaming(name, method));
  }
  if (!mine(await readLedger(node, 'fenced'))) await writeLedger(node, run, 'fenced', '');
  for (const statement of fence(method)) await node.execute(statement);
  await waitForMerges(node, context);
  const [about] = await node.query<{ boot: string }>(queries.NODE);
  rememberFence(node.ref.name, Number(about?.boot));
  return { streamingTables: streaming.length };
}

async function waitForMerges(node: ClickHouseNode, context: StepContext): Promise<void> {
  const deadline = performance.now() + DRAIN_SECONDS * 1000;
  for (;;) {
    const [row] = await node.query<{ merges: string }>(queries.MERGES_RUNNING);
    if (Number(row?.merges) === 0) return;
    if (performance.now() > deadline)
      throw new RecoveryError('FENCE_BYPASSED', `merges go on on ${node.ref.name} although they were stopped`, {
        objects: [node.ref.name],
      });
    await pause(500, context.signal);
  }
}

/**
 * Lifts the fence of a node: exactly what the ledger says was stopped is started again. Needs no workflow. Returns what
 * was done, for people.
 */
export async function liftFence(node: ClickHouseNode): Promise<string> {
  if (!(await hasLedger(node))) return 'was not fenced';
  const fenced = await readLedger(node, 'fenced');
  const lifted = await readLedger(node, 'unfenced');
  const last = fenced.at(-1);
  if (!last || lifted.some((row) => row.at >= last.at)) return 'was not fenced';
  const open = (await readLedger(node, 'streaming')).filter((row) => !lifted.some((done) => done.at >= row.at));
  const names = new Map(open.map((row) => [tableKey(row), { database: row.database, table: row.table }]));
  for (const name of names.values()) await attachAgain(node, name);
  for (const statement of lift(methodOf(await capabilitiesOf(node)))) await node.execute(statement);
  await writeLedger(node, { recovery: last.recovery, plan: '' }, 'unfenced', '');
  rememberFence(node.ref.name, -1);
  return names.size === 0 ? 'lifted' : `lifted, ${names.size} streaming tables attached`;
}

async function attachAgain(node: ClickHouseNode, name: { database: string; table: string }): Promise<void> {
  try {
    await node.execute(attach(name));
  } catch (error) {
    // 57: it is attached already, by us before a crash or by a person.
    if (!(error instanceof ServerError && error.code === 57)) throw error;
  }
}
