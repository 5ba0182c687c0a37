import type { Problem } from './errors.js';
import { isChanged, type Plan, type PlanItem } from './plan.js';
import { hasBeside } from './unit-work.js';

/**
 * Plans up to this size stand in the history of their run, with their SQL, as everything does that people may want to
 * read there. A payload of Temporal has 2 MiB, a history 50 MB, and an inspection is in it twice.
 */
const MAX_INLINE_UNITS = 200;
const MAX_INLINE_BYTES = 100 * 1024;

/** Tables that one activity brings to their end. */
export const BATCH_TABLES = 50;

const MAX_AT_ONCE = 6;
const MIN_AT_ONCE = 2;
const MAX_AT_ONCE_IN_ALL = 12;

/**
 * Batches under way at once in each of so many shards. Six have more tables than a worker takes at once of a shard by
 * default; one worker may have those of all shards, in its memory.
 */
export const batchesAtOnce = (shards: number) =>
  Math.min(MAX_AT_ONCE, Math.max(MIN_AT_ONCE, Math.floor(MAX_AT_ONCE_IN_ALL / shards)));

/** Of warnings, refusals and the like that a history has: the stored plan has all. */
const MAX_LINES = 20;

/** By what an activity finds a stored plan, and knows that it is the one that was approved. */
export interface PlanRef {
  hash: string;
  /** sha256 of the index, in which those of the pieces are. */
  index: string;
}

export interface StoredShard {
  shard: string;
  /** The number of its first batch; batches of tables come before those of objects. */
  first: number;
  tables: number;
  objects: number;
  /** Its live servers have work: there is replication to be proved. */
  isLive: boolean;
}

/** What a history has of a plan that is too large for it. */
export interface StoredPlan extends PlanRef {
  /** Units, on all nodes. */
  items: number;
  work: number;
  refused: number;
  refusal: Problem | null;
  situations: Record<string, number>;
  fromBackup: boolean;
  isBeside: boolean;
  shards: StoredShard[];
  /** Nodes to fence. */
  changed: string[];
  /** Nodes that lack a database. */
  databases: string[];
}

/** A piece of a stored plan: the items of some tables on all replicas of their shard. */
export interface PlanPiece {
  items: PlanItem[];
}

/** What stands in the index: the plan without its items, and where those are. */
export interface PlanIndex {
  version: 1;
  plan: Omit<Plan, 'items' | 'stored'>;
  /** sha256 of each piece, by its number. Those of batches come first, those without work last. */
  pieces: string[];
}

export interface SplitPlan {
  pieces: PlanPiece[];
  stored: Omit<StoredPlan, keyof PlanRef>;
}

/** Parts of a cold copy are placed by the agents of their hosts, whom no batch can call: such a plan is executed as it stands. */
export function isLarge(plan: Plan, bytes: number): boolean {
  if (plan.items.some((item) => item.place)) return false;
  return plan.items.length > MAX_INLINE_UNITS || bytes > MAX_INLINE_BYTES;
}

const isIdle = (items: PlanItem[]) => items.every((item) => item.action === 'none' || item.action === 'needs-operator');
const isObject = (items: PlanItem[]) => items.some((item) => item.action === 'create-object');

/** In order, shard by shard; all replicas of a table are in one piece. */
export function splitPlan(plan: Plan): SplitPlan {
  const shards = new Map<string, Map<string, PlanItem[]>>();
  for (const item of plan.items) {
    const tables = shards.get(item.node.shard) ?? new Map<string, PlanItem[]>();
    shards.set(item.node.shard, tables);
    const key = JSON.stringify([item.database, item.table]);
    const replicas = tables.get(key);
    if (replicas) replicas.push(item);
    else tables.set(key, [item]);
  }
  const pieces: PlanPiece[] = [];
  const add = (tables: PlanItem[][]): number => {
    const before = pieces.length;
    for (let from = 0; from < tables.length; from += BATCH_TABLES)
      pieces.push({ items: tables.slice(from, from + BATCH_TABLES).flat() });
    return pieces.length - before;
  };
  const idle: PlanItem[][] = [];
  const stored: StoredShard[] = [];
  for (const [shard, tables] of shards) {
    const all = [...tables.values()];
    idle.push(...all.filter(isIdle));
    const work = all.filter((items) => !isIdle(items));
    if (work.length === 0) continue;
    stored.push({
      shard,
      first: pieces.length,
      tables: add(work.filter((items) => !isObject(items))),
      objects: add(work.filter(isObject)),
      isLive: plan.nodes.some(({ node, embedded }) => node.shard === shard && !embedded),
    });
  }
  add(idle);
  return { pieces, stored: { ...countsOf(plan), shards: stored } };
}

function countsOf(plan: Plan): Omit<StoredPlan, keyof PlanRef | 'shards'> {
  const situations: Record<string, number> = {};
  const byNode = new Map<string, PlanItem[]>();
  for (const item of plan.items) {
    situations[item.situation] = (situations[item.situation] ?? 0) + 1;
    const items = byNode.get(item.node.name);
    if (items) items.push(item);
    else byNode.set(item.node.name, [item]);
  }
  const refused = plan.items.filter((item) => item.action === 'needs-operator');
  return {
    items: plan.items.length,
    work: plan.items.filter((item) => item.action !== 'none').length,
    refused: refused.length,
    refusal: refused.find((item) => item.problem)?.problem ?? null,
    situations,
    fromBackup: plan.items.some((item) => item.action === 'restore-from-backup'),
    isBeside: hasBeside(plan.nodes),
    changed: [...byNode].filter(([name, items]) => isChanged(name, items)).map(([name]) => name),
    databases: plan.nodes.filter(({ databases }) => databases.length > 0).map(({ node }) => node.name),
  };
}

function firstOf<T>(lines: readonly T[], more: (left: number) => T): T[] {
  return lines.length <= MAX_LINES ? [...lines] : [...lines.slice(0, MAX_LINES), more(lines.length - MAX_LINES)];
}

/** The plan as the history has it. */
export function summaryOf(plan: Plan, stored: StoredPlan): Plan {
  return {
    ...plan,
    nodes: plan.nodes.map((node) => ({ ...node, strategy: '', fence: [], databases: [], closing: [] })),
    items: [],
    keeperState: firstOf(plan.keeperState, (left) => ({
      ...{ what: 'and more', detail: `${left} lines, in the stored plan`, verdict: 'unrecoverable' },
    })),
    warnings: firstOf(plan.warnings, (left) => `${left} more warnings are in the stored plan`),
    refusals: plan.refusals.slice(0, MAX_LINES),
    stored,
  };
}

/** What the index has. */
export function headOf({ items: _items, stored: _stored, ...head }: Plan): PlanIndex['plan'] {
  return head;
}
