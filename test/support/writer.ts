/**
 * A writer that does not care what happens to the cluster: it inserts unique rows all the time and keeps account of
 * which were taken. Afterwards `judge` asks the nodes whether they kept their word.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { TestNode } from './test-cluster.js';

export interface WriterOptions {
  nodes: readonly TestNode[];
  /** Quoted, each with a column `id UInt64`; see `createWriterTables`. */
  tables: readonly string[];
  /** Between two inserts, in milliseconds. @default 20 */
  everyMs?: number;
  /** After which an insert counts as unknown, in milliseconds. @default 5_000 */
  timeoutMs?: number;
  /** A refused row is tried again later, so that inserts are seen to flow again. @default false */
  retry?: boolean;
}

export interface WriterEntry {
  readonly id: number;
  readonly table: string;
  /** Name of the node, and its shard: a row is looked for in that shard. */
  readonly node: string;
  readonly shard: string;
  /** Milliseconds since 1970, when the answer came. */
  readonly at: number;
}

export interface WriterLog {
  readonly acknowledged: readonly WriterEntry[];
  /** The server answered with an error. An id may also be among the acknowledged, if a retry was taken. */
  readonly refused: readonly (WriterEntry & { readonly error: string })[];
  /** No answer, or one that does not say: the row may be there or not. */
  readonly unknown: readonly (WriterEntry & { readonly error: string })[];
}

export interface Writer {
  /** What was written until now. */
  readonly log: WriterLog;
  /** Ends after the insert that is under way. */
  stop(): Promise<WriterLog>;
}

const account = (node: TestNode) => ({
  'X-ClickHouse-User': node.user ?? 'default',
  'X-ClickHouse-Key': node.password ?? '',
});

/** An answer of the server that is an error. */
class Refused extends Error {}

/** UNKNOWN_STATUS_OF_INSERT: ZooKeeper went away during the commit, and the row may be there or not. */
const STATUS_UNKNOWN = /^Code: 319\b/;

/** @throws Refused with the server's error; any other Error: nobody knows whether it ran */
async function send(node: TestNode, sql: string, timeoutMs: number): Promise<string> {
  const response = await fetch(node.url, {
    method: 'POST',
    body: sql,
    headers: account(node),
    signal: AbortSignal.timeout(timeoutMs),
  });
  const text = await response.text();
  if (!response.ok) throw STATUS_UNKNOWN.test(text) ? new Error(text.slice(0, 500)) : new Refused(text.slice(0, 500));
  return text;
}

/**
 * Creates `count` tables for a writer on all nodes, in a database of their own, so that what the oracle compares stays
 * as it is; gives their quoted names.
 */
export async function createWriterTables(nodes: readonly TestNode[], count = 1): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => `live.events${i + 1}`);
  for (const node of nodes) {
    await send(node, 'CREATE DATABASE IF NOT EXISTS live', 30_000);
    for (const name of names)
      await send(
        node,
        `CREATE TABLE ${name} (id UInt64) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/${name}', '{replica}') ORDER BY id`,
        30_000,
      );
  }
  return names;
}

/** Starts at once. An id is used for one row of one table and one node. */
export function startWriter({ nodes, tables, everyMs = 20, timeoutMs = 5_000, retry = false }: WriterOptions): Writer {
  const log = {
    acknowledged: [] as WriterEntry[],
    refused: [] as WriterLog['refused'][number][],
    unknown: [] as WriterLog['unknown'][number][],
  };
  const again: { id: number; table: string; node: TestNode }[] = [];
  let stopped = false;
  let next = 0;

  async function insert(row: { id: number; table: string; node: TestNode }): Promise<void> {
    const { id, table, node } = row;
    const entry = () => ({ id, table, node: node.name, shard: node.shard, at: Date.now() });
    try {
      await send(node, `INSERT INTO ${table} (id) VALUES (${id})`, timeoutMs);
      log.acknowledged.push(entry());
    } catch (cause) {
      const error = cause instanceof Error ? cause.message : String(cause);
      if (!(cause instanceof Refused)) {
        log.unknown.push({ ...entry(), error });
        return;
      }
      log.refused.push({ ...entry(), error });
      if (retry) again.push(row);
    }
  }

  async function run(): Promise<void> {
    while (!stopped) {
      const id = ++next;
      // Each table through each node in turn, whatever their numbers have in common.
      const node = nodes[id % nodes.length]!;
      const table = tables[Math.floor(id / nodes.length) % tables.length]!;
      await insert({ id, table, node });
      const refused = again.shift();
      if (refused) await insert(refused);
      await delay(everyMs);
    }
  }

  const running = run();
  return {
    log,
    stop: async () => {
      stopped = true;
      await running;
      return log;
    },
  };
}

export interface JudgeOptions {
  nodes: readonly TestNode[];
  log: WriterLog;
  /** Rows acknowledged in this time, in milliseconds since 1970, are allowed to be lost: what was written after the backup. */
  mayBeLost?: { readonly from: number; readonly to: number };
}

/**
 * Asks every node for the rows of its shard. Gives what is wrong, for people: an acknowledged row that is missing or
 * there twice, a refused one that is there, one that nobody wrote. Empty: nothing. Wait for the replicas to be in sync
 * before. @throws Error when a node does not answer
 */
export async function judge({ nodes, log, mayBeLost }: JudgeOptions): Promise<string[]> {
  const findings: string[] = [];
  const entries = [...log.acknowledged, ...log.refused, ...log.unknown];
  const tables = [...new Set(entries.map(({ table }) => table))];
  for (const node of nodes) {
    for (const table of tables) {
      const isHere = (entry: WriterEntry) => entry.shard === node.shard && entry.table === table;
      const text = await send(node, `SELECT id, count() FROM ${table} GROUP BY id ORDER BY id FORMAT TSV`, 60_000);
      const lines = text.split('\n').filter((line) => line !== '');
      const found = new Map(lines.map((line) => line.split('\t').map(Number) as [number, number]));
      findings.push(...compare(log, found, isHere, mayBeLost).map((finding) => `${node.name} ${table}: ${finding}`));
    }
  }
  return findings;
}

function compare(
  log: WriterLog,
  found: ReadonlyMap<number, number>,
  isHere: (entry: WriterEntry) => boolean,
  mayBeLost: JudgeOptions['mayBeLost'],
): string[] {
  const findings: string[] = [];
  const acknowledged = log.acknowledged.filter(isHere);
  for (const { id, at } of acknowledged) {
    const forgiven = mayBeLost !== undefined && at >= mayBeLost.from && at <= mayBeLost.to;
    if (!found.has(id) && !forgiven) findings.push(`row ${id} was acknowledged and is missing`);
  }
  for (const [id, count] of found) if (count > 1) findings.push(`row ${id} is there ${count} times`);
  const taken = new Set(acknowledged.map(({ id }) => id));
  const perhaps = new Set(log.unknown.filter(isHere).map(({ id }) => id));
  const refused = new Set(log.refused.filter(isHere).map(({ id }) => id));
  for (const id of found.keys()) {
    if (taken.has(id) || perhaps.has(id)) continue;
    findings.push(refused.has(id) ? `row ${id} was refused and is there` : `row ${id} was never written here`);
  }
  return findings;
}
