import { describe, expect, it } from 'vitest';
import {
  buildDrillReport,
  drillExitCode,
  drillView,
  isLost,
  parseDrillRequest,
  parseDrillView,
  type DrillFacts,
  type DrillReport,
  type Measured,
} from '../../src/domain/drill.js';
import { drillLines, drillListText, duration } from '../../src/domain/drill-history.js';
import type { ManifestRows } from '../../src/domain/drill-rows.js';
import { problem } from '../../src/domain/errors.js';
import { drillToMarkdown } from '../../src/domain/render-drill.js';
import type { Report } from '../../src/domain/report.js';

const START = Date.parse('2026-11-24T12:00:00Z');

const recovery = (change: Partial<Report> = {}): Report => ({
  schemaVersion: 1,
  recoveryId: 'd/1',
  cluster: 'prod@scratch',
  outcome: 'succeeded',
  situations: {},
  plan: { hash: '', approvedBy: '' },
  stages: [
    { name: 'restore-data', startedAt: '2026-11-24T12:00:01Z', finishedAt: '2026-11-24T12:00:03.5Z', outcome: 'done' },
    { name: 'validate', startedAt: null, finishedAt: null, outcome: 'skipped' },
  ],
  tables: [],
  keeperState: [],
  fence: 'lifted',
  startedAt: '',
  finishedAt: '',
  rtoSeconds: 30,
  rpo: null,
  warnings: [],
  unrecovered: [],
  ...change,
});

const measured = (change: Partial<Measured> = {}): Measured => ({
  ...{ tables: 2, rows: 10, newestRow: '2026-11-24T11:59:00Z', lacking: [], rowsSince: 0, tablesLost: 0 },
  manifest: compared(),
  ...change,
});

const compared = (change: Partial<ManifestRows> = {}): ManifestRows => ({
  ...{ counted: 2, rowsLost: 0, tablesLost: 0, lost: [], extra: [], uncounted: [] },
  ...change,
});

const facts = (change: Partial<DrillFacts> = {}): DrillFacts => ({
  drillId: 'd',
  recoveryId: 'd/1',
  cluster: 'prod',
  settings: {
    target: 'scratch',
    backup: 'latest',
    objectives: { rtoSeconds: 60, rpoSeconds: 3_600 },
    timeoutSeconds: 1,
  },
  backup: { repository: 'nightly', name: 'b1', takenAt: '2026-11-24T11:30:00Z' },
  recovery: recovery(),
  measured: measured(),
  problem: null,
  skipped: null,
  aborted: false,
  cleanedUp: true,
  cleanUpProblem: null,
  startedAt: START,
  finishedAt: START + 60_000,
  ...change,
});

const outcome = (change: Partial<DrillFacts>) => {
  const report = buildDrillReport(facts(change));
  return [report.outcome, ...report.problems.map(({ code }) => code)];
};

const NAME = { database: 'db', table: 't', shard: '01' };
const table = { database: 'db', table: 't', shard: '01', restoredRows: null, sourceRows: 5, isLost: true };

