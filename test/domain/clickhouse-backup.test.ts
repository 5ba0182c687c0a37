import { describe, expect, it } from 'vitest';
import { restoreNames } from '../../src/domain/clickhouse-backup-names.js';
import { definitionOf, parseClickHouseBackup, toBackupContents } from '../../src/domain/clickhouse-backup.js';
import { cloneName } from '../../src/domain/names.js';

const head = (tables: { database: string; table: string }[], more: object = {}) =>
  JSON.stringify({
    backup_name: 'b1',
    disks: { default: '/var/lib/clickhouse' },
    version: '2.6.39',
    creation_date: '2026-11-24T11:48:54.803693114Z',
    clickhouse_version: '18.16.1',
    databases: [{ name: 'db', engine: 'Ordinary', query: 'CREATE DATABASE db ENGINE = Ordinary' }],
    tables,
    functions: [],
    data_format: '',
    ...more,
  });

const UUID = '7fd1c2a4-0d2e-4a3b-9a77-0a1b2c3d4e5f';
const t = {
  table: 't',
  database: 'db',
  uuid: UUID,
  parts: { default: [{ name: '202401_0_0_0' }, { name: '202402_1_5_1_9' }], cold: [{ name: '202401_1_1_0' }] },
  query: `CREATE TABLE db.t UUID '${UUID}' (\`d\` Date, \`k\` UInt64) ENGINE = ReplicatedMergeTree('/ch/{uuid}/{shard}', '{replica}') PARTITION BY toYYYYMM(d) ORDER BY (k, d) SETTINGS index_granularity = 8192`,
  size: { default: 700, cold: 300 },
  total_bytes: 1000,
  metadata_only: false,
  checksums: { '202401_0_0_0': 18166688002393207000 },
};
const log = {
  table: 'log',
  database: 'db',
  parts: null,
  query: 'CREATE TABLE db.log (a UInt32) ENGINE = TinyLog',
  size: null,
};
const view = {
  table: 'mv',
  database: 'db',
  parts: null,
  query: 'ATTACH MATERIALIZED VIEW db.mv TO db.dst ( a UInt32) AS SELECT a FROM db.t',
  size: null,
  mutations: null,
};

const parse = (tables: object[], headText = head(tables as { database: string; table: string }[])) =>
  parseClickHouseBackup(
    'b1',
    headText,
    tables.map((each) => JSON.stringify(each)),
  );

