/**
 * Tables of many kinds on servers that replicate, in statements that 18.16 and current versions take. Every shard has
 * rows of its own; each insert goes to one replica, in turn, and is waited for on the others.
 */
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import type { TestNode } from './test-cluster.js';

export interface LiveDatasetOptions {
  /** A cluster of `remote_servers`, for the Distributed table. */
  clusterName: string;
  /** Above every table's own path. @default '/clickhouse/tables/{shard}' */
  keeperPrefix?: string;
  /** `small`: three tables, nothing but them. @default 'full' */
  size?: 'small' | 'full';
}

const SMALL = ['shop.orders', 'shop.customers', 'shop.states'];
const tablesOf = ({ size }: LiveDatasetOptions) =>
  size === 'small' ? TABLES.filter(({ name }) => SMALL.includes(name)) : TABLES;

interface LiveTable {
  /** Quoted. */
  readonly name: string;
  /** Last steps of its Keeper path. */
  readonly path: string;
  readonly columns: string;
  /** Without `Replicated`. */
  readonly engine: string;
  /** Further arguments of the engine, such as a version column. */
  readonly engineArguments?: string;
  /** From PARTITION BY on. */
  readonly layout: string;
  /** A merge would change its rows, or its parts are what is tested: none may happen, also after a restart. */
  readonly unmergeable: boolean;
  /** One select an insert, of the shard's number from 1. */
  readonly inserts: (seed: number) => string[];
}

const ident = (name: string) => `\`${name.replace(/[\\`]/g, '\\$&')}\``;
const times = (count: number, make: (i: number) => string) => Array.from({ length: count }, (_, i) => make(i));

/** `SYSTEM STOP MERGES` is forgotten at a restart; no part is this small. */
const UNMERGEABLE =
  ' SETTINGS max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1';

const ODD = ident('odd-db.1');
export const LIVE_DATABASES = ['shop', 'odd-db.1'] as const;

