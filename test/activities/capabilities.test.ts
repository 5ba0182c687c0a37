import { describe, expect, it } from 'vitest';
import { LATE_READS, type LateRead } from '../../src/domain/inventory.js';
import { probe } from '../../src/activities/capabilities.js';
import { queriesFor } from '../../src/activities/queries.js';
import { ServerError, type ClickHouseNode } from '../../src/ports.js';

/** What its parser refuses, and which of the columns that it is asked for it has. */
function server(refuses: RegExp, columns: readonly string[]): ClickHouseNode {
  return {
    ref: { name: 'n1', shard: '01', replica: 'r1' },
    execute: async (sql: string) => {
      expect(sql).toMatch(/^EXPLAIN AST /);
      if (refuses.test(sql)) throw new ServerError(62, 'Syntax error', 'n1');
    },
    query: async (sql: string) => columns.filter((name) => sql.includes(`'${name}'`)).map((column) => ({ column })),
  } as unknown as ClickHouseNode;
}

const BEFORE = ['parts.hash_of_all_files'];
const NONE = { restoreReplica: false, dropReplica: false, attachAs: false, cloneAs: false, nativeBackup: false };

describe('what a server can do', () => {
  it.each<[row: string, refuses: RegExp, columns: readonly string[], found: Awaited<ReturnType<typeof probe>>]>([
    ['18.16', /./, [], { ...NONE, partHashes: false, lacks: LATE_READS }],
    [
      // It reads `AS REPLICATED` as a table's name.
      '22.3',
      /CLONE AS|AS NOT REPLICATED|BACKUP/,
      BEFORE,
      { ...NONE, restoreReplica: true, dropReplica: true, partHashes: true, lacks: LATE_READS },
    ],
    [
      '22.8, which knows BACKUP without ids',
      /CLONE AS|AS NOT REPLICATED/,
      BEFORE,
      { ...NONE, restoreReplica: true, dropReplica: true, partHashes: true, lacks: LATE_READS },
    ],
    [
      'of today',
      /^$/,
      [...BEFORE, 'backups.id', ...LATE_READS],
      {
        ...{ restoreReplica: true, dropReplica: true, attachAs: true, cloneAs: true, nativeBackup: true },
        ...{ partHashes: true, lacks: [] },
      },
    ],
  ])('%s', async (_row, refuses, columns, found) => {
    expect(await probe(server(refuses, columns))).toEqual(found);
  });
});

describe('reads', () => {
  const LATE: Record<LateRead, RegExp> = {
    'server_settings.name': /system\.server_settings/,
    'dropped_tables.uuid': /system\.dropped_tables/,
    'detached_tables.uuid': /system\.detached_tables/,
    'processes.query_kind': /query_kind/,
  };
  const all = (partHashes: boolean, lacks: readonly LateRead[]) =>
    Object.values(queriesFor({ partHashes, lacks })).join('\n');
  it.each(LATE_READS)('ask for %s where it is, and only there', (missing) => {
    expect(all(true, [])).toMatch(LATE[missing]);
    expect(all(true, [missing])).not.toMatch(LATE[missing]);
    expect(all(true, [missing])).toContain('hash_of_all_files');
  });
  it('ask for nothing of it without part hashes', () => {
    for (const late of Object.values(LATE)) expect(all(false, [])).not.toMatch(late);
  });
});
