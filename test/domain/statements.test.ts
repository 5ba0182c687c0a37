import { describe, expect, it } from 'vitest';
import type { TableDefinition } from '../../src/domain/inventory.js';
import { quote, type TableName } from '../../src/domain/names.js';
import * as sql from '../../src/domain/statements.js';

const UUID = '3f2504e0-4f89-41d3-9a0c-0305e82c3301';
const AWKWARD = [
  't',
  'a.b',
  'a b',
  'a-b',
  '50%',
  'таблица',
  '🦆',
  '`',
  '\\',
  '\\`',
  "'",
  '`; DROP TABLE x; --',
  "'; DROP TABLE x; --",
  '\\`; DROP TABLE x; --',
  '$&',
  '{partition}',
  '/* x */',
];

function definition(name: TableName, change: Partial<TableDefinition> = {}): TableDefinition {
  const engineFull =
    change.engineFull ??
    "ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', v) PARTITION BY p ORDER BY a TTL d + toIntervalDay(1) SETTINGS index_granularity = 1024";
  return {
    ...name,
    ...{
      uuid: UUID,
      engine: 'ReplicatedReplacingMergeTree',
      partitionKey: 'p',
      sortingKey: 'a',
      primaryKey: 'a',
      samplingKey: '',
    },
    createQuery: `CREATE TABLE ${quote(name.database)}.${quote(name.table)} UUID '${UUID}' (\`a\` Int32, \`p\` Int32, \`v\` Int32, \`d\` Date) ENGINE = ${engineFull} COMMENT 'it\\'s mine'`,
    ...change,
    engineFull,
  };
}

/** What is left of a statement when all that is quoted is taken out, as ClickHouse's lexer reads it. */
function bare(text: string): string {
  let rest = '';
  for (let i = 0; i < text.length; i++) {
    const mark = text[i] as string;
    if (!'\'`"'.includes(mark)) {
      rest += mark;
      continue;
    }
    for (i++; text[i] !== mark; i++) {
      if (i >= text.length) throw new Error(`unclosed ${mark} in ${text}`);
      if (text[i] === '\\') i++;
    }
    rest += '?';
  }
  return rest;
}

const BUILDERS: [name: string, build: (name: TableName) => string][] = [
  ['cloneTable', (name) => sql.cloneTable(definition(name))],
  ['createStaging', (name) => sql.createStaging(definition(name))],
  ['createWholeStaging', (name) => sql.createWholeStaging(definition(name))],
  ['dropClone', (name) => sql.dropClone('making', name)],
  ['completeClone', (name) => sql.completeClone('making', name)],
  ['holdClone', (name) => sql.holdClone(name)],
  ['setAside', (name) => sql.setAside([{ from: name.table, to: sql.asideName(name.table, 'recovery') }])],
  ['dropAside', (name) => sql.dropAside(name.table, 'restore-replica')],
  ['createPlain', (name) => sql.createPlain(definition(name), true)],
  ['createReplicated', (name) => sql.createReplicated(definition(name))],
  ['createDatabase', (name) => sql.createDatabase(name.database, 'Atomic')],
  ['replacePartition', (name) => sql.replacePartition(name, 'all')],
  ['dropPartition', (name) => sql.dropPartition(name, '{partition}')],
  ['detach', sql.detach],
  ['attach', sql.attach],
  ['attachAsReplicated', sql.attachAsReplicated],
  ['attachAsNotReplicated', sql.attachAsNotReplicated],
  ['restartReplica', sql.restartReplica],
  ['restoreReplica', sql.restoreReplica],
  ['dropReplica', (name) => sql.dropReplica(name.database, name.table)],
  ['restoreTable', (name) => sql.restoreTable(name, name, "Disk('b', 'x')", name.table)],
  ['promoteByRename', sql.promoteByRename],
  ['fenceTable', (name) => sql.fenceTable(name, 'restore-replica').join(' ')],
  ['detachStreaming', (name) => sql.detachStreaming(name, 'restore-replica')],
  ['openReplication', (name) => sql.openReplication(name, 'restore-replica', true).join(' ')],
  ['createCanary', (name) => sql.createCanary(name, name.database, name.table)],
  ['backup', (name) => sql.backup([name, name], "Disk('b', 'x')", name.table)],
  ['backupAs', (name) => sql.backupAs(name, name, "Disk('b', 'x')", name.table)],
];

describe('no name gets out of its quotes', () => {
  it.each(BUILDERS)('%s', (_builder, build) => {
    const ordinary = bare(build({ database: 'd', table: 't' }));
    expect(ordinary).not.toMatch(/;|--|\/\*/);
    for (const database of AWKWARD)
      for (const table of AWKWARD) expect(bare(build({ database, table }))).toBe(ordinary);
  });
});

describe('partition ids', () => {
  it.each(['all', '202401', '0a-b_c', 'x'.repeat(200), '{partition}'])('%s', (id) => {
    expect(sql.replacePartition({ database: 'd', table: 't' }, id)).toContain(`PARTITION ID '${id}'`);
  });
  it.each(['', "'", "1' FROM x", 'a b', '../x', '{x}', 'ä', 'x'.repeat(201), 'a\n'])('refused: %j', (id) => {
    for (const build of [sql.replacePartition, sql.dropPartition])
      expect(() => build({ database: 'd', table: 't' }, id)).toThrow(
        expect.objectContaining({ code: 'INTERNAL' }) as Error,
      );
  });
});

