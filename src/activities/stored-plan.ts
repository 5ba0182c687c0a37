import { inLanes } from '../domain/lanes.js';
import { RecoveryError } from '../domain/errors.js';
import type { Plan, PlanItem } from '../domain/plan.js';
import {
  headOf,
  isLarge,
  splitPlan,
  summaryOf,
  type PlanIndex,
  type PlanPiece,
  type PlanRef,
} from '../domain/stored-plan.js';
import type { Ports } from '../ports.js';

type Store = Pick<Ports, 'pieces' | 'sha256'>;

const WRITES_AT_ONCE = 8;

const folder = (hash: string) => `plans/${hash}`;
const indexName = (hash: string) => `${folder(hash)}/index.json`;
const pieceName = (hash: string, piece: number) => `${folder(hash)}/${piece}.json`;

/** Puts a plan that is too large for a history into the report store, index last, and returns what the history has of it. */
export async function withoutItems(ports: Store, plan: Plan): Promise<Plan> {
  if (!isLarge(plan, JSON.stringify(plan).length)) return plan;
  const { pieces, stored } = splitPlan(plan);
  const texts = pieces.map((piece) => JSON.stringify(piece));
  const index: PlanIndex = { version: 1, plan: headOf(plan), pieces: texts.map(ports.sha256) };
  const text = JSON.stringify(index);
  const name = indexName(plan.hash);
  // A cluster is inspected again once the lock is held: most often it is the same plan.
  if ((await ports.pieces.get(name)) !== text) {
    await inLanes([...texts.entries()], WRITES_AT_ONCE, ([piece, each]) =>
      ports.pieces.put(pieceName(plan.hash, piece), each),
    );
    await ports.pieces.put(name, text);
  }
  return summaryOf(plan, { ...stored, hash: plan.hash, index: ports.sha256(text) });
}

/** Throws PLAN_UNAVAILABLE, also where what is there is not what was approved. */
async function read(ports: Store, name: string, sha256: string): Promise<string> {
  const text = await ports.pieces.get(name);
  if (text === null) throw new RecoveryError('PLAN_UNAVAILABLE', `${name} is not in the report store`);
  if (ports.sha256(text) !== sha256)
    throw new RecoveryError('PLAN_UNAVAILABLE', `${name} in the report store is not what was approved`);
  return text;
}

/** The plans of the recoveries that a worker has at hand. */
const MAX_INDEXES = 4;
const indexes = new Map<string, PlanIndex>();

export async function readIndex(ports: Store, { hash, index }: PlanRef): Promise<PlanIndex> {
  const known = indexes.get(index);
  if (known) return known;
  const found = JSON.parse(await read(ports, indexName(hash), index)) as PlanIndex;
  for (const oldest of [...indexes.keys()].slice(0, Math.max(0, indexes.size - MAX_INDEXES + 1)))
    indexes.delete(oldest);
  indexes.set(index, found);
  return found;
}

export async function readPiece(ports: Store, ref: PlanRef, piece: number): Promise<PlanItem[]> {
  const { pieces } = await readIndex(ports, ref);
  const sha256 = pieces[piece];
  if (sha256 === undefined) throw new RecoveryError('INTERNAL', `the plan has no piece ${piece}`);
  return (JSON.parse(await read(ports, pieceName(ref.hash, piece), sha256)) as PlanPiece).items;
}
