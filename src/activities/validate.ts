import { hasAll } from '../domain/attempt.js';
import { problem, type Problem } from '../domain/errors.js';
import { sameParts, type PartsDigest } from '../domain/inventory.js';
import { tableKey } from '../domain/names.js';
import type { PlanItem } from '../domain/plan.js';
import type { Ports } from '../ports.js';
import { pause, pollMs, type StepContext } from './runtime.js';
import { countRows } from './observe-node.js';
import { Unit, type Replication, type Seen } from './unit.js';

export interface Validation {
  rowsExpected: number | null;
  rowsFound: number | null;
  partsExpected: number | null;
  partsFound: number | null;
  detachedLeft: number;
  activation: string;
  problem?: Problem;
}

/** Looks at one finished table as if nothing were known of it: parts against the clone, ZooKeeper against the parts. */
export async function validateTable(
  ports: Ports,
  cluster: string,
  item: PlanItem,
  embedded: boolean,
  context: StepContext,
): Promise<Validation> {
  const unit = new Unit(ports, cluster, item, context);
  if (item.action === 'create-object') return validateObject(unit);
  const live = item.replicated && !embedded;
  // It holds until all is validated, also on a server that was restarted after the last statement for it.
  if (live && item.fetches !== 'live') await unit.keepFence();
  // Its last look is the one that counts: a table that is written to has something new to do at any later moment.
  const replication = live
    ? await drained(unit, ports.cluster(cluster).policy.statementDeadlineSeconds, context)
    : null;
  const seen = await unit.observe(embedded, { isAlone: true });
  const readonly = seen.next?.readonly ?? seen.table.readonly;
  // A later replica has what the first one has, whatever it held itself.
  const expected = item.expected ?? (item.fetches === null ? seen.clone : null);
  const found = seen.next?.parts ?? seen.table.parts;
  const result: Validation = {
    rowsExpected: expected?.rows ?? null,
    rowsFound: found.rows,
    partsExpected: expected?.parts ?? null,
    partsFound: found.parts,
    detachedLeft: await unit.detachedParts(),
    activation: !item.replicated
      ? 'not applicable'
      : embedded
        ? 'not applicable (embedded node)'
        : readonly
          ? 'read-only'
          : 'active',
  };
  const bad =
    wrongParts(item, seen, expected) ?? wrongReplica(item, seen, embedded) ?? (live ? inactive(replication) : null);
  return bad === null ? result : { ...result, ...fail(unit, bad) };
}

function wrongParts(item: PlanItem, seen: Seen, expected: PartsDigest | null): string | null {
  const found = seen.next?.parts ?? seen.table.parts;
  const state = seen.next ? 'replicated' : seen.table.state;
  if (state !== (item.replicated ? 'replicated' : 'plain')) return `it is ${state}`;
  // In its place already, by an attempt before this one: inserts go on, and merges with them.
  if (item.method === 'conversion' && item.replicated && !seen.next)
    return expected && found.rows < expected.rows ? `${found.rows} rows, expected ${expected.rows} or more` : null;
  if (expected && !holds(seen, expected, found))
    return `${found.rows} rows in ${found.parts} parts, expected ${expected.rows} rows in ${expected.parts} parts${expected.rows === found.rows ? ' (other hashes)' : ''}`;
  if (seen.clone && item.fetches === null && !holds(seen, seen.clone, found))
    return 'its parts are not those of its safety clone';
  return null;
}

/** Live servers merge what they hold when they are restarted; an embedded node that did is rebuilt from its clone. */
function holds(seen: Seen, expected: PartsDigest, found: PartsDigest): boolean {
  return seen.embedded ? sameParts(expected, found) : hasAll(found, seen.blocks, expected);
}

function wrongReplica(item: PlanItem, seen: Seen, embedded: boolean): string | null {
  if (!item.replicated) return null;
  if (!seen.keeper?.replicaPathExists) return 'its replica path is not in ZooKeeper';
  // Of a table that is written to, the two lists are never of the same moment.
  const isWritten = item.fetches === 'live' || (item.method === 'conversion' && !seen.next);
  if (seen.keeper.partsAgree !== true && !isWritten)
    return `ZooKeeper lists ${seen.keeperParts ?? 0} parts, other than those on the disk`;
  if (embedded) return null;
  const { readonly, sessionExpired } = seen.next ?? seen.table;
  return readonly ? 'it is still read-only' : sessionExpired ? 'its ZooKeeper session has expired' : null;
}

/** Waits until a live replica has nothing left to do, or for so long. Null: it is not replicated. */
async function drained(unit: Unit, deadlineSeconds: number, context: StepContext): Promise<Replication | null> {
  const startedAt = performance.now();
  for (let open = false; ; open = true) {
    const state = await unit.replication();
    const waitedMs = performance.now() - startedAt;
    if (!state || state.queue === 0 || waitedMs >= deadlineSeconds * 1000) return state;
    if (!open) await unit.openReplication();
    await pause(pollMs(waitedMs), context.signal);
    context.assertFresh();
  }
}

function inactive(state: Replication | null): string | null {
  if (!state) return 'it is not replicated';
  if (state.queue > 0) return `${state.queue} entries are left in its replication queue`;
  return state.active === state.total ? null : `${state.active} of its ${state.total} replicas are active`;
}

/** An object has to exist; a table that was restored as a whole has to have the rows of the backup. */
async function validateObject(unit: Unit): Promise<Validation> {
  const result: Validation = {
    rowsExpected: unit.item.expected?.rows ?? null,
    rowsFound: null,
    partsExpected: null,
    partsFound: null,
    detachedLeft: 0,
    activation: 'not applicable',
  };
  if ((await unit.definition()) === null) return { ...result, ...fail(unit, 'it does not exist') };
  if (!unit.has('rename-into-place')) return result;
  const rowsFound = await countRows(unit.node, unit.name);
  const expected = unit.item.expected;
  if (expected && expected.rows !== rowsFound)
    return { ...result, rowsFound, ...fail(unit, `${rowsFound} rows, expected ${expected.rows}`) };
  return { ...result, rowsFound };
}

function fail(unit: Unit, why: string): { problem: Problem } {
  return {
    problem: problem('VALIDATION_FAILED', `${tableKey(unit.name)} on ${unit.item.node.name}: ${why}`, {
      objects: [tableKey(unit.name)],
    }),
  };
}
