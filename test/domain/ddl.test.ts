import { describe, expect, it } from 'vitest';
import {
  columnsOf,
  commentOf,
  expandPath,
  parseEngine,
  parseReplicatedEngine,
  storageClauses,
} from '../../src/domain/ddl.js';
import type { TableDefinition } from '../../src/domain/inventory.js';

const SETTINGS = 'SETTINGS index_granularity = 8192';

function definition(head: string, engineFull: string, tail = ''): TableDefinition {
  return {
    ...{ database: 'db', table: 't', uuid: '3f2504e0-4f89-41d3-9a0c-0305e82c3301', engine: 'MergeTree', engineFull },
    ...{ partitionKey: '', sortingKey: '', primaryKey: '', samplingKey: '' },
    createQuery: `CREATE TABLE ${head} ENGINE = ${engineFull}${tail}`,
  };
}

describe('an engine clause', () => {
  it.each<[engineFull: string, name: string, args: string[], rest: string]>([
    ['MergeTree', 'MergeTree', [], ''],
    ['MergeTree()', 'MergeTree', [], ''],
    [`MergeTree ORDER BY a ${SETTINGS}`, 'MergeTree', [], ` ORDER BY a ${SETTINGS}`],
    ['MergeTree ORDER BY (a, b)', 'MergeTree', [], ' ORDER BY (a, b)'],
    ['ReplacingMergeTree(v) ORDER BY a', 'ReplacingMergeTree', ['v'], ' ORDER BY a'],
    ['SummingMergeTree((a, b)) ORDER BY c', 'SummingMergeTree', ['(a, b)'], ' ORDER BY c'],
    [
      "E('a,b', [1, 2], f(x, y), 'it\\'s)') ORDER BY c",
      'E',
      ["'a,b'", '[1, 2]', 'f(x, y)', "'it\\'s)'"],
      ' ORDER BY c',
    ],
    ['E(`a)(`, "b,\\"c") T', 'E', ['`a)(`', '"b,\\"c"'], ' T'],
    ["E('\\\\', 'x')", 'E', ["'\\\\'", "'x'"], ''],
  ])('%s', (engineFull, name, args, rest) => {
    expect(parseEngine(engineFull)).toEqual({ name, args, rest });
  });

  it.each(["E('open", 'E(a', 'E((a)', "E('a\\')"])('is refused when it is cut off: %s', (engineFull) => {
    expect(() => parseEngine(engineFull)).toThrow(expect.objectContaining({ code: 'NOT_RECOVERABLE' }) as Error);
  });
});

describe('a replicated engine', () => {
  it.each<[engineFull: string, plain: string, path: string, replica: string]>([
    [
      `ReplicatedMergeTree('/t/{uuid}/{shard}', '{replica}') ORDER BY a`,
      'MergeTree ORDER BY a',
      '/t/{uuid}/{shard}',
      '{replica}',
    ],
    [
      `ReplicatedReplacingMergeTree('/t', 'r', ver, is_deleted) ORDER BY a ${SETTINGS}`,
      `ReplacingMergeTree(ver, is_deleted) ORDER BY a ${SETTINGS}`,
      '/t',
      'r',
    ],
    [`ReplicatedSummingMergeTree('/t', 'r', (a, b)) ORDER BY c`, 'SummingMergeTree((a, b)) ORDER BY c', '/t', 'r'],
    [`ReplicatedMergeTree('/it\\'s, (a)', 'r\\\\1') ORDER BY a`, 'MergeTree ORDER BY a', "/it's, (a)", 'r\\1'],
    [
      `ReplicatedGraphiteMergeTree('/t', 'r', 'graphite, rollup') ORDER BY a`,
      "GraphiteMergeTree('graphite, rollup') ORDER BY a",
      '/t',
      'r',
    ],
  ])('%s', (engineFull, plain, pathTemplate, replicaTemplate) => {
    expect(parseReplicatedEngine(engineFull)).toEqual({ plain, pathTemplate, replicaTemplate });
  });

  it.each([
    'MergeTree ORDER BY a',
    'ReplicatedMergeTree ORDER BY a',
    "ReplicatedMergeTree('/t') ORDER BY a",
    'ReplicatedMergeTree(a, b)',
    '',
  ])('is refused where the path cannot be read: %s', (engineFull) => {
    expect(() => parseReplicatedEngine(engineFull)).toThrow(
      expect.objectContaining({ code: 'NOT_RECOVERABLE' }) as Error,
    );
  });
});

describe('storage clauses', () => {
  it('are taken apart as written', () => {
    expect(
      storageClauses(
        `ReplicatedMergeTree('/t', 'r') PARTITION BY toYYYYMM(d) PRIMARY KEY a ORDER BY (a, b) SAMPLE BY a TTL d + toIntervalDay(1) DELETE WHERE x = ' SETTINGS ', d + toIntervalWeek(1) TO VOLUME 'cold' SETTINGS storage_policy = 'p', index_granularity = 8192`,
      ),
    ).toEqual({
      'PARTITION BY': 'toYYYYMM(d)',
      'PRIMARY KEY': 'a',
      'ORDER BY': '(a, b)',
      'SAMPLE BY': 'a',
      TTL: "d + toIntervalDay(1) DELETE WHERE x = ' SETTINGS ', d + toIntervalWeek(1) TO VOLUME 'cold'",
      SETTINGS: "storage_policy = 'p', index_granularity = 8192",
    });
  });

  it.each<[row: string, engineFull: string, clauses: Record<string, string>]>([
    ['none', 'MergeTree', {}],
    ['keyword in a quoted name', 'MergeTree ORDER BY ` TTL x`', { 'ORDER BY': '` TTL x`' }],
    ['keyword in brackets', 'MergeTree ORDER BY (a, f( TTL ))', { 'ORDER BY': '(a, f( TTL ))' }],
    [
      'lower-case names are no keywords',
      'MergeTree ORDER BY settings SETTINGS a = 1',
      { 'ORDER BY': 'settings', SETTINGS: 'a = 1' },
    ],
    [
      'a partition key with brackets and text',
      "MergeTree PARTITION BY (a, ') ORDER BY z') ORDER BY b",
      { 'PARTITION BY': "(a, ') ORDER BY z')", 'ORDER BY': 'b' },
    ],
    [
      'tuple()',
      `MergeTree ORDER BY tuple() ${SETTINGS}`,
      { 'ORDER BY': 'tuple()', SETTINGS: 'index_granularity = 8192' },
    ],
  ])('%s', (_row, engineFull, clauses) => {
    expect(storageClauses(engineFull)).toEqual(clauses);
  });
});

