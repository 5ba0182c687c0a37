import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createColdStore } from '../../src/adapters/reports/cold-store.js';
import { fileDocuments } from '../../src/adapters/reports/file-documents.js';
import type { ColdReport } from '../../src/domain/cold.js';
import { scratchDir } from '../support/processes.js';

let scratch: ReturnType<typeof scratchDir>;
beforeEach(() => {
  scratch = scratchDir('cold-store');
});
afterEach(() => scratch.remove());

const report: ColdReport = {
  ...{ schemaVersion: 1, id: 'cold-backup/prod/1', kind: 'backup', cluster: 'prod', generation: 'g1' },
  ...{ outcome: 'succeeded', plan: { hash: 'a'.repeat(64), approvedBy: 'approval: auto' }, steps: [], hosts: [] },
  ...{ downtimeSeconds: 12.3, clusterUp: true, rolledBack: false, instead: null, warnings: [], problem: null },
  ...{ startedAt: '2026-11-01T04:00:00.000Z', finishedAt: '2026-11-01T04:01:00.000Z' },
};

it('keeps a report for programs and for people', async () => {
  const store = createColdStore(fileDocuments(scratch.path));
  const address = await store.save(report);
  expect(await store.save(report)).toBe(address);
  expect(readFileSync(address, 'utf8')).toContain('cold backup of prod: succeeded');
  expect(await store.load(report.id)).toEqual(report);
  expect(await store.load('another')).toBeNull();
});

it.each(['', '{', 'null', '{"schemaVersion":1}'])('says that %j is no report', async (text) => {
  const store = createColdStore(fileDocuments(scratch.path));
  await store.save(report);
  writeFileSync(join(scratch.path, 'cold/cold-backup%2Fprod%2F1.json'), text);
  await expect(store.load(report.id)).rejects.toMatchObject({ code: 'REPORTS_UNAVAILABLE' });
});
