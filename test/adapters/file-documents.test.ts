import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fileDocuments } from '../../src/adapters/reports/file-documents.js';
import { createReportStore } from '../../src/adapters/reports/report-store.js';
import { reportOf } from '../domain/reports.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tcr-reports-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const store = () => createReportStore(fileDocuments(join(dir, 'reports')));
const HASH = 'f'.repeat(64);

it('writes JSON, HTML and Markdown, again over the old ones, and leaves nothing else', async () => {
  const reports = store();
  await reports.save('clickhouse-recovery/prod', reportOf({ cluster: 'old' }));
  const path = await reports.save('clickhouse-recovery/prod', reportOf({ cluster: 'new' }));
  expect(path).toBe(join(dir, 'reports', 'clickhouse-recovery%2Fprod.md'));
  expect(readFileSync(path, 'utf8')).toContain('# new: succeeded\n');
  expect(readFileSync(path.replace(/md$/, 'html'), 'utf8')).toContain('<title>new: succeeded</title>');
  expect(JSON.parse(readFileSync(path.replace(/md$/, 'json'), 'utf8'))).toMatchObject({ cluster: 'new' });
  expect(readdirSync(join(dir, 'reports')).sort()).toEqual(
    ['html', 'json', 'md'].map((end) => `clickhouse-recovery%2Fprod.${end}`),
  );
});

it('gives back what it stored, under its own id only', async () => {
  const reports = store();
  expect(await reports.load('r/1')).toBeNull();
  const report = reportOf({ recoveryId: 'r/1' });
  await reports.save('r/1', report);
  expect(await reports.load('r/1')).toEqual(report);
  await reports.save('other', report);
  expect(await reports.load('other')).toBeNull();
});

it.each(['', '{', '{}', '[]', 'null'])('a stored report that is damaged is no report: %j', async (text) => {
  const path = await store().save('r-1', reportOf({ recoveryId: 'r-1' }));
  writeFileSync(path.replace(/md$/, 'json'), text);
  await expect(store().load('r-1')).rejects.toMatchObject({ code: 'REPORTS_UNAVAILABLE' });
});

it('keeps plans by their hash, and shows the plan in the page', async () => {
  const reports = store();
  expect(await reports.plan(HASH)).toBeNull();
  await reports.savePlan(HASH, 'ATTACH TABLE t;');
  expect(await reports.plan(HASH)).toBe('ATTACH TABLE t;');
  const path = await reports.save('r-1', reportOf());
  expect(readFileSync(path.replace(/md$/, 'html'), 'utf8')).toContain('ATTACH TABLE t;');
  expect(readdirSync(join(dir, 'reports', 'plans'))).toEqual([`${HASH}.sql`]);
});

it.each(['', '../x', 'F'.repeat(64), `${HASH}/../..`])('%j is no hash of a plan', async (hash) => {
  await expect(store().savePlan(hash, 'x')).rejects.toMatchObject({ code: 'INTERNAL' });
  expect(readdirSync(dir)).toEqual([]);
});

it.each([
  '..',
  '../../etc/passwd',
  '/etc/passwd',
  '.',
  '.hidden',
  'a\0b',
  'plans',
  'x'.repeat(2_000),
  '名前'.repeat(100),
])('keeps the id %j in the folder', async (id) => {
  expect(dirname(await store().save(id, reportOf()))).toBe(join(dir, 'reports'));
  expect(readdirSync(dir)).toEqual(['reports']);
  expect(readdirSync(join(dir, 'reports'))).toHaveLength(3);
});

it('keeps long ids apart', async () => {
  const paths = await Promise.all(['a', 'b'].map((end) => store().save('x'.repeat(500) + end, reportOf())));
  expect(new Set(paths).size).toBe(2);
});

it.each(['', '\ud800'])('refuses the id %j', async (id) => {
  await expect(store().save(id, reportOf())).rejects.toMatchObject({ code: 'INPUT_INVALID' });
});

it('does not follow a link', async () => {
  const outside = join(dir, 'outside');
  writeFileSync(outside, 'untouched');
  const reports = store();
  const path = await reports.save('id', reportOf());
  rmSync(path);
  symlinkSync(outside, path);
  await reports.save('id', reportOf());
  expect(readFileSync(outside, 'utf8')).toBe('untouched');
});
