import { describe, expect, it } from 'vitest';
import { leftOutOf, type Inside } from '../../src/domain/drill-left-out.js';
import type { TableDefinition } from '../../src/domain/inventory.js';

const UUID = '11111111-1111-1111-1111-111111111111';

const INSIDE: Inside = {
  macros: { shard: '01', replica: 'r1', cluster: 'scratch' },
  clusters: new Map([
    ['scratch', []],
    ['prod', ['ch-a.prod:9000', 'ch-b.prod:9000']],
  ]),
  rootInProduction: null,
  productionPaths: ['/clickhouse/tables/01/orders', '/scratch-of-old/t'],
};

function object(table: string, createQuery: string, engine: string): TableDefinition {
  return {
    ...{ database: 'db', table, uuid: UUID, engine, engineFull: engine, createQuery },
    ...{ partitionKey: '', sortingKey: '', primaryKey: '', samplingKey: '' },
  };
}

function table(name: string, engineFull: string, columns = '(`n` UInt64)'): TableDefinition {
  const createQuery = `CREATE TABLE db.${name} UUID '${UUID}' ${columns} ENGINE = ${engineFull}`;
  return { ...object(name, createQuery, /^\w+/.exec(engineFull)?.[0] ?? ''), engineFull };
}

const dictionary = (name: string, source: string) =>
  object(
    name,
    `CREATE DICTIONARY db.${name} UUID '${UUID}' (\`id\` UInt64, \`HOST\` String) PRIMARY KEY id SOURCE(${source}) LIFETIME(MIN 0 MAX 300) LAYOUT(FLAT())`,
    'Dictionary',
  );
const view = (name: string, select: string) =>
  object(name, `CREATE VIEW db.${name} (\`n\` UInt64) AS ${select}`, 'View');
const materialized = (name: string, head: string, select: string) =>
  object(name, `CREATE MATERIALIZED VIEW db.${name} ${head} (\`n\` UInt64) AS ${select}`, 'MaterializedView');

const ORDERS = table('orders', 'MergeTree ORDER BY n');
const REPLICATED = (path: string) => table('r', `ReplicatedMergeTree('${path}', '{replica}') ORDER BY n`);

function left(tables: TableDefinition[], inside: Partial<Inside> = {}, engine = 'Atomic'): Record<string, string> {
  const databases = [{ name: 'db', engine }];
  return Object.fromEntries(
    leftOutOf({ tables, databases }, { ...INSIDE, ...inside }).map(({ table, why }) => [table, why]),
  );
}

type Case = [name: string, definition: TableDefinition, why: RegExp, inside?: Partial<Inside>];