describe('how a drill ended', () => {
  it('passed: measured, in time, young enough, and clean', () => {
    const report = buildDrillReport(facts());
    expect(report).toMatchObject({
      ...{ outcome: 'passed', problems: [], rtoSeconds: 30, cleanedUp: true },
      rpo: { seconds: 60, basis: 'newest row', backupAgeSeconds: 1_800 },
      stages: [
        { name: 'restore-data', seconds: 2.5 },
        { name: 'validate', seconds: null },
      ],
    });
    expect(drillExitCode(report)).toBe(0);
  });

  it('without a time in any row, the age is that of the backup', () => {
    expect(buildDrillReport(facts({ measured: measured({ newestRow: null }) })).rpo).toMatchObject({
      seconds: 1_800,
      basis: 'backup',
    });
  });

  it.each<[name: string, change: Partial<DrillFacts>, expected: string[]]>([
    ['nothing was there to restore', { recovery: recovery({ outcome: 'nothing-to-do' }) }, ['DRILL_NO_DATA']],
    ['tables, but no row', { measured: measured({ rows: 0 }) }, ['DRILL_NO_DATA']],
    ['no recovery at all', { recovery: null }, ['INTERNAL']],
    ['not measured', { measured: null }, ['DRILL_UNVERIFIED']],
    [
      'a backup that nobody knows the age of',
      { backup: { repository: 'r', name: 'b', takenAt: '' } },
      ['DRILL_UNVERIFIED'],
    ],
    [
      'a table that was compared with nothing',
      {
        recovery: recovery({
          tables: [
            { action: 'restore-from-backup', evidence: '', database: 'db', table: 't' } as Report['tables'][number],
          ],
        }),
      },
      ['DRILL_UNVERIFIED'],
    ],
    [
      'a table of which only checksums were looked at',
      {
        recovery: recovery({
          tables: [
            {
              ...{ action: 'restore-from-backup', evidence: 'checksums of the backup', database: 'db', table: 't' },
            } as Report['tables'][number],
          ],
        }),
      },
      ['DRILL_UNVERIFIED'],
    ],
    [
      'a table that is not in the backup',
      { measured: measured({ lacking: [table], tablesLost: 1 }) },
      ['DRILL_DATA_MISSING'],
    ],
    [
      'rows of the manifest that were not restored',
      { measured: measured({ manifest: compared({ rowsLost: 3, tablesLost: 1, lost: [{ ...NAME, rows: 3 }] }) }) },
      ['DRILL_DATA_MISSING'],
    ],
    [
      'a view of the manifest that was not restored',
      { measured: measured({ manifest: compared({ tablesLost: 1, lost: [{ ...NAME, rows: null }] }) }) },
      ['DRILL_DATA_MISSING'],
    ],
    [
      'rows that the manifest has not',
      { measured: measured({ manifest: compared({ extra: [NAME] }) }) },
      ['DRILL_UNVERIFIED'],
    ],
    [
      'rows that nobody counted, of all tables',
      { measured: measured({ manifest: compared({ counted: 0, uncounted: [{ ...NAME, why: 'x' }] }) }) },
      ['DRILL_UNVERIFIED'],
    ],
    ['nothing was compared with the manifest', { measured: measured({ manifest: null }) }, ['DRILL_UNVERIFIED']],
    ['slow', { recovery: recovery({ rtoSeconds: 60.1 }) }, ['DRILL_RTO_MISSED']],
    ['old', { measured: measured({ newestRow: '2026-11-24T10:59:59Z' }) }, ['DRILL_RPO_MISSED']],
    [
      'all of it',
      {
        recovery: recovery({ rtoSeconds: 99 }),
        measured: measured({ rows: 0, newestRow: '2020-01-01T00:00:00Z', lacking: [table], tablesLost: 1 }),
      },
      ['DRILL_NO_DATA', 'DRILL_DATA_MISSING', 'DRILL_RTO_MISSED', 'DRILL_RPO_MISSED'],
    ],
    [
      'the recovery failed',
      { recovery: recovery({ outcome: 'failed', problem: problem('RESTORE_FAILED', 'x') }) },
      ['RESTORE_FAILED'],
    ],
    [
      'the recovery needs somebody',
      { recovery: recovery({ outcome: 'needs-operator', problem: problem('PART_BROKEN', 'x') }) },
      ['PART_BROKEN'],
    ],
    ['good, but not clean', { cleanUpProblem: problem('DRILL_NOT_CLEAN', 'x'), cleanedUp: false }, ['DRILL_NOT_CLEAN']],
    [
      'stepped aside, but not clean',
      { skipped: problem('RECOVERY_RUNNING', 'x'), cleanUpProblem: problem('DRILL_NOT_CLEAN', 'x') },
      ['RECOVERY_RUNNING', 'DRILL_NOT_CLEAN'],
    ],
    [
      'cancelled, but not clean',
      { aborted: true, cleanUpProblem: problem('DRILL_NOT_CLEAN', 'x') },
      ['REJECTED', 'DRILL_NOT_CLEAN'],
    ],
  ])('%s: failed', (_name, change, expected) => {
    expect(outcome(change)).toEqual(['failed', ...expected]);
  });

  it('rows since the backup, and tables made since, are told and no failure', () => {
    const lacking = [
      { ...table, isLost: false },
      { ...table, table: 'grown', restoredRows: 7, sourceRows: 9, isLost: false },
    ];
    const report = buildDrillReport(facts({ measured: measured({ lacking, rowsSince: 7 }) }));
    expect([report.outcome, report.missing]).toEqual([
      'passed',
      {
        rows: 7,
        tables: [
          { database: 'db', table: 't', shard: '01', rows: 5, why: 'made since the backup' },
          { database: 'db', table: 'grown', shard: '01', rows: 2, why: 'rows since the backup' },
        ],
      },
    ]);
  });

  it('what is lost is told apart from what came since, each once', () => {
    const lacking = [
      table,
      { ...table, table: 'older' },
      { ...table, table: 'grown', restoredRows: 7, sourceRows: 9, isLost: false },
    ];
    const manifest = compared({ rowsLost: 4, tablesLost: 1, lost: [{ ...NAME, rows: 4 }] });
    const { lost, missing, problems } = buildDrillReport(
      facts({ measured: measured({ lacking, rowsSince: 2, tablesLost: 2, manifest }) }),
    );
    expect(lost).toEqual({
      rows: 9,
      tables: [
        { ...NAME, rows: 4, why: "in the backup's manifest, and not restored" },
        { ...NAME, table: 'older', rows: 5, why: 'older than the backup, and not in it' },
      ],
    });
    expect(missing).toEqual({ rows: 2, tables: [{ ...NAME, table: 'grown', rows: 2, why: 'rows since the backup' }] });
    expect(problems.map(({ message }) => message)).toEqual([
      "4 rows of 1 table that the backup's manifest has were not restored: db.t",
      '2 tables are older than the backup and not in it: db.t, db.older',
    ]);
  });

  it('a table that nobody counted is named, and no failure beside others that were', () => {
    const manifest = compared({ uncounted: [{ ...NAME, why: 'nobody counted what was restored' }] });
    const report = buildDrillReport(facts({ measured: measured({ manifest }) }));
    expect([report.outcome, report.uncounted]).toEqual(['passed', manifest.uncounted]);
    expect(drillToMarkdown(report)).toContain('| db.t | 01 | nobody counted what was restored |');
  });

  it('what was left out is named, and is no failure', () => {
    const leftOut = [{ ...NAME, why: 'the engine Kafka consumes by itself' }];
    const report = buildDrillReport(facts({ recovery: recovery({ leftOut }) }));
    expect([report.outcome, report.leftOut, report.lost]).toEqual(['passed', leftOut, { rows: 0, tables: [] }]);
    expect(drillToMarkdown(report)).toContain('| db.t | 01 | the engine Kafka consumes by itself |');
  });

  it('skipped and aborted are neither good nor failed', () => {
    const nothing = { recovery: null, measured: null };
    expect(outcome({ ...nothing, skipped: problem('RECOVERY_RUNNING', 'r') })).toEqual(['skipped', 'RECOVERY_RUNNING']);
    expect(outcome({ ...nothing, aborted: true })).toEqual(['aborted', 'REJECTED']);
  });

  it('its exit code is that of its first problem', () => {
    const code = (change: Partial<DrillFacts>) => drillExitCode(buildDrillReport(facts(change)));
    expect(code({ problem: problem('DRILL_TARGET_UNSAFE', 'x') })).toBe(3);
    expect(code({ problem: problem('BACKUP_UNKNOWN', 'x') })).toBe(2);
    expect(code({ recovery: recovery({ rtoSeconds: 99 }) })).toBe(1);
  });
});

