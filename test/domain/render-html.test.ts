import { describe, expect, it } from 'vitest';
import { problem } from '../../src/domain/errors.js';
import { reportToHtml } from '../../src/domain/render-html.js';
import { duration, html } from '../../src/domain/render-html-text.js';
import type { Report, TableReport } from '../../src/domain/report.js';
import { at, reportOf, tableReport } from './reports.js';

const bodyOf = (page: string) => page.slice(page.indexOf('<body>'));
const textOf = (page: string) =>
  bodyOf(page)
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');
const tagsOf = (page: string) => new Set([...page.matchAll(/<\/?([^\s/>]+)/g)].map(([, name]) => name));

describe('what it says', () => {
  it('outcome, RTO and RPO, tables with expected and found, verdicts, the plan', () => {
    const text = textOf(reportToHtml(reportOf(), 'ATTACH TABLE `shop`.`orders`;'));
    expect(text).toContain('prod ✔ succeeded');
    expect(text).toContain('RTO 1 min');
    expect(text).toContain('RPO 1 h');
    expect(text).toContain('shop.orders 01/r1 data-lost → restore-from-backup ✔ recovered 2,000 / 2,000 7 / 7');
    expect(text).toContain('UDFs unrecoverable one');
    expect(text).toContain('ATTACH TABLE &#96;shop&#96;.&#96;orders&#96;;');
    expect(text).not.toContain('objective');
  });

  it.each<[string, Partial<Report>, string[]]>([
    ['both met', {}, ['✔ meets the objective of 1 min 40 s', '✔ meets the objective of 2 h']],
    ['slower and older', { rtoSeconds: 101, rpo: { restoredFrom: 'x', ageSeconds: 7_201 } }, ['✖', '✖']],
    ['in time, and not recovered', { outcome: 'failed' }, ['✖ not recovered, objective 1 min 40 s', '✖ not']],
    ['nothing from a backup', { rpo: null }, ['✔', 'objective 2 h']],
  ])('objectives: %s', (_name, change, said) => {
    const objectives = { rtoSeconds: 100, rpoSeconds: 7_200 };
    const cards = textOf(reportToHtml(reportOf({ objectives, ...change }))).split('Tables')[0]!;
    const [rto, rpo] = cards.slice(cards.indexOf('RTO')).split('RPO');
    expect(rto).toContain(said[0]);
    expect(rpo).toContain(said[1]);
  });

  it('what went wrong: the problem, each table with its hint, what is lost, warnings', () => {
    const found = problem('VERIFY_FAILED', 'one part is missing', { objects: ['all_1_1_0'] });
    const page = reportToHtml(
      reportOf({
        outcome: 'failed',
        problem: found,
        fence: 'held',
        tables: [tableReport({ outcome: 'failed', rowsFound: 1_900, detachedLeft: 3, problem: found })],
        unrecovered: [{ database: 'shop', table: 'orders', shard: '01', reason: 'one part is missing' }],
        warnings: ['the fence is up'],
      }),
    );
    const text = textOf(page);
    expect(text).toContain('VERIFY_FAILED : one part is missing What to do: the clone in');
    expect(text).toContain('✖ failed VERIFY_FAILED ✖ 1,900 / 2,000 7 / 7 +3 in detached/');
    expect(text).toContain('Not recovered: 1 table shard why shop.orders 01 one part is missing');
    expect(text).toContain('(all_1_1_0)');
    expect(text).toContain('Warnings the fence is up');
    expect(text).toContain('writes are still held back');
    expect(text).toContain('Its SQL is not in this file');
  });

  it('one that never had a plan', () => {
    const bare = { plan: { hash: '', approvedBy: '' }, stages: [], tables: [], keeperState: [], rpo: null };
    const text = textOf(reportToHtml(reportOf({ ...bare, outcome: 'failed' })));
    expect(text).toContain('Plan none was made');
    for (const heading of ['Timeline', 'Tables None', 'The plan', 'Warnings']) expect(text).not.toContain(heading);
  });
});

