import { RecoveryError } from '../domain/errors.js';
import { methodOf } from '../domain/inventory.js';
import type { TableName } from '../domain/names.js';
import { fence } from '../domain/statements.js';
import type { NodeRef } from '../domain/topology.js';
import type { ClickHouseNode } from '../ports.js';
import { capabilitiesOf } from './capabilities.js';
import { isFenced } from './ledger.js';
import { LIGHT, lookAt } from './looks.js';
import { queriesFor } from './queries.js';

/** How the fence stands, as the server says. Numbers are text. */
export interface FenceProof {
  merges: string;
  writers: string;
  /** When the server was started, in seconds. */
  boot: string;
}

/** For what is said of the server itself. */
const NAMELESS: TableName = { database: '', table: '' };

interface Asked {
  now: Promise<boolean>;
  /** Of whoever asks meanwhile. */
  next?: Promise<boolean>;
}

/** The server's start time by which this process knows that it has raised the fence there. A restart forgets SYSTEM STOP. */
const fencedBoots = new WeakMap<NodeRef, number>();

/** When the ledger last said that nobody lifted the fence: asked again after a second, not before each of many statements. */
const fenceSeenAt = new WeakMap<NodeRef, number>();
const FENCE_SEEN_MS = 1_000;
const askedForFence = new WeakMap<NodeRef, Asked>();

/** By the object, of which each configured node has one: two clusters may have nodes of the same name. */
export function rememberFence(node: NodeRef, boot: number): void {
  fencedBoots.set(node, boot);
}

/** A restart forgets SYSTEM STOP: a server that was started since we fenced it is fenced again. */
export async function keepFence(node: ClickHouseNode, table: TableName): Promise<FenceProof> {
  const { ref } = node;
  for (;;) {
    const proof = await proofOf(node, table);
    const boot = Number(proof.boot);
    const known = fencedBoots.get(ref);
    // now() and uptime() tick apart: a second or two is the same start.
    const isSameStart = known !== undefined && Math.abs(known - boot) <= 3;
    if (isSameStart && performance.now() - (fenceSeenAt.get(ref) ?? -Infinity) < FENCE_SEEN_MS) return proof;
    // What an operator lifted stays lifted: it would not be in the ledger, and nobody would lift it again.
    if (!(await isStillFenced(node)))
      throw new RecoveryError('FENCE_BYPASSED', `the fence of ${ref.name} was lifted while we are at work`, {
        objects: [ref.name],
      });
    fenceSeenAt.set(ref, performance.now());
    if (isSameStart) return proof;
    for (const statement of fence(methodOf(await capabilitiesOf(node)))) await node.execute(statement);
    fencedBoots.set(ref, boot);
  }
}

/** One look for all tables that ask at the same time, and one at this table where somebody merges or writes another. */
async function proofOf(node: ClickHouseNode, table: TableName): Promise<FenceProof> {
  const reads = queriesFor(await capabilitiesOf(node));
  const [quiet] = await lookAt<TableName & FenceProof>(node, reads.FENCE_QUIET, [NAMELESS], LIGHT);
  if (quiet && Number(quiet.merges) === 0 && Number(quiet.writers) === 0) return quiet;
  const [proof] = await node.query<FenceProof>(reads.FENCE_PROOF, {
    params: { database: table.database, table: table.table },
  });
  if (!proof) throw new RecoveryError('INTERNAL', `${node.ref.name} does not say how its fence stands`);
  return proof;
}

/** Tables that ask at the same time are answered together, by a question that begins after they asked. */
function isStillFenced(node: ClickHouseNode): Promise<boolean> {
  const ask = () => {
    const asked: Asked = { now: isFenced(node) };
    askedForFence.set(node.ref, asked);
    const end = () => {
      if (askedForFence.get(node.ref) === asked) askedForFence.delete(node.ref);
    };
    asked.now.then(end, end);
    return asked.now;
  };
  const under = askedForFence.get(node.ref);
  if (!under) return ask();
  under.next ??= under.now.then(ask, ask);
  return under.next;
}
