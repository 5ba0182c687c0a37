import { describe, expect, it } from 'vitest';
import { compareWithManifest, foundRows, type FoundRows, type ManifestRows } from '../../src/domain/drill-rows.js';
import type { ManifestTable } from '../../src/domain/manifest.js';
import type { TableReport } from '../../src/domain/report.js';

const saved = (engine = 'ReplicatedMergeTree', rows: number | null = 10): ManifestTable => ({
  ...{ database: 'db', table: 't', uuid: '', engine, engineFull: '', createQuery: '', partitionIds: [] },
  ...{ partitionKey: '', sortingKey: '', primaryKey: '', samplingKey: '', source: { database: 'db', table: 't' } },
  parts: rows === null ? null : { parts: 1, rows, digest: '1' },
});
const found = (rows: number | null): FoundRows[] => [{ database: 'db', table: 't', shard: '01', rows }];
const NAME = { database: 'db', table: 't', shard: '01' };
const NOTHING: ManifestRows = { counted: 0, rowsLost: 0, tablesLost: 0, lost: [], extra: [], uncounted: [] };

describe('what was restored, against the manifest', () => {
  it.each<[name: string, table: ManifestTable, found: FoundRows[], expected: Partial<ManifestRows>]>([
    ['all of it', saved(), found(10), { counted: 1 }],
    ['a table without rows', saved('MergeTree', 0), found(0), { counted: 1 }],
    ['rows are gone', saved(), found(7), { counted: 1, rowsLost: 3, tablesLost: 1, lost: [{ ...NAME, rows: 3 }] }],
    ['the table is gone', saved(), [], { rowsLost: 10, tablesLost: 1, lost: [{ ...NAME, rows: 10 }] }],
    [
      'a table that was never planned, its rows unknown',
      saved('Log', null),
      [],
      { tablesLost: 1, lost: [{ ...NAME, rows: null }] },
    ],
    ['a view is gone', saved('View', null), [], { tablesLost: 1, lost: [{ ...NAME, rows: null }] }],
    ['a view is there', saved('View', null), found(null), {}],
    ['more than there should be', saved(), found(11), { counted: 1, extra: [NAME] }],
    [
      'the manifest cannot say',
      saved('Log', null),
      found(9),
      { uncounted: [{ ...NAME, why: 'the manifest does not say how many it had' }] },
    ],
    [
      'nobody counted',
      saved('Log'),
      found(null),
      { uncounted: [{ ...NAME, why: 'nobody counted what was restored' }] },
    ],
    [
      'rows in memory',
      saved('Memory', null),
      found(null),
      { uncounted: [{ ...NAME, why: 'rows of the engine Memory are not compared' }] },
    ],
  ])('%s', (_name, table, restored, expected) => {
    expect(compareWithManifest([{ shard: '01', tables: [table] }], restored, [])).toEqual({ ...NOTHING, ...expected });
  });

  it('another shard’s table of that name is no other’s', () => {
    const shards = ['01', '02'].map((shard) => ({ shard, tables: [saved()] }));
    expect(compareWithManifest(shards, found(10), [])).toMatchObject({
      counted: 1,
      rowsLost: 10,
      lost: [{ shard: '02' }],
    });
  });

  it('what was left out is not lost', () => {
    const left = [{ ...NAME, why: 'it would reach outside' }];
    expect(compareWithManifest([{ shard: '01', tables: [saved('Kafka', null)] }], [], left)).toEqual(NOTHING);
  });

  it('lists those with most rows, and counts them all', () => {
    const tables = Array.from({ length: 60 }, (_, i) => ({ ...saved('MergeTree', i + 1), table: `t${i}` }));
    const { lost, tablesLost, rowsLost } = compareWithManifest([{ shard: '01', tables }], [], []);
    expect([lost.length, lost[0]?.table, tablesLost, rowsLost]).toEqual([50, 't59', 60, 1_830]);
  });
});

it('of a report, a table counts once a shard, by its fullest replica, and not where it failed', () => {
  const row = (change: Partial<TableReport>) =>
    ({ ...NAME, outcome: 'recovered', rowsFound: 5, ...change }) as TableReport;
  expect(foundRows([row({ rowsFound: null }), row({}), row({ rowsFound: 3 })])).toEqual(found(5));
  expect(foundRows([row({ outcome: 'failed' }), row({ outcome: 'skipped' })])).toEqual([]);
});