describe('the timeline', () => {
  const timed = (i: number, change: Partial<TableReport> = {}) =>
    tableReport({ table: `t${i}`, timeline: [['restore-data', 10, 10 + i]], ...change });

  it('begins with the first stage: hours of waiting for an approval are no bar', () => {
    const stages: Report['stages'] = [
      { name: 'stop', startedAt: at(7_200), finishedAt: at(7_210), outcome: 'done' },
      { name: 'restore-data', startedAt: at(7_210), finishedAt: null, outcome: 'failed' },
      { name: 'validate', startedAt: null, finishedAt: null, outcome: 'skipped' },
    ];
    const page = reportToHtml(reportOf({ stages, finishedAt: at(7_240) }));
    expect(page).toContain('<rect class="stop" x="0%" width="25%"');
    expect(page).toContain('<rect class="restore-data" x="25%" width="75%"');
    expect(textOf(page)).toContain('The stages began 2 h after the start');
    expect(textOf(page)).toMatch(/restore-data restore-data: .* did not end ✖ failed validate skipped/);
  });

  it('of many tables: those that failed, then the slowest', () => {
    const tables = Array.from({ length: 100 }, (_, i) => timed(i));
    tables.push(timed(0, { table: 'broken', outcome: 'failed' }));
    const [chart = '', list = ''] = reportToHtml(reportOf({ tables })).split('<h2>Tables</h2>');
    expect(chart).toContain('the 40 of 101 tables that failed or took longest');
    expect(chart.match(/<th scope="row">shop/g)).toHaveLength(40);
    for (const name of ['broken', 't99', 't61']) expect(chart).toContain(`shop.${name} `);
    expect(chart).not.toContain('shop.t60 ');
    expect(list.match(/<th scope="row">shop/g)).toHaveLength(101);
  });

  it('a bar of no length is seen, inside of the chart', () => {
    const page = reportToHtml(reportOf({ tables: [tableReport({ timeline: [['validate', 50, 50]] })] }));
    const [, x, width] = /class="validate" x="([\d.]+)%" width="([\d.]+)%"/.exec(page)!;
    expect(Number(width)).toBeGreaterThan(0);
    expect(Number(x) + Number(width)).toBeLessThanOrEqual(100);
  });

  it.each([
    [0.04, '0 s'],
    [48.04, '48 s'],
    [60, '1 min'],
    [3_599.6, '1 h'],
    [11_000, '3 h 3 min'],
    [187_200, '2 d 4 h'],
  ])('%s s is %s', (seconds, text) => expect(duration(seconds)).toBe(text));
});

describe('hostile names', () => {
  const HOSTILE = [
    '<script>alert(1)</script>',
    '</style><img src=x onerror=alert(1)>',
    '</title></head>',
    '" onmouseover="alert(1)',
    "' onload='alert(1)",
    '`a`&lt;b>&amp;',
    'a\nb\u001b[2J',
    'a\u202egnp.exe',
    '-->]]><!--',
    '{{x}}${y}',
  ];
  const clean = reportToHtml(reportWith('plain'), 'plain');

  /** In every field that a person or a cluster can fill. */
  function reportWith(name: string): Report {
    const found = problem('VERIFY_FAILED', name, { objects: [name], field: name });
    const table = tableReport({ database: name, table: name, shard: name, replica: name, situation: name });
    return reportOf({
      ...{ cluster: name, recoveryId: name, incident: name, problem: { ...found, hint: name } },
      backup: { repository: name, name, takenAt: name },
      situations: { [name]: 1 },
      plan: { hash: name, approvedBy: name },
      tables: [
        { ...table, action: name, evidence: name, problem: found, timeline: [['restore-data', 1, 2]] },
        { ...table, outcome: 'unchanged', action: 'none' },
      ],
      keeperState: [{ what: name, detail: name, verdict: 'unrecoverable' }],
      ...{ startedAt: name, warnings: [name], rpo: { restoredFrom: name, ageSeconds: 1 } },
      unrecovered: [{ database: name, table: name, shard: name, reason: name }],
    });
  }

  it.each(HOSTILE)('%j changes no tag and no attribute', (name) => {
    const page = reportToHtml(reportWith(name), `SELECT '${name}'`);
    expect(tagsOf(page)).toEqual(tagsOf(clean));
    const shape = (text: string) => text.replace(/>[^<]*/g, '>').replace(/ (aria-label)="[^"]*"/g, '');
    expect(shape(bodyOf(page))).toBe(shape(bodyOf(clean)));
    // eslint-disable-next-line no-control-regex
    expect(page).not.toMatch(/[\u001b\u202e]/);
  });

  it('what may stand in an attribute too has no quotes of its own', () => {
    expect(html(`<a b="c" d='e'>&\`\n\u202e`)).toBe('&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;&#96;\\u000a\\u202e');
  });

  it('asks for nothing from outside, and forbids itself to', () => {
    expect(clean).not.toMatch(/<script|<link|<img|<iframe|\bon\w+=|url\(|@import|https?:/i);
    expect(clean).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`);
  });
});

describe('size', () => {
  it('2,000 tables with their SQL open on a phone: none is left out, the SQL is cut and says so', () => {
    const timeline: TableReport['timeline'] = [
      ['restore-data', 1, 2],
      ['verify-parts', 2, 3],
    ];
    const tables = Array.from({ length: 2_000 }, (_, i) => tableReport({ table: `events_${i}`, timeline }));
    const page = reportToHtml(
      reportOf({ tables }),
      'ALTER TABLE `shop`.`events` ATTACH PARTITION ID x;\n'.repeat(100_000),
    );
    expect(page.match(/<th scope="row">shop\.events_\d+ <small>/g)).toHaveLength(2_040);
    expect(textOf(page)).toContain('The first 400,000 of 5,100,000 characters');
    expect(Buffer.byteLength(page)).toBeLessThan(1_500_000);
  });
});