describe('what a drill does not make in its target', () => {
  it.each<Case>([
    ...['Kafka', 'RabbitMQ', 'NATS', 'S3Queue', 'AzureQueue', 'FileLog'].map(
      (engine) =>
        [engine, table('t', `${engine}('x')`), new RegExp(`^the engine ${engine} consumes by itself`)] as Case,
    ),
    ...[
      ...['MySQL', 'PostgreSQL', 'MaterializedPostgreSQL', 'MongoDB', 'Redis', 'JDBC', 'ODBC', 'SQLite', 'YTsaurus'],
      ...['HDFS', 'S3', 'GCS', 'OSS', 'COSN', 'URL', 'AzureBlobStorage', 'IcebergS3', 'DeltaLake', 'Hudi', 'Remote'],
      ...['Executable', 'ExecutablePool', 'ExternalDistributed', 'QueryRunner', 'EngineOfTomorrow', 'WindowView'],
    ].map(
      (engine) => [engine, table('t', `${engine}('x')`), new RegExp(`^the engine ${engine} reaches outside`)] as Case,
    ),
    [
      'to production’s hosts',
      table('t', "Distributed('prod', 'db', 'orders')"),
      /^its cluster prod has ch-a\.prod:9000,/,
    ],
    ['to a cluster of nobody', table('t', "Distributed('other', 'db', 'orders')"), /know no cluster other$/],
    [
      'to a macro that is production',
      table('t', "Distributed('{cluster}', 'db', 'orders', rand())"),
      /^its cluster prod has/,
      { macros: { cluster: 'prod' } },
    ],
    ['another ZooKeeper', REPLICATED('aux:/clickhouse/{uuid}'), /^its path is in the ZooKeeper aux,/],
    [
      'another ZooKeeper by a macro',
      REPLICATED('{where}/clickhouse/{uuid}'),
      /ZooKeeper aux,/,
      { macros: { where: 'aux:' } },
    ],
    [
      'production’s path',
      REPLICATED('/clickhouse/tables/{shard}/orders'),
      /^its ZooKeeper path is that of production's \/clickhouse\/tables\/01\/orders/,
      { rootInProduction: '' },
    ],
    [
      'above one of production’s',
      REPLICATED('/t'),
      /production's \/scratch-of-old\/t/,
      { rootInProduction: '/scratch-of-old' },
    ],
    [
      'a disk of its own',
      table('t', "MergeTree ORDER BY n SETTINGS disk = disk(type = s3, endpoint = 'https://b/')"),
      /disk is defined in it/,
    ],
    [
      'a default',
      table('t', 'MergeTree ORDER BY n', "(`n` UInt64 DEFAULT (SELECT count() FROM url('http://h/', 'CSV')))"),
      /calls url\(\)/,
    ],
    ['a view of another server', view('v', "SELECT n FROM remote('ch-a.prod', db, orders)"), /calls remote\(\)/],
    ['in capitals, with spaces', view('v', "SELECT * FROM remoteSecure ('h', db.t)"), /calls remotesecure\(\)/],
    ['a bucket', view('v', "SELECT * FROM s3Cluster('prod', 'https://b/k')"), /calls s3cluster\(\)/],
    ['a lake', view('v', "SELECT * FROM icebergS3('https://b/k')"), /calls icebergs3\(\)/],
    ['a database', view('v', "SELECT * FROM mysql('h:3306', 'd', 't', 'u', '[HIDDEN]')"), /calls mysql\(\)/],
    ['production by its cluster', view('v', 'SELECT * FROM cluster(prod, db.orders)'), /^its cluster prod has/],
    ['a model', view('v', "SELECT aiGenerate('c', n) FROM db.orders"), /calls aigenerate\(\)/],
    ['a text that is run', view('v', "SELECT * FROM eval('SELECT 1')"), /calls eval\(\)/],
    [
      'that refreshes',
      materialized('m', 'REFRESH EVERY 1 HOUR TO db.orders', 'SELECT n FROM db.other'),
      /^it refreshes by itself/,
    ],
    ...[
      'MYSQL(PORT 3306)',
      'POSTGRESQL(PORT 1)',
      "HTTP(URL 'http://h')",
      'MONGODB(HOST h)',
      "EXECUTABLE(COMMAND 'c')",
      'REDIS(HOST h)',
    ].map(
      (source) =>
        [source, dictionary('d', source), new RegExp(`^its source ${/^\w+/.exec(source)?.[0]} is outside`)] as Case,
    ),
    [
      'production as a source',
      dictionary('d', "CLICKHOUSE(HOST 'ch-a' PORT 9000 TABLE 'orders' DB 'db')"),
      /^its source names a server/,
    ],
    [
      'the server beside',
      dictionary('d', "CLICKHOUSE(PORT 9000 TABLE 'orders' DB 'db')"),
      /^its source names a server/,
    ],
    [
      'a named collection',
      dictionary('d', "CLICKHOUSE(NAME prod TABLE 'orders')"),
      /^its source names a named collection/,
    ],
    [
      'a query',
      dictionary('d', "CLICKHOUSE(QUERY 'SELECT id FROM remote(\\'h\\', db.t)')"),
      /^its query calls remote\(\)/,
    ],
  ])('%s', (_name, definition, why, inside = {}) => {
    expect(left([definition], inside)).toEqual({ [definition.table]: expect.stringMatching(why) as string });
  });

  it.each<[name: string, definition: TableDefinition, inside?: Partial<Inside>]>([
    ['a table', ORDERS],
    [
      'its columns named like functions',
      table(
        't',
        'MergeTree ORDER BY url',
        '(`url` String, `s3` Array(UInt8), INDEX redis (url, s3) TYPE minmax, PROJECTION mysql (SELECT count()))',
      ),
    ],
    [
      'a table named like a function',
      object('redis', 'CREATE TABLE db.redis (`n` UInt64) ENGINE = MergeTree ORDER BY n', 'MergeTree'),
    ],
    [
      'a text that looks like a call',
      table('t', 'MergeTree ORDER BY n', "(`n` String DEFAULT 'remote(x)' COMMENT 'it\\'s url(y)')"),
    ],
    [
      'functions with such beginnings',
      view('v', "SELECT URLHash(domain(url)), cutURLParameter(url, 'x') FROM db.orders"),
    ],
    ['a default path', REPLICATED('/clickhouse/tables/{uuid}/{shard}'), { rootInProduction: '/scratch' }],
    ['production’s path in an ensemble of its own', REPLICATED('/clickhouse/tables/{shard}/orders')],
    ['the same path below a chroot', REPLICATED('/clickhouse/tables/{shard}/orders'), { rootInProduction: '/scratch' }],
    ['to the target’s own hosts', table('t', "Distributed('{cluster}', 'db', 'orders')")],
    ['a view by the target’s own hosts', view('v', "SELECT * FROM clusterAllReplicas('scratch', db.orders)")],
    ['a disk by its name', table('t', "MergeTree ORDER BY n SETTINGS disk = 's3', storage_policy = 'x'")],
    ['a dictionary of a table here', dictionary('d', "CLICKHOUSE(TABLE 'orders' DB 'db')")],
    ['a dictionary of a query here', dictionary('d', "CLICKHOUSE(QUERY 'SELECT id, HOST FROM db.orders')")],
    ['a materialized view', materialized('m', 'TO db.orders', 'SELECT REFRESH AS n, EVERY FROM db.other')],
    ...['Log', 'Memory', 'Join(ANY, LEFT, n)', 'Null', "Buffer('db', 'orders', 1)", "Merge('db', '^o')"].map(
      (engine) => [engine, table('t', engine)] as [string, TableDefinition],
    ),
  ])('is made: %s', (_name, definition, inside = {}) => {
    expect(left([definition], inside)).toEqual({});
  });

  it('what depends on it is left out too, and says on what; the rest is not', () => {
    const tables = [
      ORDERS,
      table('queue', "Kafka('b:9092', 't', 'g', 'CSV')"),
      materialized('taken', 'TO db.orders', 'SELECT n FROM db.queue'),
      view('of_view', 'SELECT n FROM db.`taken`'),
      dictionary('rates', "HTTP(URL 'http://rates/')"),
      table('priced', 'MergeTree ORDER BY n', "(`n` UInt64, `p` UInt64 DEFAULT dictGet('db.rates', 'p', n))"),
      table('short', 'MergeTree ORDER BY n', "(`n` UInt64, `p` UInt64 DEFAULT dictGetOrDefault('rates', 'p', n, 0))"),
      table('shown', 'Dictionary(`db.rates`)'),
      table('word', 'MergeTree ORDER BY n', "(`n` String DEFAULT 'rates')"),
      table('buffered', "Buffer('db', 'priced', 1)"),
      dictionary('of_queue', "CLICKHOUSE(DB 'db' TABLE 'queue')"),
      dictionary('of_query', "CLICKHOUSE(QUERY 'SELECT n FROM db.queue')"),
      materialized('sums', `TO INNER UUID '${UUID}'`, 'SELECT n FROM db.orders'),
      view('other', 'SELECT n FROM db.orders'),
    ];
    const found = left(tables);
    expect(found).toMatchObject({
      taken: 'it depends on db.queue, which is left out',
      of_view: 'it depends on db.taken, which is left out',
      priced: 'it depends on db.rates, which is left out',
      short: 'it depends on db.rates, which is left out',
      shown: 'it depends on db.rates, which is left out',
      buffered: 'it depends on db.priced, which is left out',
      of_queue: 'it depends on db.queue, which is left out',
      of_query: 'it depends on db.queue, which is left out',
    });
    expect(Object.keys(found)).toHaveLength(10);
  });

  it('a view whose inner table is', () => {
    const inner = table('`.inner_id.x`', `ReplicatedMergeTree('aux:/x', 'r') ORDER BY n`);
    const found = left([
      { ...inner, table: `.inner_id.${UUID}` },
      materialized('sums', `TO INNER UUID '22222222-1111-1111-1111-111111111111'`, 'SELECT n FROM db.orders'),
    ]);
    expect(found['sums']).toBe(`it depends on db..inner_id.${UUID}, which is left out`);
  });

  it('all of a database that is elsewhere', () => {
    expect(left([ORDERS], {}, 'MySQL')).toEqual({
      orders: expect.stringMatching(/^its database has the engine MySQL/) as string,
    });
  });

  it('says nothing that a definition holds as a secret', () => {
    const secret = table('t', "MySQL('h:1', 'd', 't', 'u', 'hunter2')");
    expect(JSON.stringify(left([secret, dictionary('d', "MYSQL(PASSWORD 'hunter2')")]))).not.toContain('hunter2');
  });
});
