import { describe, expect, it } from 'vitest';
import { problem } from '../../src/domain/errors.js';
import { reportToMarkdown } from '../../src/domain/render-report.js';
import type { Report, TableReport } from '../../src/domain/report.js';

function table(change: Partial<TableReport> = {}): TableReport {
  return {
    database: 'shop',
    table: 'orders',
    shard: '01',
    replica: 'r1',
    situation: 'data-lost',
    action: 'restore-from-backup',
    outcome: 'recovered',
    rowsExpected: 2000,
    rowsFound: 2000,
    partsExpected: 7,
    partsFound: 7,
    detachedLeft: 0,
    evidence: 'part hashes',
    activation: 'active',
    ...change,
  };
}

function report(change: Partial<Report> = {}): Report {
  return {
    schemaVersion: 1,
    recoveryId: 'recover-prod-1',
    cluster: 'prod',
    outcome: 'succeeded',
    situations: { 'data-lost': 1 },
    plan: { hash: 'f'.repeat(64), approvedBy: 'ann (as stated)' },
    stages: [
      {
        name: 'stop',
        startedAt: '2026-11-24T10:00:00.000Z',
        finishedAt: '2026-11-24T10:00:01.500Z',
        outcome: 'done',
      },
      { name: 'restore-data', startedAt: null, finishedAt: null, outcome: 'not-needed' },
    ],
    tables: [table()],
    keeperState: [{ what: 'UDFs', detail: 'one', verdict: 'unrecoverable' }],
    fence: 'lifted',
    startedAt: '2026-11-24T10:00:00.000Z',
    finishedAt: '2026-11-24T10:01:00.000Z',
    rtoSeconds: 60,
    rpo: { restoredFrom: 'monday', ageSeconds: 3600 },
    warnings: [],
    unrecovered: [],
    ...change,
  };
}

/** Cells of a Markdown table row: a pipe after a backslash is text. */
const cells = (line: string) => line.split(/(?<!\\)\|/).length - 2;

describe('reportToMarkdown', () => {
  it('begins with the outcome, then RTO and RPO, then the evidence', () => {
    const text = reportToMarkdown(report());
    expect(text.split('\n')[0]).toBe('# prod: succeeded');
    expect(text).toContain('- RTO 60 s (2026-11-24T10:00:00.000Z to 2026-11-24T10:01:00.000Z)');
    expect(text).toContain('- RPO: restored from monday, 3600 s old');
    expect(text).toContain('| stop | 1.5 s | done |');
    expect(text).toContain('| restore-data | – | not-needed |');
    expect(text).toContain('## Tables: 1 recovered, 0 unchanged');
    expect(text).toContain(
      '| shop.orders | 01/r1 | data-lost | restore-from-backup | recovered | 2,000 | 2,000 | 7 | 7 |  | part hashes |',
    );
    expect(text).toContain('- UDFs: **unrecoverable** — one');
  });

  it('counts failed and skipped tables in the title, and gives each problem with its hint', () => {
    const failed = table({
      outcome: 'failed',
      rowsFound: null,
      detachedLeft: 3,
      problem: problem('VERIFY_FAILED', 'one part is missing', { objects: ['all_1_1_0'] }),
    });
    const text = reportToMarkdown(
      report({
        outcome: 'failed',
        problem: problem('VERIFY_FAILED', 'one part is missing'),
        tables: [failed, table({ table: 'items', outcome: 'skipped' }), table({ table: 'x', outcome: 'unchanged' })],
        unrecovered: [{ database: 'shop', table: 'orders', shard: '01', reason: 'one part is missing' }],
        warnings: ['the fence is up'],
      }),
    );
    expect(text).toContain('# prod: failed\n\n**VERIFY_FAILED**');
    expect(text).toContain('## Tables: 0 recovered, 1 failed, 1 skipped, 1 unchanged');
    expect(text).toContain('failed VERIFY_FAILED | 2,000 | – | 7 | 7 | 3 |');
    expect(text).toMatch(
      /## Problems\n\n- shop\.orders @ 01\/r1: \*\*VERIFY_FAILED\*\* one part is missing \(all\\_1\\_1\\_0\) — HINT: the clone in/,
    );
    expect(text).toContain('## Not recovered\n\n- shop.orders on shard 01: one part is missing');
    expect(text).toContain('## Warnings\n\n- the fence is up');
  });

  it('says that no data came from a backup, and that there was no plan', () => {
    const text = reportToMarkdown(report({ rpo: null, plan: { hash: '', approvedBy: '' }, tables: [] }));
    expect(text).toContain('- RPO: no data came from a backup');
    expect(text).toContain('- no plan was made');
    expect(text).not.toContain('## Tables');
  });

  it.each([
    ['a pipe', 'a|b', 'a\\|b'],
    ['a backtick', 'a`b', 'a\\`b'],
    ['a backslash before a pipe', 'a\\|b', 'a\\\\\\|b'],
    ['a line feed', 'a\n# b', 'a # b'],
    ['an escape sequence', 'a\u001b[2Jb', 'a\\\\u001b\\[2Jb'],
    ['HTML', '<img src=x>', '\\<img src=x\\>'],
  ])('keeps %s in a name from breaking out of its cell', (_name, name, shown) => {
    const text = reportToMarkdown(report({ tables: [table({ table: name })] }));
    const row = text.split('\n').find((line) => line.startsWith('| shop.'));
    expect(row).toContain(`| shop.${shown} |`);
    expect(cells(row ?? '')).toBe(11);
    expect(text).not.toContain('\u001b');
  });
});