describe('the JSON of a backup', () => {
  it('becomes what the planner knows', () => {
    const mutations = [{ mutation_id: 'mutation_1.txt', command: 'DELETE WHERE k = 1' }];
    const manifest = parse(
      [{ ...t, mutations }, log, view],
      head([t, log, view], { functions: [{ name: 'f', create_query: 'CREATE FUNCTION f …' }], required_backup: 'b0' }),
    );
    expect(manifest).toMatchObject({ requiredBackup: 'b0', serverVersion: '18.16.1', functions: ['f'] });
    const contents = toBackupContents(manifest, {
      repository: 'cb',
      node: 'a',
      destination: "clickhouse-backup 'b1' on a",
    });
    expect(contents).toMatchObject({
      evidence: 'backup',
      repository: 'cb',
      name: 'b1',
      takenAt: '2026-11-24T11:48:54.803693114Z',
      databases: [{ name: 'db', engine: 'Ordinary' }],
      // It replays them itself.
      unfinishedMutations: [],
      keeperState: [
        { what: 'function', detail: 'f' },
        {
          what: 'unfinished mutation, replayed by clickhouse-backup',
          detail: 'db.t: mutation_1.txt: DELETE WHERE k = 1',
        },
      ],
    });
    const [table, plainLog, materialized] = contents.tables;
    expect(table).toMatchObject({
      uuid: UUID,
      engine: 'ReplicatedMergeTree',
      engineFull: t.query.slice(t.query.indexOf('ReplicatedMergeTree')),
      partitionKey: 'toYYYYMM(d)',
      sortingKey: 'k, d',
      primaryKey: 'k, d',
      parts: null,
      counted: { parts: 3, rows: null, bytes: null },
      partitionIds: ['202401', '202402'],
      source: { database: 'db', table: 't' },
    });
    expect(table).not.toHaveProperty('definitionOnly');
    expect(plainLog).toMatchObject({ engine: 'TinyLog', definitionOnly: true, partitionIds: [] });
    expect(plainLog).not.toHaveProperty('counted');
    expect(materialized).toMatchObject({ engine: 'MaterializedView', engineFull: '', parts: null });
    expect(materialized).not.toHaveProperty('definitionOnly');
  });

  it('says when there is only the definition', () => {
    const { parts: _, ...bare } = t;
    const contents = (table: object) =>
      toBackupContents(parse([table]), { repository: 'cb', node: 'a', destination: '' }).tables[0];
    expect(contents({ ...bare, metadata_only: true })).toMatchObject({ definitionOnly: true });
    expect(contents({ ...t, metadata_only: true })).toMatchObject({ definitionOnly: true });
    // An empty table, on the other hand, was saved whole.
    expect(contents({ ...t, parts: {}, size: {} })).toMatchObject({ counted: { parts: 0, bytes: 0 } });
  });

  it('gives no bytes where the restored ones would differ', () => {
    const counted = (more: object) =>
      toBackupContents(parse([{ ...t, ...more }]), { repository: 'cb', node: 'a', destination: '' }).tables[0]!.counted;
    expect(counted({})).toEqual({ parts: 3, rows: null, bytes: 1000 });
    expect(counted({ mutations: [{ mutation_id: '1', command: 'DELETE WHERE 1' }] })).toMatchObject({ bytes: null });
    expect(counted({ parts: { a: [{ name: 'all_0_0_0', required: true }] } })).toMatchObject({ parts: 1, bytes: null });
  });

  it('may have no tables', () => {
    expect(parse([], head([], { tables: null, databases: null }))).toMatchObject({ tables: [], databases: [] });
  });

  it.each<[string, object[], string?]>([
    ['no JSON', [t], '{'],
    ['nothing', [t], ''],
    ['another backup', [t], head([t], { backup_name: 'b2' })],
    ['a table that is not in the list', [t, log], head([t])],
    ['a table that has no JSON', [t], head([t, log])],
    ['a table twice', [t, t], head([t])],
    ['a part twice', [{ ...t, parts: { a: [{ name: 'all_0_0_0' }], b: [{ name: 'all_0_0_0' }] } }]],
    ['a part that is a path', [{ ...t, parts: { a: [{ name: '../all_0_0_0' }] } }]],
    ['a part without numbers', [{ ...t, parts: { a: [{ name: 'all' }] } }]],
    ['a negative size', [{ ...t, size: { a: -1 } }]],
    ['a size over 2^53', [{ ...t, size: { a: 2 ** 54 } }]],
    ['a UUID that is none', [{ ...t, uuid: 'x' }]],
    ['no query', [{ ...t, query: undefined }]],
    ['a date that is none', [t], head([t], { creation_date: 'yesterday' })],
  ])('%s is refused', (_, tables, headText) => {
    expect(() => parse(tables, headText ?? head(tables as { database: string; table: string }[]))).toThrow(
      expect.objectContaining({ code: 'MANIFEST_INVALID' }) as Error,
    );
  });
});

