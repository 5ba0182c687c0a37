/** Tables of many kinds, filled and registered in ZooKeeper. Every shard has rows of its own. */
import { ClickHouseLogLevel, createClient, type ClickHouseClient } from '@clickhouse/client';

type Run = (sql: string) => Promise<void>;

const ident = (name: string) => `\`${name.replace(/[\\`]/g, '\\$&')}\``;

/** Fills a plain MergeTree table and converts it: an embedded node's replicas never become active, so they refuse inserts. */
async function replicated(run: Run, table: string): Promise<void> {
  await run(`DETACH TABLE ${table} SYNC`);
  await run(`ATTACH TABLE ${table} AS REPLICATED`);
  await run(`SYSTEM RESTORE REPLICA ${table}`);
}

async function table(run: Run, name: string, columns: string, engine: string, inserts: string[]): Promise<void> {
  await run(`CREATE TABLE ${name} (${columns}) ENGINE = ${engine}`);
  await run(`SYSTEM STOP MERGES ${name}`);
  await run(`SYSTEM STOP TTL MERGES ${name}`);
  for (const select of inserts) await run(`INSERT INTO ${name} ${select}`);
}

const times = (count: number, make: (i: number) => string) => Array.from({ length: count }, (_, i) => make(i));

async function small(run: Run, seed: number): Promise<void> {
  await run('CREATE DATABASE shop ENGINE = Atomic');
  const tables = {
    'shop.orders': [
      'id UInt64, at DateTime, amount Decimal(12, 2)',
      'ReplacingMergeTree(at) PARTITION BY toYYYYMM(at) ORDER BY id',
      times(
        4,
        (i) =>
          `SELECT number + ${i * 250}, toDateTime('2026-01-15 00:00:00') + number * 20000, number * 1.5 + ${seed} FROM numbers(500)`,
      ),
    ],
    'shop.parts': [
      'id UInt64, text String',
      'MergeTree ORDER BY id',
      times(30, (i) => `SELECT number + ${i * 100}, toString(number * ${seed + 1}) FROM numbers(100)`),
    ],
    'shop.twins': ['id UInt64', 'MergeTree ORDER BY id', times(3, () => `SELECT ${seed} FROM numbers(10)`)],
    [`shop.${ident(`it's "odd"-\`t\`.x`)}`]: [
      'id UInt64, at DateTime',
      'MergeTree PARTITION BY id % 3 ORDER BY id TTL at + INTERVAL 1 DAY',
      [`SELECT number * ${seed}, toDateTime('2020-01-01 00:00:00') FROM numbers(300)`],
    ],
  } as const;
  for (const [name, [columns, engine, inserts]] of Object.entries(tables))
    await table(run, name, columns, engine, [...inserts]);
  await run(
    'CREATE MATERIALIZED VIEW shop.totals (k UInt64, n AggregateFunction(count)) ENGINE = AggregatingMergeTree ORDER BY k AS SELECT id % 10 AS k, countState() AS n FROM shop.parts GROUP BY k',
  );
  await run(`INSERT INTO shop.parts SELECT number + 100000, 'late' FROM numbers(${50 * seed})`);
  await run('CREATE VIEW shop.recent AS SELECT id, amount FROM shop.orders WHERE id > 100');
  await run('CREATE TABLE shop.notes (n UInt64) ENGINE = Log');
  await run(`INSERT INTO shop.notes SELECT number * ${seed} FROM numbers(9)`);
  await table(run, 'shop.local', 'n UInt64', 'MergeTree ORDER BY n', [`SELECT number * ${seed} FROM numbers(100)`]);
  for (const name of Object.keys(tables)) await replicated(run, name);
}