describe('a clone', () => {
  const name = { database: 'db', table: 't' };
  it.each([
    ['of a table', sql.cloneTable(definition(name))],
    ['for a restore', sql.createStaging(definition(name))],
  ])('%s is plain, unmergeable, without TTL, with the same keys and granularity', (_row, text) => {
    expect(text).toContain('ENGINE = MergeTree PARTITION BY p ORDER BY a SETTINGS index_granularity = 1024, ');
    expect(text).not.toMatch(/TTL d|Replicated|Replacing/);
    expect(text).toContain('max_bytes_to_merge_at_max_space_in_pool = 1');
    expect(text).toContain('max_number_of_merges_with_ttl_in_pool = 0');
    expect(text).toContain('"database":"db","table":"t"');
  });

  it.each<[row: string, settings: string, inherited: string]>([
    [
      'only what decides whether parts fit',
      "index_granularity = 1, ttl_only_drop_parts = 1, storage_policy = 'a'",
      "index_granularity = 1, storage_policy = 'a', ",
    ],
    [
      'a comma in a value',
      "storage_policy = 'a, index_granularity = 9', merge_with_ttl_timeout = 1",
      "storage_policy = 'a, index_granularity = 9', ",
    ],
    [
      'a setting named in the value of another',
      "disk = 'index_granularity = 7', index_granularity = 1",
      'index_granularity = 1, ',
    ],
    [
      'a quote in a value',
      "storage_policy = 'a\\'b', index_granularity = 2",
      "storage_policy = 'a\\'b', index_granularity = 2, ",
    ],
  ])('takes over %s', (_row, settings, inherited) => {
    const text = sql.cloneTable(definition(name, { engineFull: `MergeTree ORDER BY a SETTINGS ${settings}` }));
    expect(text).toContain(`SETTINGS ${inherited}max_bytes`);
  });
});

describe('what a table is made again with', () => {
  const name = { database: 'db', table: 't' };
  it('keeps UUID, engine arguments, TTL, settings and comment', () => {
    expect(sql.createPlain(definition(name), true)).toBe(
      `CREATE TABLE \`db\`.\`t\` UUID '${UUID}' (\`a\` Int32, \`p\` Int32, \`v\` Int32, \`d\` Date) ENGINE = ReplacingMergeTree(v) PARTITION BY p ORDER BY a TTL d + toIntervalDay(1) SETTINGS index_granularity = 1024 COMMENT 'it\\'s mine'`,
    );
    expect(sql.createReplicated(definition(name))).toContain(
      "ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', v)",
    );
  });
  it.each(['', '00000000-0000-0000-0000-000000000000'])('gives no UUID where there was none: %j', (uuid) => {
    expect(sql.createReplicated(definition(name, { uuid }))).not.toContain(' UUID ');
  });
  it.each<[createQuery: string, expected: string]>([
    ['CREATE MATERIALIZED VIEW db.v AS SELECT 1', 'ATTACH MATERIALIZED VIEW db.v AS SELECT 1'],
    ["CREATE VIEW db.v AS SELECT 'CREATE MATERIALIZED VIEW'", "CREATE VIEW db.v AS SELECT 'CREATE MATERIALIZED VIEW'"],
    ['CREATE DICTIONARY db.d (a Int32)', 'CREATE DICTIONARY db.d (a Int32)'],
  ])('an object: %s', (createQuery, expected) => {
    expect(sql.createObject(definition(name, { createQuery }))).toBe(expected);
  });
});

describe('the fence', () => {
  it('has a counterpart for each statement', () => {
    for (const method of ['restore-replica', 'conversion'] as const)
      expect(sql.lift(method)).toEqual(sql.fence(method).map((statement) => statement.replace(' STOP ', ' START ')));
    for (const what of ['MERGES', 'TTL MERGES', 'MOVES', 'FETCHES', 'REPLICATED SENDS', 'DISTRIBUTED SENDS'])
      expect(sql.fence('restore-replica')).toContain(`SYSTEM STOP ${what}`);
  });
  it('has only what old servers know, where the method is the conversion', () => {
    expect(sql.fence('conversion')).toEqual(['SYSTEM STOP MERGES']);
    expect(sql.fenceTable({ database: 'd', table: 't' }, 'conversion')).toEqual(['SYSTEM STOP MERGES `d`.`t`']);
    expect(sql.dropAside('x', 'conversion')).toBe('DROP TABLE IF EXISTS `_recovery`.`x`');
  });
  it('keeps streaming tables detached over a restart, where the server can', () => {
    const name = { database: 'd', table: 'k' };
    expect(sql.detachStreaming(name, 'restore-replica')).toBe('DETACH TABLE `d`.`k` PERMANENTLY');
    expect(sql.detachStreaming(name, 'conversion')).toBe('DETACH TABLE `d`.`k`');
  });
});