const TABLES: readonly LiveTable[] = [
  {
    name: 'shop.orders',
    path: 'shop/orders',
    columns: 'id UInt64, at DateTime, amount Decimal(12, 2)',
    engine: 'MergeTree',
    layout: 'PARTITION BY toYYYYMM(at) ORDER BY (at, id)',
    unmergeable: false,
    inserts: (seed) =>
      times(
        4,
        (i) =>
          `SELECT number + ${i * 500}, toDateTime('2026-01-15 00:00:00') + number * 20000, toDecimal64(number + ${seed}, 2) FROM numbers(500)`,
      ),
  },
  {
    name: 'shop.customers',
    path: 'shop/customers',
    columns: 'id UInt64, at DateTime, name String',
    engine: 'ReplacingMergeTree',
    engineArguments: 'at',
    layout: 'ORDER BY id',
    unmergeable: true,
    // The same ids in all parts: a merge would lose rows.
    inserts: (seed) =>
      times(
        3,
        (i) =>
          `SELECT number, toDateTime('2026-01-03 00:00:00') + ${i}, concat('n', toString(number + ${seed})) FROM numbers(400)`,
      ),
  },
  {
    name: 'shop.stock',
    path: 'shop/stock',
    columns: 'id UInt64, delta Int64',
    engine: 'SummingMergeTree',
    layout: 'ORDER BY id',
    unmergeable: true,
    inserts: (seed) => times(3, (i) => `SELECT number, toInt64(${i} - ${seed}) FROM numbers(200)`),
  },
  {
    name: 'shop.states',
    path: 'shop/states',
    columns: 'k UInt64, u AggregateFunction(uniq, UInt64), s AggregateFunction(sum, UInt64)',
    engine: 'AggregatingMergeTree',
    layout: 'PARTITION BY k % 2 ORDER BY k',
    unmergeable: true,
    inserts: (seed) =>
      times(
        3,
        (i) =>
          `SELECT number % 50 AS k, uniqState(number + ${i}), sumState(number * ${seed}) FROM numbers(500) GROUP BY k`,
      ),
  },
  {
    name: 'shop.carts',
    path: 'shop/carts',
    columns: 'id UInt64, sign Int8, items UInt32',
    engine: 'CollapsingMergeTree',
    engineArguments: 'sign',
    layout: 'ORDER BY id',
    unmergeable: true,
    inserts: (seed) =>
      times(2, (i) => `SELECT number, toInt8(${i === 0 ? 1 : -1}), toUInt32(number % 7 + ${seed}) FROM numbers(300)`),
  },
  {
    name: `shop.${ident('many parts')}`,
    path: 'shop/many_parts',
    columns: 'id UInt64, v UInt64',
    engine: 'MergeTree',
    layout: 'ORDER BY id',
    unmergeable: true,
    inserts: (seed) => times(64, (i) => `SELECT number + ${i * 20}, toUInt64(${seed}) FROM numbers(20)`),
  },
  {
    name: `${ODD}.${ident('tw`ins "and" it’s.dot')}`,
    path: 'odd/twins',
    columns: 'id UInt64, text String',
    engine: 'MergeTree',
    layout: 'ORDER BY id',
    unmergeable: true,
    inserts: (seed) => times(4, () => `SELECT number * ${seed}, 'same' FROM numbers(50)`),
  },
  {
    name: `${ODD}.${ident("Ünïcode-表 \\ '; DROP TABLE x; --")}`,
    path: 'odd/types',
    columns:
      "host String, at DateTime, value Nullable(Float64), list Array(UInt32), gaps Array(Nullable(Int8)), id UUID, price Decimal(18, 4), level Enum8('low' = 1, 'high' = 2), pair Tuple(UInt8, FixedString(4)), `awk.ward na\\`me` Nullable(String)",
    engine: 'MergeTree',
    layout: 'PARTITION BY host ORDER BY at',
    unmergeable: false,
    inserts: (seed) =>
      times(
        2,
        (i) =>
          `SELECT concat('host/ ', toString(number % 3)), toDateTime('2026-03-01 00:00:00') + number + ${i}, if(number % 5 = 0, NULL, number / 4), [toUInt32(number), toUInt32(${seed})], [NULL, toInt8(number % 100)], toUUID(concat('00000000-0000-0000-0000-00000000000', toString(number % 10))), toDecimal64(number, 4), if(number % 2 = 0, 'low', 'high'), (toUInt8(number % 256), toFixedString('abcd', 4)), if(number % 3 = 0, NULL, 'text') FROM numbers(300)`,
      ),
  },
  {
    name: 'shop.hourly',
    path: 'shop/hourly',
    columns: 'at DateTime, n UInt64',
    engine: 'SummingMergeTree',
    layout: 'ORDER BY at',
    unmergeable: true,
    // By its materialized view.
    inserts: () => [],
  },
];

/** Quoted names of the replicated tables, the materialized view's inner one not among them. */
export const LIVE_REPLICATED_TABLES: readonly string[] = TABLES.map(({ name }) => name);

class Runner {
  readonly #client;
  constructor(readonly node: TestNode) {
    this.#client = createClient({
      url: node.url,
      username: node.user ?? 'default',
      password: node.password ?? '',
      request_timeout: 120_000,
      log: { level: ClickHouseLogLevel.OFF },
    });
  }
  async run(sql: string): Promise<void> {
    // Inserts of the same rows are meant: without this setting the second is taken for a repetition of the first.
    const settings = sql.startsWith('INSERT') ? { insert_deduplicate: 0 as const } : {};
    await this.#client.command({ query: sql, clickhouse_settings: settings }).catch((cause: unknown) => {
      const because = cause instanceof Error ? cause.message.slice(0, 300) : String(cause);
      throw new Error(`${this.node.name} refuses: ${sql.slice(0, 200)}: ${because}`, { cause });
    });
  }
  async query<Row>(sql: string): Promise<Row[]> {
    return (await this.#client.query({ query: sql, format: 'JSONEachRow' })).json<Row>();
  }
  close = () => this.#client.close();
}