async function demo(run: Run, seed: number): Promise<void> {
  for (const database of ['shop', 'metrics', 'odd-db.1'])
    await run(`CREATE DATABASE ${ident(database)} ENGINE = Atomic`);
  const month = (i: number, rows: number) =>
    `SELECT number + ${i * rows}, toDateTime('2026-0${(i % 6) + 1}-03 00:00:00') + number, number % 100 + ${seed} FROM numbers(${rows})`;
  const tables: Record<string, [string, string, string[]]> = {
    'shop.orders': [
      'id UInt64, at DateTime, amount UInt64',
      'MergeTree PARTITION BY toYYYYMM(at) ORDER BY (at, id)',
      times(12, (i) => month(i, 20_000)),
    ],
    'shop.customers': [
      'id UInt64, at DateTime, name UInt64',
      'ReplacingMergeTree(at) ORDER BY id',
      // The same ids in all parts: a merge, or a restore through INSERT, would lose rows.
      times(
        4,
        (i) =>
          `SELECT number, toDateTime('2026-01-03 00:00:00') + ${i}, number % 100 + ${seed + i} FROM numbers(10000)`,
      ),
    ],
    'shop.stock': [
      'id UInt64, delta Int64',
      'SummingMergeTree ORDER BY id',
      times(5, (i) => `SELECT number % 500, ${i} - ${seed} FROM numbers(5000)`),
    ],
    'shop.carts': [
      'id UInt64, sign Int8, version UInt8, items UInt32',
      'VersionedCollapsingMergeTree(sign, version) ORDER BY id',
      times(2, (i) => `SELECT number, ${i === 0 ? 1 : -1}, 1, number % 7 + ${seed} FROM numbers(3000)`),
    ],
    'shop.sessions': [
      'id UInt64, at DateTime',
      'MergeTree ORDER BY id TTL at + INTERVAL 1 DAY',
      times(2, (i) => `SELECT number * ${seed} + ${i * 10_000}, toDateTime('2020-01-01 00:00:00') FROM numbers(1000)`),
    ],
    'shop.twins': [
      'id UInt64, text String',
      'MergeTree ORDER BY id',
      times(4, () => `SELECT number * ${seed}, 'same' FROM numbers(100)`),
    ],
    'shop.empty': ['id UInt64', 'MergeTree ORDER BY id', []],
    'metrics.samples': [
      "host LowCardinality(String), at DateTime64(3), value Nullable(Float64), tags Map(String, String), list Array(UInt32), id UUID, price Decimal(18, 4), zone LowCardinality(Nullable(String)), gaps Array(Nullable(Int8)), level Enum8('low' = 1, 'high' = 2), pair Tuple(a UInt8, b FixedString(4)), INDEX at_idx at TYPE minmax, PROJECTION by_host (SELECT host, count() GROUP BY host)",
      'MergeTree PARTITION BY host ORDER BY at',
      times(
        3,
        (i) =>
          `SELECT 'host' || toString(number % 3), toDateTime64('2026-03-01 00:00:00.000', 3) + number + ${i}, if(number % 5 = 0, NULL, number / 3), map('k', toString(number)), [number, ${seed}], toUUID('00000000-0000-0000-0000-00000000000' || toString(number % 10)), number / 7, if(number % 3 = 0, NULL, 'z' || toString(number % 4)), [NULL, number % 100], if(number % 2 = 0, 'low', 'high'), (number % 256, 'abcd') FROM numbers(4000)`,
      ),
    ],
    'metrics.states': [
      'k UInt64, n AggregateFunction(uniq, UInt64), s SimpleAggregateFunction(sum, UInt64)',
      'AggregatingMergeTree ORDER BY k',
      times(
        3,
        (i) => `SELECT number % 50 AS k, uniqState(number + ${i}), sum(number * ${seed}) FROM numbers(5000) GROUP BY k`,
      ),
    ],
    'metrics.many_parts': [
      'id UInt64, v UInt64',
      'MergeTree ORDER BY id',
      times(220, (i) => `SELECT number + ${i * 50}, ${seed} FROM numbers(50)`),
    ],
    'metrics.hourly': [
      'at DateTime, n UInt64',
      'SummingMergeTree ORDER BY at',
      [
        `SELECT toStartOfHour(toDateTime('2026-01-01 00:00:00') + number * 60) AS at, count() * ${seed} FROM numbers(10000) GROUP BY at`,
      ],
    ],
    [`${ident('odd-db.1')}.${ident('back`tick "and" it’s.dot')}`]: [
      'id UInt64',
      'MergeTree PARTITION BY id % 4 ORDER BY id',
      [`SELECT number * ${seed} FROM numbers(1000)`],
    ],
    [`${ident('odd-db.1')}.${ident('Ünïcode-表 \\ slash')}`]: [
      'id UInt64',
      'MergeTree ORDER BY id',
      times(2, () => `SELECT number * ${seed} FROM numbers(10)`),
    ],
    [`${ident('odd-db.1')}.${ident("DROP TABLE x; --'")}`]: [
      'id UInt64',
      'MergeTree ORDER BY id',
      [`SELECT number * ${seed} FROM numbers(77)`],
    ],
  };
  for (const [name, [columns, engine, inserts]] of Object.entries(tables))
    await table(run, name, columns, engine, inserts);
  await run(
    'CREATE MATERIALIZED VIEW metrics.to_hourly TO metrics.hourly AS SELECT toStartOfHour(at) AS at, count() AS n FROM shop.orders GROUP BY at',
  );
  await run(
    'CREATE MATERIALIZED VIEW metrics.by_day (d Date, n AggregateFunction(count), total AggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree ORDER BY d AS SELECT toDate(at) AS d, countState() AS n, sumState(amount) AS total FROM shop.orders GROUP BY d',
  );
  for (const i of [3, 4, 5]) await run(`INSERT INTO shop.orders ${month(i, 1000)}`);
  await run('CREATE VIEW shop.big_orders AS SELECT * FROM shop.orders WHERE amount > 50');
  await run('CREATE TABLE shop.notes (n UInt64, t String) ENGINE = Log');
  await run(`INSERT INTO shop.notes SELECT number * ${seed}, 'note' FROM numbers(20)`);
  await table(run, 'shop.local', 'n UInt64', 'MergeTree ORDER BY n', [`SELECT number * ${seed} FROM numbers(1000)`]);
  for (const name of Object.keys(tables)) await replicated(run, name);
}

/**
 * Fills every node, side by side, each with rows of its own (its index is the seed). `small`: one database, nine objects;
 * `demo`: three databases, fifteen replicated tables, one with 220 parts. The nodes must be empty.
 */
export async function createDataset(
  nodes: readonly { name: string; url: string }[],
  size: 'small' | 'demo',
): Promise<void> {
  await Promise.all(
    nodes.map(async ({ name, url }, index) => {
      const client = createClient({ url, request_timeout: 120_000, log: { level: ClickHouseLogLevel.OFF } });
      const run: Run = async (sql) => {
        await client.command({ query: sql }).catch((cause: unknown) => {
          throw new Error(`${name} refuses: ${sql.slice(0, 200)}`, { cause });
        });
      };
      try {
        await (size === 'small' ? small : demo)(run, index + 1);
        await replicateInnerTables(client, run);
      } finally {
        await client.close();
      }
    }),
  );
}

async function replicateInnerTables(client: ClickHouseClient, run: Run): Promise<void> {
  const answer = await client.query({
    query: `SELECT database, name FROM system.tables WHERE startsWith(name, '.inner_id.') AND NOT startsWith(database, '_recovery')`,
    format: 'JSONEachRow',
  });
  for (const { database, name } of await answer.json<{ database: string; name: string }>())
    await replicated(run, `${ident(database)}.${ident(name)}`);
}
