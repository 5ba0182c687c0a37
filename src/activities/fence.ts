import { RecoveryError } from '../domain/errors.js';
import { tableKey } from '../domain/names.js';
import { methodOf, STREAMING_ENGINES } from '../domain/inventory.js';
import { attach, detachStreaming, fence, lift } from '../domain/statements.js';
import { ServerError, type ClickHouseNode } from '../ports.js';
import { capabilitiesOf } from './capabilities.js';
import { rememberFence } from './fence-proof.js';
import { ensureLedger, hasLedger, readLedger, recordBaseline, writeLedger } from './ledger.js';
import * as queries from './queries.js';
import { pause, type StepContext } from './runtime.js';

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
    `SELECT database, name AS table FROM system.tables WHERE has({engines:Array(String)}, engine) AND NOT startsWith(database, '_recovery')`,
    { params: { engines: [...STREAMING_ENGINES] } },
  );
  // First, so that `unfence` has something to lift after a crash in the middle.
  if (!mine(await readLedger(node, 'fenced'))) await writeLedger(node, run, 'fenced', '');
  for (const name of streaming) {
    await writeLedger(node, run, 'streaming', '', name);
    context.assertFresh();
    await node.execute(detachStreaming(name, method));
  }
  for (const statement of fence(method)) await node.execute(statement);
  await waitForMerges(node, context);
  const [about] = await node.query<{ boot: string }>(queries.NODE);
  rememberFence(node.ref, Number(about?.boot));
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
  // Background work first: it must not depend on what became of a streaming table.
  for (const statement of lift(methodOf(await capabilitiesOf(node)))) await node.execute(statement);
  const open = (await readLedger(node, 'streaming')).filter((row) => !lifted.some((done) => done.at >= row.at));
  const names = [...new Map(open.map((row) => [tableKey(row), { database: row.database, table: row.table }])).values()];
  const gone: string[] = [];
  const refused: string[] = [];
  for (const name of names) {
    const outcome = await attachAgain(node, name);
    if (outcome === 'gone') gone.push(tableKey(name));
    else if (outcome !== 'attached') refused.push(`${tableKey(name)}: ${outcome}`);
  }
  if (refused.length > 0)
    throw new RecoveryError(
      'STATEMENT_FAILED',
      `${node.ref.name}: merges and replication run again, but these tables could not be attached: ${refused.join('; ')}`.slice(
        0,
        500,
      ),
    );
  await writeLedger(node, { recovery: last.recovery, plan: '' }, 'unfenced', '');
  rememberFence(node.ref, -1);
  const attached = names.length - gone.length;
  return [
    'lifted',
    ...(attached > 0 ? [`${attached} streaming ${attached === 1 ? 'table' : 'tables'} attached`] : []),
    ...(gone.length > 0 ? [`not there any more: ${gone.join(', ')}`] : []),
  ].join(', ');
}

/** By us before a crash or by a person. */
const TABLE_ALREADY_EXISTS = 57;
/** UNKNOWN_TABLE, UNKNOWN_DATABASE, CANNOT_GET_CREATE_TABLE_QUERY: dropped meanwhile. */
const GONE = new Set([60, 81, 390]);

/** `attached`, `gone`, or the error of the server. */
async function attachAgain(node: ClickHouseNode, name: { database: string; table: string }): Promise<string> {
  try {
    await node.execute(attach(name));
    return 'attached';
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (error.code === TABLE_ALREADY_EXISTS) return 'attached';
    return GONE.has(error.code) ? 'gone' : error.message;
  }
}
