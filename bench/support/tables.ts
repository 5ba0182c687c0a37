/** Tables as a recovery finds them once ZooKeeper has lost its metadata: parts on the disk, read-only, no path. */
import { quote } from '../../src/domain/names.js';
import type { TestNode } from '../../test/support/test-cluster.js';
import { inLanes, openBare, type Bare } from './bare.js';

export const DATABASE = 'bench';
const ROWS_IN_PART = 1_000;

export interface TablesOptions {
  tables: number;
  /** Of each table. @default 2 */
  parts?: number;
}

export interface Expected {
  tables: number;
  parts: number;
  rows: number;
}

export const expectedOf = ({ tables, parts = 2 }: TablesOptions): Expected => ({
  tables,
  parts: tables * parts,
  rows: tables * parts * ROWS_IN_PART,
});

export const tableName = (index: number) => `${quote(DATABASE)}.${quote(`t${String(index).padStart(5, '0')}`)}`;

const LANES = 4;

/** No part is this small. SYSTEM STOP MERGES does not hold for tables that are made later. */
export const UNMERGEABLE = 'max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1';

/**
 * Each is a clone of one table, made replicated: what ZooKeeper would have to hold of it was never there, which to a
 * server is the same as having been lost.
 */
export async function fillEmbedded(nodes: readonly TestNode[], { tables, parts = 2 }: TablesOptions): Promise<void> {
  await Promise.all(
    nodes.map(async (node) => {
      const bare = openBare(node, LANES);
      const seed = `${quote(DATABASE)}.seed`;
      await bare.run(`CREATE DATABASE ${quote(DATABASE)} ENGINE = Atomic`);
      await bare.run(
        `CREATE TABLE ${seed} (id UInt64, at DateTime, text String) ENGINE = MergeTree ORDER BY id SETTINGS ${UNMERGEABLE}`,
      );
      for (let part = 0; part < parts; part++)
        await bare.run(
          `INSERT INTO ${seed} SELECT number + ${part * ROWS_IN_PART}, toDateTime('2026-01-01 00:00:00') + number, toString(cityHash64(number)) FROM numbers(${ROWS_IN_PART})`,
        );
      await inLanes(
        Array.from({ length: tables }, (_, i) => tableName(i)),
        LANES,
        async (table) => {
          await bare.run(`CREATE TABLE ${table} CLONE AS ${seed}`);
          await bare.run(`DETACH TABLE ${table} SYNC`);
          await bare.run(`ATTACH TABLE ${table} AS REPLICATED`);
        },
      );
      await bare.run(`DROP TABLE ${seed} SYNC`);
      await bare.close();
    }),
  );
}

const FOUND = `SELECT uniqExact(p.table) AS tableCount, count() AS partCount, sum(p.rows) AS rowCount FROM system.parts AS p WHERE p.active AND p.rows > 0 AND p.database = '${DATABASE}'`;

type Counted = Record<'tableCount' | 'partCount' | 'rowCount', string>;

/** @throws Error where a node does not hold what was there before: a fast run that loses rows is worth nothing */
export async function mustHold(nodes: readonly TestNode[], expected: Expected): Promise<void> {
  for (const node of nodes) {
    const found = await withBare(node, async (bare) => (await bare.rows<Counted>(FOUND))[0]);
    const counts = [found?.tableCount, found?.partCount, found?.rowCount].map(Number);
    const wanted = [expected.tables, expected.parts, expected.rows];
    if (wanted.some((count, i) => counts[i] !== count))
      throw new Error(`${node.name} has ${counts.join(', ')} tables, parts and rows, not ${wanted.join(', ')}`);
  }
}

const COUNTED = `SELECT sumIf(value, event = 'Query') AS queries FROM system.events`;

/** Statements that the nodes have run since they started. */
export async function statementCount(nodes: readonly TestNode[]): Promise<number> {
  const counts = nodes.map((node) =>
    withBare(node, async (bare) => Number((await bare.rows<{ queries: string }>(COUNTED))[0]?.queries ?? 0)),
  );
  return (await Promise.all(counts)).reduce((sum, each) => sum + each, 0);
}

async function withBare<T>(node: TestNode, body: (bare: Bare) => Promise<T>): Promise<T> {
  const bare = openBare(node, 1);
  try {
    return await body(bare);
  } finally {
    await bare.close();
  }
}
