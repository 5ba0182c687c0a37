/** The conversion of servers without SYSTEM RESTORE REPLICA by a bare script, side by side or as a runbook does it. */
import { setTimeout as delay } from 'node:timers/promises';
import { MAX_STATEMENTS } from '../../src/activities/unit.js';
import type { TableDefinition } from '../../src/domain/inventory.js';
import { cloneName, literal, quoteTable } from '../../src/domain/names.js';
import * as sql from '../../src/domain/statements.js';
import * as conversion from '../../src/domain/statements-conversion.js';
import type { ServerNode } from '../../test/support/server-cluster.js';
import { definitionsOn, inLanes, openBare, type Bare } from './bare.js';
import { PARTITION } from './servers-arena.js';

const MACROS = {};
/** How soon a script looks again. */
const LOOK_MS = 20;

interface Shard {
  replicas: { bare: Bare; lane: Lane }[];
  definitions: TableDefinition[];
}

type Lane = <T>(work: () => Promise<T>) => Promise<T>;

/** So many at once of one node, whichever table they are of. */
function lanesOf(count: number): Lane {
  let free = count;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
}

const partition = (statement: string) => statement.replace(sql.PARTITION_PLACEHOLDER, PARTITION);

async function clone(node: Bare, definition: TableDefinition): Promise<void> {
  await node.run(conversion.createTwin(cloneName('making', definition), definition));
  await node.run(partition(conversion.fill('making', definition, definition)));
  await node.run(sql.completeClone('making', definition));
  await node.run(`SELECT * FROM ${quoteTable(cloneName('clone', definition))} FORMAT Null`);
}

async function takeOut(node: Bare, definition: TableDefinition): Promise<void> {
  await node.run(conversion.detach(definition));
  await node.run(conversion.attachPlain(definition));
  await node.run(conversion.moveAside(definition));
  await node.run(conversion.createNext(definition, MACROS));
}

/** A replica that joins before the first one has worked off its own log never gets its parts (18.16.1). */
async function until(node: Bare, query: string): Promise<void> {
  while (Number((await node.rows<{ left: string }>(query))[0]?.left ?? 1) !== 0) await delay(LOOK_MS);
}

async function convert({ replicas }: Shard, definition: TableDefinition): Promise<void> {
  const next = cloneName('next', definition);
  const where = `database = ${literal(next.database)} AND table = ${literal(next.table)}`;
  const [first, ...others] = replicas;
  const parts = await first!.lane(async () => {
    const { bare } = first!;
    await clone(bare, definition);
    await takeOut(bare, definition);
    await bare.run(partition(conversion.fill('next', cloneName('clone', definition), definition)));
    await until(
      bare,
      `SELECT queue_size + greatest(0, toInt64(log_max_index) + 1 - toInt64(log_pointer)) AS left FROM system.replicas WHERE ${where}`,
    );
    const count = `SELECT toString(count()) AS parts FROM system.parts WHERE active AND rows > 0 AND ${where}`;
    return (await bare.rows<{ parts: string }>(count))[0]!.parts;
  });
  for (const { bare, lane } of others)
    await lane(async () => {
      await clone(bare, definition);
      await takeOut(bare, definition);
      await until(
        bare,
        `SELECT ${parts} - toInt64(count()) AS left FROM system.parts WHERE active AND rows > 0 AND ${where}`,
      );
    });
  for (const { bare, lane } of replicas) await lane(() => bare.run(conversion.promote(definition)));
}

export interface ConversionOptions {
  /** Null: one table after the other in the whole cluster, as somebody does who follows a runbook. */
  lanes: number | null;
  /** No table is begun after so many seconds. */
  giveUpAfterSeconds?: number;
}

/** Returns how many tables were not begun. */
export async function bareConversion(
  nodes: readonly ServerNode[],
  { lanes, giveUpAfterSeconds = Infinity }: ConversionOptions,
): Promise<number> {
  const giveUpAt = performance.now() + giveUpAfterSeconds * 1000;
  let left = 0;
  const shards = new Map<string, Shard>();
  for (const node of nodes) {
    // Tables wait for their queues most of the time: as many statements at once as the product sends are enough.
    const bare = openBare(node, Math.min(lanes ?? 1, MAX_STATEMENTS));
    const shard = shards.get(node.shard) ?? { replicas: [], definitions: await definitionsOn(bare, true) };
    shards.set(node.shard, shard);
    shard.replicas.push({ bare, lane: lanesOf(lanes ?? 1) });
    await bare.run(sql.createRecoveryDatabase('conversion'));
    for (const statement of sql.fence('conversion')) await bare.run(statement);
  }
  const work = [...shards.values()].flatMap((shard) => shard.definitions.map((definition) => ({ shard, definition })));
  await inLanes(work, lanes === null ? 1 : work.length, async ({ shard, definition }) => {
    if (performance.now() > giveUpAt) left++;
    else await convert(shard, definition);
  });
  for (const { replicas } of shards.values())
    for (const { bare } of replicas) {
      for (const statement of sql.lift('conversion')) await bare.run(statement);
      await bare.close();
    }
  return left;
}