describe('a definition', () => {
  const definition = (query: string) =>
    definitionOf({ database: 'db', table: 't', uuid: UUID, query, bytes: null, mutations: [] });

  it.each([
    [
      "ReplicatedMergeTree('/ch/t', '{replica}', d, (k, v), 8192)",
      { partitionKey: 'toYYYYMM(d)', sortingKey: 'k, v', samplingKey: '' },
    ],
    ['MergeTree(d, h, (k, h), 8192)', { partitionKey: 'toYYYYMM(d)', sortingKey: 'k, h', samplingKey: 'h' }],
    ["ReplicatedSummingMergeTree('/ch/t', '{replica}', d, k, 8192, (n))", { sortingKey: 'k', samplingKey: '' }],
    ["ReplicatedMergeTree('/ch/t', '{replica}') ORDER BY tuple()", { partitionKey: '', sortingKey: '' }],
    [
      'MergeTree PARTITION BY (a, b) ORDER BY (a) SAMPLE BY a',
      { partitionKey: 'a, b', sortingKey: 'a', samplingKey: 'a' },
    ],
    ['MergeTree ORDER BY (a) + (b)', { sortingKey: '(a) + (b)' }],
    ['MergeTree PRIMARY KEY a ORDER BY (a, b)', { primaryKey: 'a', sortingKey: 'a, b' }],
  ])('%s', (engineFull, keys) => {
    expect(definition(`CREATE TABLE db.t (d Date, k UInt64) ENGINE = ${engineFull}`)).toMatchObject({
      engineFull,
      ...keys,
    });
  });

  it('is not misled by what stands in quotes, defaults and comments', () => {
    const query =
      "CREATE TABLE db.` ENGINE = x` (`a (` String DEFAULT ' ENGINE = Log', b UInt8 COMMENT ') COMMENT \\'') ENGINE = MergeTree ORDER BY b COMMENT 'a ENGINE = b'";
    expect(definition(query)).toMatchObject({
      engine: 'MergeTree',
      engineFull: 'MergeTree ORDER BY b',
      createQuery: query,
    });
  });

  it('of a file with line breaks is on one line, as system.tables gives it', () => {
    const query = "CREATE TABLE `db`.`t`\n(\n    `a` String DEFAULT 'x\ny'\n)\nENGINE = MergeTree\nORDER BY a\n";
    expect(definition(query)).toMatchObject({
      createQuery: "CREATE TABLE `db`.`t` ( `a` String DEFAULT 'x\ny' ) ENGINE = MergeTree ORDER BY a",
      sortingKey: 'a',
    });
  });

  it.each([
    ['CREATE VIEW db.v AS SELECT 1', 'View'],
    ['CREATE DICTIONARY db.d (a UInt8) PRIMARY KEY a', 'Dictionary'],
    ['CREATE TABLE db.r (a UInt8) AS remote(x)', ''],
  ])('%s', (query, engine) => {
    expect(definition(query)).toMatchObject({ engine, engineFull: '' });
  });
});

describe('the names of a restore', () => {
  const staging = cloneName('staging', { database: 'db', table: 't' }).table;
  const names = (database: string, table: string, all: [string, string][] = []) =>
    restoreNames(
      { database, table },
      staging,
      [[database, table] as [string, string], ...all].map(([d, n]) => ({ database: d, table: n })),
    );
  const refused = expect.objectContaining({ code: 'NOT_RECOVERABLE' }) as Error;

  it('map the table where clickhouse-backup can', () => {
    expect(names('db', 't')).toEqual({
      pattern: 'db.t',
      databaseMapping: 'db:_recovery',
      tableMapping: 't:staging db.t',
      target: { database: '_recovery', table: 'staging db.t' },
    });
  });

  it.each([
    ['x 1', 'db.x 1'],
    ['.inner.mv', 'db..inner.mv'],
    ['t[1]*', 'db.t?1??'],
    ['a,b', 'db.a?b'],
    ['a/b\\c', 'db.a?b?c'],
    [' a ', 'db.?a?'],
    ['co:lon', 'db.co:lon'],
    ['täté', 'db.täté'],
  ])('let %j keep its name', (table, pattern) => {
    expect(names('db', table)).toEqual({
      pattern,
      databaseMapping: 'db:_recovery',
      tableMapping: null,
      target: { database: '_recovery', table },
    });
  });

  it.each(['a b', 'a.b', 'a`b', 'a*', 'a(', 'dbé', 'a:b', ''])('refuse the database %j', (database) => {
    expect(() => names(database, 't')).toThrow(refused);
  });

  it('refuse a pattern that another table matches: its data would go into the live table', () => {
    expect(() => names('db', 't?', [['db', 'tx']])).toThrow(refused);
    // The same text, in another database.
    expect(() => names('db', 'x.t', [['db.x', 't']])).toThrow(refused);
    expect(() => names('db', 'a/b', [['db', 'a_b']])).toThrow(refused);
    expect(() => names('db', 't', [['db', 'T']])).not.toThrow();
  });
});
