/**
 * The lower bound: the statements that the product sends, made by its own builders, sent by a bare script. As many at
 * once on each node, one connection each that is kept, and no look, no comparison, no record, no orchestration.
 */
import { ClickHouseLogLevel, createClient, type ClickHouseClient } from '@clickhouse/client';
import type { TableDefinition } from '../../src/domain/inventory.js';
import { cloneName, quoteTable } from '../../src/domain/names.js';
import * as sql from '../../src/domain/statements.js';
import type { TestNode } from '../../test/support/test-cluster.js';

export interface Bare {
  run(statement: string): Promise<void>;
  rows<Row>(query: string): Promise<Row[]>;
  close(): Promise<void>;
}

/** In milliseconds. A RESTORE of gigabytes is one statement. */
const REQUEST_TIMEOUT_MS = 1_800_000;

export function openBare({ url, user, password }: TestNode, lanes: number): Bare {
  const client: ClickHouseClient = createClient({
    url,
    username: user ?? 'default',
    password: password ?? '',
    database: 'system',
    max_open_connections: lanes,
    request_timeout: REQUEST_TIMEOUT_MS,
    // Servers close idle connections after 3 s.
    keep_alive: { enabled: true, idle_socket_ttl: 1_500 },
    log: { level: ClickHouseLogLevel.OFF },
  });
  return {
    run: async (query) => void (await client.command({ query })),
    rows: async <Row>(query: string) => (await client.query({ query, format: 'JSONEachRow' })).json<Row>(),
    close: () => client.close(),
  };
}

/** All items, so many at once. */
export async function inLanes<T>(items: readonly T[], lanes: number, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < items.length) await work(items[next++]!);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** `old`: 18.16 has no UUIDs. */
export function definitionsOn(node: Bare, old = false): Promise<TableDefinition[]> {
  const uuid = old ? `''` : 'toString(uuid)';
  return node.rows<TableDefinition>(
    `SELECT database, name AS table, ${uuid} AS uuid, engine, engine_full AS engineFull, partition_key AS partitionKey, sorting_key AS sortingKey, primary_key AS primaryKey, sampling_key AS samplingKey, create_table_query AS createQuery FROM system.tables WHERE engine LIKE 'Replicated%' ORDER BY database, name`,
  );
}

export interface BareOptions {
  lanes: number;
  /** @default true */
  clones?: boolean;
}

/** SYSTEM RESTORE REPLICA of all tables of all nodes, with what the product sends around it. */
export async function bareRestoreReplica(nodes: readonly TestNode[], options: BareOptions): Promise<void> {
  const { lanes, clones = true } = options;
  await Promise.all(
    nodes.map(async (node) => {
      const bare = openBare(node, lanes);
      try {
        const definitions = await definitionsOn(bare);
        await bare.run(sql.createRecoveryDatabase('restore-replica'));
        for (const statement of sql.fence('restore-replica')) await bare.run(statement);
        await inLanes(definitions, lanes, async (definition) => {
          const clone = cloneName('clone', definition);
          if (clones) {
            await bare.run(sql.cloneTable(definition));
            await bare.run(sql.completeClone('making', definition));
            await bare.rows(`CHECK TABLE ${quoteTable(clone)}`);
          }
          await bare.run(sql.restoreReplica(definition));
          if (clones) await bare.run(sql.setAside([{ from: clone.table, to: sql.asideName(clone.table, 'bare') }]));
        });
        for (const statement of sql.lift('restore-replica')) await bare.run(statement);
      } finally {
        await bare.close();
      }
    }),
  );
}