/** The nodes must not have the databases yet. Afterwards all replicas of a shard hold the same. */
export async function createLiveDataset(nodes: readonly TestNode[], options: LiveDatasetOptions): Promise<void> {
  const runners = nodes.map((node) => new Runner(node));
  try {
    const shards = [...new Set(nodes.map(({ shard }) => shard))].sort();
    await Promise.all(
      shards.map((shard, index) =>
        fillShard(
          runners.filter(({ node }) => node.shard === shard),
          index + 1,
          options,
        ),
      ),
    );
  } finally {
    await Promise.all(runners.map((runner) => runner.close()));
  }
}

async function fillShard(replicas: Runner[], seed: number, options: LiveDatasetOptions): Promise<void> {
  // One after the other: the first replica creates the path, the others join it.
  for (const replica of replicas) await createTables(replica, options);
  for (const table of tablesOf(options)) {
    for (const [i, select] of table.inserts(seed).entries())
      await replicas[i % replicas.length]?.run(`INSERT INTO ${table.name} ${select}`);
  }
  await Promise.all(replicas.map(sync));
  if (options.size === 'small') return;
  for (const [i, replica] of replicas.entries()) {
    // What is not replicated differs from node to node.
    await replica.run(`INSERT INTO shop.local SELECT number * ${seed * 10 + i} FROM numbers(100)`);
    await replica.run(`INSERT INTO shop.notes SELECT number * ${seed * 10 + i}, 'note' FROM numbers(20)`);
  }
}

/** All of them, also the inner ones of materialized views, which are named by the server. */
async function sync(replica: Runner): Promise<void> {
  for (const { database, table } of await replica.query<{ database: string; table: string }>(
    'SELECT database, table FROM system.replicas',
  ))
    await replica.run(`SYSTEM SYNC REPLICA ${ident(database)}.${ident(table)}`);
}

async function createTables(replica: Runner, options: LiveDatasetOptions): Promise<void> {
  const { clusterName, keeperPrefix } = options;
  const prefix = keeperPrefix ?? '/clickhouse/tables/{shard}';
  const replicated = (engine: string, path: string, more?: string) =>
    `Replicated${engine}('${prefix}/${path}', '{replica}'${more === undefined ? '' : `, ${more}`})`;
  for (const database of LIVE_DATABASES) await replica.run(`CREATE DATABASE ${ident(database)}`);
  for (const table of tablesOf(options)) {
    const engine = replicated(table.engine, table.path, table.engineArguments);
    const settings = table.unmergeable ? UNMERGEABLE : '';
    await replica.run(`CREATE TABLE ${table.name} (${table.columns}) ENGINE = ${engine} ${table.layout}${settings}`);
  }
  if (options.size === 'small') return;
  await replica.run(
    'CREATE MATERIALIZED VIEW shop.to_hourly TO shop.hourly AS SELECT toStartOfHour(at) AS at, count() AS n FROM shop.orders GROUP BY at',
  );
  await replica.run(
    `CREATE MATERIALIZED VIEW shop.by_day ENGINE = ${replicated('AggregatingMergeTree', 'shop/by_day')} ORDER BY d${UNMERGEABLE} AS SELECT toDate(at) AS d, countState() AS n FROM shop.orders GROUP BY d`,
  );
  await replica.run('CREATE VIEW shop.recent AS SELECT id, amount FROM shop.orders WHERE id > 100');
  await replica.run(
    `CREATE TABLE shop.orders_all (id UInt64, at DateTime, amount Decimal(12, 2)) ENGINE = Distributed('${clusterName}', 'shop', 'orders', id)`,
  );
  await replica.run('CREATE TABLE shop.local (n UInt64) ENGINE = MergeTree ORDER BY n');
  await replica.run('CREATE TABLE shop.notes (n UInt64, t String) ENGINE = Log');
}