describe('columns and comment of a CREATE TABLE', () => {
  const engine = `MergeTree ORDER BY a ${SETTINGS}`;
  const uuid = "UUID '3f2504e0-4f89-41d3-9a0c-0305e82c3301'";

  it.each<[row: string, head: string, columns: string]>([
    ['plain', 'db.t (`a` Int32)', '(`a` Int32)'],
    ['with UUID', `db.t ${uuid} (\`a\` Int32)`, '(`a` Int32)'],
    ['no database', 't (`a` Int32)', '(`a` Int32)'],
    ['quoted names with brackets, dots and quotes', `\`d.b(\`.\`t ' \\\` (x)\` ${uuid} (\`a\` Int32)`, '(`a` Int32)'],
    ['a name that looks like a clause', '`TABLE x`.` ENGINE = y` (`a` Int32)', '(`a` Int32)'],
    [
      'nested brackets',
      "db.t (`a` Array(Tuple(x Decimal(9, 2), y Enum8('(' = 1, ')' = 2))))",
      "(`a` Array(Tuple(x Decimal(9, 2), y Enum8('(' = 1, ')' = 2))))",
    ],
    [
      'an engine in a column comment',
      `db.t (\`a\` Int32 COMMENT 'x) ENGINE = ${engine}')`,
      `(\`a\` Int32 COMMENT 'x) ENGINE = ${engine}')`,
    ],
    [
      'an engine in a default',
      `db.t (\`a\` String DEFAULT ' ENGINE = ${engine}', \`(b\` Int32)`,
      `(\`a\` String DEFAULT ' ENGINE = ${engine}', \`(b\` Int32)`,
    ],
    [
      'projections, indices, constraints',
      'db.t (`a` Int32, INDEX i a TYPE minmax GRANULARITY 1, PROJECTION p (SELECT a ORDER BY a), CONSTRAINT c CHECK a > 0)',
      '(`a` Int32, INDEX i a TYPE minmax GRANULARITY 1, PROJECTION p (SELECT a ORDER BY a), CONSTRAINT c CHECK a > 0)',
    ],
  ])('%s', (_row, head, columns) => {
    expect(columnsOf(definition(head, engine))).toBe(columns);
    expect(columnsOf(definition(head, engine, " COMMENT 'it\\'s (a) table'"))).toBe(columns);
    expect(commentOf(definition(head, engine))).toBe('');
    expect(commentOf(definition(head, engine, " COMMENT 'it\\'s (a) table'"))).toBe(" COMMENT 'it\\'s (a) table'");
  });

  it.each(['was', 'was (x)'])('an engine in the comment of the table: %s', (text) => {
    const tail = ` COMMENT '${text} ENGINE = ${engine}'`;
    expect(columnsOf(definition('db.t (`a` Int32)', engine, tail))).toBe('(`a` Int32)');
    expect(commentOf(definition('db.t (`a` Int32)', engine, tail))).toBe(tail);
  });

  it.each(['db.t', 'db.t AS SELECT 1', ''])('are refused where there are none: %s', (head) => {
    expect(() => columnsOf(definition(head, engine))).toThrow(
      expect.objectContaining({ code: 'NOT_RECOVERABLE' }) as Error,
    );
  });

  it('are refused where the engine is not the one of the query', () => {
    expect(() => columnsOf({ ...definition('db.t (`a` Int32)', engine), engineFull: 'Log' })).toThrow(
      /definition of db\.t/,
    );
  });
});

describe('a ZooKeeper path', () => {
  const table = { database: 'db', table: 't', uuid: 'u-1' };
  it.each<[template: string, macros: Record<string, string>, expanded: string | null]>([
    ['/clickhouse/tables/{uuid}/{shard}', { shard: '01' }, '/clickhouse/tables/u-1/01'],
    ['/{database}/{table}/{shard}', { shard: '01' }, '/db/t/01'],
    ['/fixed', {}, '/fixed'],
    ['/{shard}', {}, null],
    ['/{constructor}/{__proto__}', {}, null],
    ['/{shard}-{shard}', { shard: '$&' }, '/$&-$&'],
    // src/Common/Macros.cpp: explicit macros come before the implicit ones, and values are expanded again
    ['/{shard}', { shard: '{layer}-01', layer: 'l1' }, '/l1-01'],
    ['/{shard}', { shard: '{layer}-01' }, null],
    ['/{database}', { database: 'own' }, '/own'],
  ])('%s with %j', (template, macros, expanded) => {
    expect(expandPath(template, macros, table)).toBe(expanded);
  });

  it('whose macro stands for itself ends', () => {
    expect(expandPath('/{a}', { a: '{a}' }, table)).toBeNull();
  });
});
