import { describe, expect, it } from 'vitest';
import {
  chooseCopies,
  contentsOfCopy,
  createQueryOf,
  fileNameOf,
  folderOf,
  inAttachOrder,
  isPartName,
  nameOfFile,
  refuseCopies,
  tableOfMetadata,
  toAttach,
  type CopyAnswer,
  type CopyContents,
} from '../../src/domain/cold-place.js';
import { carriesSecret } from '../../src/domain/ddl-secrets.js';
import { problem, type ErrorCode } from '../../src/domain/errors.js';

const node = (name: string, shard: string, replica = 'r1') => ({ name, shard, replica });
const whole = (host: string): CopyAnswer => ({ host, packed: `of ${host}`, problem: null });
const without = (host: string, code: ErrorCode): CopyAnswer => ({ host, packed: null, problem: problem(code, host) });

describe('which copy of a shard', () => {
  const nodes = [node('a', '01'), node('b', '01', 'r2'), node('c', '02')];
  it.each<[string, CopyAnswer[], string[] | string]>([
    ['the first replica’s, where it is whole', [whole('b'), whole('a'), whole('c')], ['a', 'c']],
    ['another’s, where an agent is away', [without('a', 'AGENT_UNAVAILABLE'), whole('b'), whole('c')], ['b', 'c']],
    ['another’s, where one is damaged', [without('a', 'COPY_DAMAGED'), whole('b'), whole('c')], ['b', 'c']],
    [
      'none: the agent that is away may have it',
      [without('a', 'COPY_UNKNOWN'), without('b', 'AGENT_UNAVAILABLE'), whole('c')],
      'AGENT_UNAVAILABLE b',
    ],
    [
      'none: both are damaged',
      [without('a', 'COPY_DAMAGED'), without('b', 'COPY_UNKNOWN'), whole('c')],
      'COPY_DAMAGED a',
    ],
    [
      'none: nobody was asked',
      [whole('a')],
      'AGENT_UNAVAILABLE no agent answers for c of C: on that host, run `ch-recover agent --node c`',
    ],
  ])('%s', (_, answers, expected) => {
    const choice = chooseCopies('C', nodes, answers);
    if ('problem' in choice) expect(`${choice.problem.code} ${choice.problem.message}`).toBe(expected);
    else expect(choice.chosen.map(({ host }) => host)).toEqual(expected);
  });
});

const contents = (change: Partial<CopyContents> = {}): CopyContents => ({
  ...{ host: 'a', cluster: 'C', generation: 'g1', takenAt: '2026-01-01T00:00:00.000Z', manifest: 'm' },
  ...{ macros: { shard: '01', replica: 'r1' }, databases: [{ name: 'shop', engine: 'Ordinary' }], tables: [] },
  ...change,
});

describe('copies that are not these shards’ own', () => {
  const nodes = [node('a', '01'), node('c', '02')];
  const other = (change: Partial<CopyContents>) =>
    contents({ host: 'c', macros: { shard: '02', replica: 'r1' }, ...change });
  it.each<[string, CopyContents[], string | null]>([
    ['of one moment', [contents(), other({})], null],
    ['of another cluster', [contents({ cluster: 'D' })], 'MANIFEST_MISMATCH'],
    ['of a host that is none of the nodes', [contents({ host: 'x' })], 'MANIFEST_MISMATCH'],
    ['of another shard', [contents({ macros: { shard: '02' } })], 'WRONG_MACROS'],
    ['of servers without macros', [contents({ macros: {} })], null],
    ['of two generations', [contents(), other({ manifest: 'n' })], 'MANIFEST_MISMATCH'],
  ])('%s', (_, found, code) => {
    expect(refuseCopies('C', nodes, found)?.code ?? null).toBe(code);
  });
});

it.each([
  ['orders', 'orders'],
  ['odd-db.1', 'odd%2Ddb%2E1'],
  ['a/../b', 'a%2F%2E%2E%2Fb'],
  ['..', '%2E%2E'],
  ["é`*~!'()", '%C3%A9%60%2A%7E%21%27%28%29'],
  ['_x9', '_x9'],
])('the file of %s is %s, and back', (name, file) => {
  expect(fileNameOf(name)).toBe(file);
  expect(nameOfFile(file)).toBe(name);
});

it.each(['%2e', 'a.b', 'a%', '%FF', 'a/b'])('no server names a file %s', (file) => {
  expect(nameOfFile(file)).toBeNull();
});

it.each<[string, string | null]>([
  ['metadata/shop/orders.sql', 'shop orders'],
  ['metadata/odd%2Ddb%2E1/%2Einner%2Ev.sql', 'odd-db.1 .inner.v'],
  ['metadata/shop.sql', null],
  ['metadata/shop/orders.sql.tmp', null],
  ['metadata/system/query_log.sql', null],
  ['metadata/_recovery/ledger.sql', null],
  ['data/shop/orders.sql', null],
  ['metadata/shop/orders/x.sql', null],
])('%s is of %s', (path, expected) => {
  const name = tableOfMetadata(path);
  expect(name && `${name.database} ${name.table}`).toBe(expected);
});

