import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createDrillStore } from '../../src/adapters/reports/drill-store.js';
import { fileDocuments } from '../../src/adapters/reports/file-documents.js';
import type { DrillReport } from '../../src/domain/drill.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tcr-drills-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const report = (drillId: string, day: string, cluster = 'prod') =>
  ({
    ...{ schemaVersion: 1, drillId, cluster, target: 'scratch', outcome: 'passed', problems: [], stages: [] },
    ...{ backup: null, objectives: null, rtoSeconds: 1, rpo: null, restored: { tables: 0, rows: 0 } },
    ...{ missing: { rows: 0, tables: [] }, cleanedUp: true, warnings: [] },
    ...{ startedAt: `2026-11-${day}T04:00:00.000Z`, finishedAt: `2026-11-${day}T04:01:00.000Z` },
  }) as unknown as DrillReport;

it('keeps what it is given, newest first, each cluster for itself, and one that is saved again once', async () => {
  const store = createDrillStore(fileDocuments(dir));
  for (const each of [
    report('b', '02'),
    report('a', '01'),
    report('c', '03'),
    report('x', '09', 'test'),
    report('c', '03'),
  ])
    await store.save(each);
  expect((await store.list('prod', 10)).map(({ drillId }) => drillId)).toEqual(['c', 'b', 'a']);
  expect((await store.list('prod', 1)).map(({ drillId }) => drillId)).toEqual(['c']);
  expect(await store.list('never', 10)).toEqual([]);
  expect(readdirSync(join(dir, 'drills/prod'))).toHaveLength(6);
});

it('leaves its folder for no name', async () => {
  const store = createDrillStore(fileDocuments(dir));
  await store.save(report('../../x', '01', '..'));
  expect(readdirSync(dir)).toEqual(['drills']);
  expect(readdirSync(join(dir, 'drills'))).toEqual(['%2E.']);
});