describe('the list of drills', () => {
  const at = (day: number, change: Partial<DrillReport> = {}): DrillReport => ({
    ...buildDrillReport(facts({ startedAt: START + day * 86_400_000, finishedAt: START + day * 86_400_000 })),
    ...{ outcome: 'passed', problems: [] },
    ...change,
  });
  const reports = [
    at(4, { rtoSeconds: 45 }),
    at(3, { outcome: 'skipped', rtoSeconds: null, rpo: null, problems: [problem('RECOVERY_RUNNING', 'x')] }),
    at(2, { rtoSeconds: 20, outcome: 'failed', problems: [problem('DRILL_DATA_MISSING', 'x')] }),
    at(1, { rtoSeconds: 40 }),
    at(0, { rtoSeconds: 30 }),
  ];

  it('says of each how its RTO stands to the median of those before', () => {
    expect(drillLines(reports).map(({ trend }) => trend)).toEqual(['+50 %', '', '−43 %', '+33 %', '']);
  });

  it('says first how long the last good one is ago', () => {
    const text = drillListText(reports, START + 5 * 86_400_000);
    expect(text[0]).toBe('last good drill: 24 h ago');
    expect(text[3]).toMatch(/^2026-11-26 12:00:00 {2}failed {4}RTO 20 s \(−43 %\) .*DRILL_DATA_MISSING$/);
    expect(drillListText([], START)).toEqual(['there was no good drill']);
  });

  it.each([
    [null, '–'],
    [7.25, '7.3 s'],
    [150, '3 min'],
    [9_000, '2.5 h'],
    [864_000, '10 d'],
  ])('%s s is %s', (seconds, expected) => {
    expect(duration(seconds)).toBe(expected);
  });
});