describe('definitions', () => {
  const name = { database: 'odd-db.1', table: 'or`ders' };
  it('get their database, and are those of the server', () => {
    const query = createQueryOf(
      name,
      "ATTACH TABLE `or\\`ders`\n(\n    id UInt64, \n    at DateTime\n)\nENGINE = ReplicatedMergeTree('/ch/{shard}/orders', '{replica}')\nPARTITION BY toYYYYMM(at)\nORDER BY (at, id)\nSETTINGS index_granularity = 8192\n",
    );
    const { tables } = contentsOfCopy(contents({ tables: [{ ...name, query, parts: 3, rows: 30 }] }), 'x');
    expect(tables).toEqual([
      {
        ...name,
        uuid: '00000000-0000-0000-0000-000000000000',
        engine: 'ReplicatedMergeTree',
        engineFull:
          "ReplicatedMergeTree('/ch/{shard}/orders', '{replica}') PARTITION BY toYYYYMM(at) ORDER BY (at, id) SETTINGS index_granularity = 8192",
        ...{ partitionKey: 'toYYYYMM(at)', sortingKey: 'at, id', primaryKey: 'at, id', samplingKey: '' },
        createQuery:
          "CREATE TABLE `odd-db.1`.`or\\`ders` ( id UInt64, at DateTime ) ENGINE = ReplicatedMergeTree('/ch/{shard}/orders', '{replica}') PARTITION BY toYYYYMM(at) ORDER BY (at, id) SETTINGS index_granularity = 8192",
        ...{ parts: null, partitionIds: [], source: name },
        counted: { parts: 3, rows: 30, bytes: null },
      },
    ]);
  });

  it.each([
    ["ATTACH TABLE t (a UInt8) ENGINE = MySQL('h:3306', 'd', 't', 'u', 'canary')", 'ENGINE = MySQL'],
    ["ATTACH VIEW v (a UInt8) AS SELECT * FROM remote('h', 'd', 't', 'u', 'canary')", 'CREATE VIEW'],
    [
      "ATTACH TABLE t (a String DEFAULT 'http://u:canary@h/') ENGINE = ReplicatedMergeTree('/p', 'r') ORDER BY a",
      'ENGINE = MergeTree',
    ],
  ])('of %s no credential leaves the host', (metadata, kept) => {
    const query = createQueryOf({ database: 'd', table: 't' }, metadata);
    expect(query).not.toContain('canary');
    expect(query).toContain(kept);
    // So that it is left to a person, and not made with a wrong password.
    expect(carriesSecret(query)).toBe(true);
    expect(() =>
      contentsOfCopy(contents({ tables: [{ database: 'd', table: 't', query, parts: 1, rows: 1 }] }), 'x'),
    ).not.toThrow();
  });

  it.each([
    ["ATTACH DICTIONARY d (k UInt64) PRIMARY KEY k SOURCE(HTTP(url 'http://h/canary'))", 'Dictionary'],
    ['ATTACH LIVE VIEW v (a UInt8) AS SELECT canary', 'LiveView'],
    ['ATTACH WINDOW VIEW v (a UInt8) AS SELECT canary', 'WindowView'],
  ])('of %s: left to a person, and the rest of the copy is read', (metadata, engine) => {
    const query = createQueryOf(name, metadata);
    expect(query).not.toContain('canary');
    expect(carriesSecret(query)).toBe(true);
    const { tables } = contentsOfCopy(contents({ tables: [{ ...name, query, parts: null, rows: null }] }), 'x');
    expect(tables).toMatchObject([{ engine }]);
  });

  it('that are none are named', () => {
    expect(() => createQueryOf(name, 'DROP TABLE x')).toThrow(expect.objectContaining({ code: 'MANIFEST_INVALID' }));
  });

  it('of tables that have no parts come without rows, and it is said', () => {
    const log = {
      database: 'd',
      table: 'l',
      query: 'CREATE TABLE d.l (a UInt8) ENGINE = TinyLog',
      parts: null,
      rows: null,
    };
    const view = { database: 'd', table: 'v', query: 'CREATE VIEW d.v AS SELECT 1', parts: null, rows: null };
    const { tables } = contentsOfCopy(contents({ tables: [log, view] }), 'x');
    expect(tables.map(({ definitionOnly, counted }) => [definitionOnly, counted])).toEqual([
      [true, undefined],
      [undefined, undefined],
    ]);
  });
});

it('parts are attached by their first block, whatever their partition', () => {
  expect(inAttachOrder(['202602_2_2_0', '202601_10_12_1', '202601_1_1_0', '202601_3_3_0'])).toEqual([
    '202601_1_1_0',
    '202602_2_2_0',
    '202601_3_3_0',
    '202601_10_12_1',
  ]);
});

it.each<[string, boolean]>([
  ['202601_1_1_0', true],
  ['all_1_4_2_7', true],
  ['20260101_20260131_1_4_2', true],
  ['6f6b5b1e-aaaa_1_1_0', true],
  ['../x_1_1_0', false],
  ["a'_1_1_0", false],
  ['tmp_x', false],
  ['', false],
])('%s is a part: %s', (name, expected) => {
  expect(isPartName(name)).toBe(expected);
});

describe('what is still to be attached', () => {
  const part = (name: string, checksums: string) => ({ name, checksums });
  const parts = [part('p1', 'a'), part('p2', 'twin'), part('p3', 'twin'), part('p4', '')];
  it.each<[string, string[], string[], number]>([
    ['all', [], ['p1', 'p2', 'p3', 'p4'], 0],
    ['not what is there', ['a'], ['p2', 'p3', 'p4'], 0],
    ['one of two twins', ['twin', 'a'], ['p3', 'p4'], 0],
    ['no twin', ['twin', 'a', 'twin'], ['p4'], 0],
    ['something was attached twice', ['a', 'a', 'twin'], ['p3', 'p4'], 1],
    ['one was attached before its turn', ['twin'], ['p1', 'p3', 'p4'], 1],
    ['something else was attached', ['z'], ['p1', 'p2', 'p3', 'p4'], 1],
  ])('%s', (_, attached, waiting, extra) => {
    expect(toAttach(parts, attached)).toEqual({ waiting, extra });
  });
});

it('a table’s folder is one path, whatever its name', () => {
  expect(folderOf({ database: '..', table: '/etc' })).toBe('data/%2E%2E/%2Fetc');
});
