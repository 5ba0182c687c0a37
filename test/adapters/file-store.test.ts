import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createFileReportStore } from '../../src/adapters/reports/file-store.js';
import type { Report } from '../../src/domain/report.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tcr-reports-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const report = (cluster: string) => ({ schemaVersion: 1, cluster, outcome: 'succeeded' }) as Report;
const store = () => createFileReportStore(join(dir, 'reports'), ({ cluster }) => `# ${cluster}\n`);

it('writes JSON and Markdown, again over the old ones, and leaves nothing else', async () => {
  const reports = store();
  await reports.save('clickhouse-recovery/prod', report('old'));
  const path = await reports.save('clickhouse-recovery/prod', report('new'));
  expect(path).toBe(join(dir, 'reports', 'clickhouse-recovery%2Fprod.md'));
  expect(readFileSync(path, 'utf8')).toBe('# new\n');
  expect(JSON.parse(readFileSync(path.replace(/md$/, 'json'), 'utf8'))).toMatchObject({ cluster: 'new' });
  expect(readdirSync(join(dir, 'reports')).sort()).toEqual([
    'clickhouse-recovery%2Fprod.json',
    'clickhouse-recovery%2Fprod.md',
  ]);
});

it.each(['..', '../../etc/passwd', '/etc/passwd', '.', '.hidden', 'a\0b', 'x'.repeat(2_000), '名前'.repeat(100)])(
  'keeps the id %j in the folder',
  async (id) => {
    expect(dirname(await store().save(id, report('prod')))).toBe(join(dir, 'reports'));
    expect(readdirSync(dir)).toEqual(['reports']);
    expect(readdirSync(join(dir, 'reports'))).toHaveLength(2);
  },
);

it('keeps long ids apart', async () => {
  const paths = await Promise.all(['a', 'b'].map((end) => store().save('x'.repeat(500) + end, report('prod'))));
  expect(new Set(paths).size).toBe(2);
});

it.each(['', '\ud800'])('refuses the id %j', async (id) => {
  await expect(store().save(id, report('prod'))).rejects.toMatchObject({ code: 'INPUT_INVALID' });
});

it('does not follow a link', async () => {
  const outside = join(dir, 'outside');
  writeFileSync(outside, 'untouched');
  const reports = store();
  const path = await reports.save('id', report('prod'));
  rmSync(path);
  symlinkSync(outside, path);
  await reports.save('id', report('prod'));
  expect(readFileSync(outside, 'utf8')).toBe('untouched');
});