it('a report for people: what the cluster called its tables breaks nothing', () => {
  const lacking = [{ ...table, table: 'a|b\u001b[2J<script>' }];
  const text = drillToMarkdown(buildDrillReport(facts({ measured: measured({ lacking, tablesLost: 1 }) })));
  expect(text).toMatch(/^# Drill of prod: failed\n\n\*\*DRILL_DATA_MISSING\*\*/);
  expect(text).toContain('RTO: 30 s, objective 60 s');
  expect(text).not.toContain('\u001b');
  expect(text).not.toContain('<script>');
});

it('the name of a view is none that recovery.yaml can have', () => {
  expect(parseDrillView(drillView('prod', 'scratch'))).toEqual({ source: 'prod', target: 'scratch' });
  expect(parseDrillView('prod')).toBe(null);
});

it.each([
  [{}],
  [{ cluster: '' }],
  [{ cluster: 'a', target: 'prod' }],
  [{ cluster: 'a', backup: '../x' }],
  ['prod'],
  [{ cluster: 'a\u202e' }],
])('refuses the request %j', (value) => {
  expect(() => parseDrillRequest(value)).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }) as Error);
});

describe('a table that should have been restored otherwise', () => {
  it.each<[string, Parameters<typeof isLost>[0], boolean]>([
    ['older than the backup, not restored', { restored: undefined, since: 900, filledSince: 900, taken: 1_000 }, true],
    ['made since', { restored: undefined, since: 1_100, filledSince: 1_100, taken: 1_000 }, false],
    ['not restored, nobody knows when', { restored: undefined, since: 1_100, filledSince: 1_100, taken: NaN }, true],
    ['had rows, restored without any', { restored: { rows: 0 }, since: 800, filledSince: 900, taken: 1_000 }, true],
    ['empty then, filled since', { restored: { rows: 0 }, since: 800, filledSince: 1_100, taken: 1_000 }, false],
    ['empty still', { restored: { rows: 0 }, since: 800, filledSince: Infinity, taken: 1_000 }, false],
    ['empty, nobody knows when', { restored: { rows: 0 }, since: 800, filledSince: Infinity, taken: NaN }, false],
    ['restored with rows', { restored: { rows: 5 }, since: 800, filledSince: 900, taken: 1_000 }, false],
    ['a view', { restored: { rows: null }, since: 800, filledSince: Infinity, taken: 1_000 }, false],
  ])('%s', (_name, table, expected) => {
    expect(isLost(table)).toBe(expected);
  });
});
