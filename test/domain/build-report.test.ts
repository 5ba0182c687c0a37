import { describe, expect, it } from 'vitest';
import {
  buildReport,
  decideOutcome,
  emptyStages,
  unitKey,
  type ReportInput,
  type UnitResult,
} from '../../src/domain/build-report.js';
import { ERRORS, problem, type ErrorCode } from '../../src/domain/errors.js';
import type { UnitProgress } from '../../src/domain/messages.js';
import type { Action, Plan, PlanItem } from '../../src/domain/plan.js';
import { reportSchema } from '../../src/domain/report-schema.js';

function item(table: string, action: Action, change: Partial<PlanItem> = {}): PlanItem {
  return {
    ...{
      database: 'db',
      table,
      node: { name: 'a', shard: '01', replica: 'r1' },
      action,
      authority: true,
      replicated: true,
    },
    ...{ method: 'restore-replica', standing: true, fetches: null },
    ...{
      situation: 'keeper-metadata-lost',
      expected: { parts: 3, rows: 30, digest: '33' },
      keeperPath: null,
      uuid: 'u',
    },
    ...{ statements: [], rebuildRefusal: null },
    ...change,
  };
}

function result(state: UnitProgress['state'], code?: ErrorCode): UnitResult {
  return {
    ...{
      state,
      rowsFound: 30,
      partsFound: 3,
      rowsExpected: 30,
      partsExpected: 3,
      detachedLeft: 0,
      evidence: 'e',
      activation: '',
    },
    ...(code ? { problem: problem(code, code) } : {}),
  };
}

function plan(items: PlanItem[], refusals: ErrorCode[] = []): Plan {
  return {
    ...{ cluster: 'prod', hash: 'h', backup: null, nodes: [], items, keeperState: [], warnings: [] },
    refusals: refusals.map((code) => problem(code, code)),
  };
}

const lost = item('t', 'restore-replica');
const other = item('u', 'restore-from-backup');
const fine = item('v', 'none', { situation: 'healthy' });
const refused = item('w', 'needs-operator', { problem: problem('REPLICAS_DIVERGED', 'diverged') });

type Input = Parameters<typeof decideOutcome>[0];

function input(items: PlanItem[] | null, results: [PlanItem, UnitResult][] = [], change: Partial<Input> = {}): Input {
  return {
    plan: items && plan(items),
    results: new Map(results.map(([whose, each]) => [unitKey(whose), each])),
    aborted: false,
    problem: null,
    ...change,
  };
}

describe('how a recovery ended', () => {
  it.each<[row: string, input: Input, outcome: string, code?: ErrorCode]>([
    [
      'everything is done',
      input(
        [lost, other, fine],
        [
          [lost, result('done')],
          [other, result('done')],
        ],
      ),
      'succeeded',
    ],
    ['nothing was wrong', input([fine]), 'nothing-to-do'],
    ['an empty cluster', input([]), 'nothing-to-do'],
    [
      'nothing was wrong, but the plan is refused',
      input(null, [], { plan: plan([fine], ['DATA_LOST_NO_BACKUP']) }),
      'needs-operator',
      'DATA_LOST_NO_BACKUP',
    ],
    [
      'everything is done, but the plan is refused',
      input(null, [[lost, result('done')]], { plan: plan([lost], ['WRONG_MACROS']) }),
      'needs-operator',
      'WRONG_MACROS',
    ],
    ['no plan', input(null), 'failed'],
    ['no results', input([lost]), 'failed'],
    ['one result is missing', input([lost, other], [[lost, result('done')]]), 'failed'],
    ['a result of another table', input([lost], [[other, result('done')]]), 'failed'],
    [
      'a result of another node',
      input([lost], [[item('t', 'none', { node: { name: 'b', shard: '01', replica: 'r1' } }), result('done')]]),
      'failed',
    ],
    ['still waiting', input([lost], [[lost, result('waiting')]]), 'failed'],
    ['still validating', input([lost], [[lost, result('validate')]]), 'failed'],
    [
      'one failed, a person decides',
      input(
        [lost, other],
        [
          [lost, result('done')],
          [other, result('failed', 'DISK_FULL')],
        ],
      ),
      'needs-operator',
      'DISK_FULL',
    ],
    [
      'one failed for good',
      input(
        [lost, other],
        [
          [lost, result('failed', 'VERIFY_FAILED')],
          [other, result('done')],
        ],
      ),
      'failed',
      'VERIFY_FAILED',
    ],
    [
      'failed for good comes before a person decides',
      input(
        [lost, other],
        [
          [lost, result('failed', 'DISK_FULL')],
          [other, result('failed', 'VERIFY_FAILED')],
        ],
      ),
      'failed',
      'VERIFY_FAILED',
    ],
    ['failed without a reason', input([lost], [[lost, result('failed')]]), 'failed'],
    [
      'failed comes before refused',
      input([lost, refused], [[lost, result('failed', 'VERIFY_FAILED')]]),
      'failed',
      'VERIFY_FAILED',
    ],
    [
      'all done but one is refused',
      input([lost, refused], [[lost, result('done')]]),
      'needs-operator',
      'REPLICAS_DIVERGED',
    ],
    ['only refused ones', input([refused]), 'needs-operator', 'REPLICAS_DIVERGED'],
    [
      'a refused one whose result says done',
      input([refused], [[refused, result('done')]]),
      'needs-operator',
      'REPLICAS_DIVERGED',
    ],
    [
      'one was skipped',
      input(
        [lost, other],
        [
          [lost, result('done')],
          [other, result('skipped')],
        ],
      ),
      'needs-operator',
    ],
    [
      'a problem of the run',
      input([lost], [[lost, result('done')]], { problem: problem('KEEPER_UNAVAILABLE', 'x') }),
      'failed',
      'KEEPER_UNAVAILABLE',
    ],
    [
      'a problem that a person decides',
      input([lost], [[lost, result('done')]], { problem: problem('FENCE_BYPASSED', 'x') }),
      'needs-operator',
      'FENCE_BYPASSED',
    ],
    ['aborted', input([lost], [[lost, result('done')]], { aborted: true }), 'aborted'],
    [
      'aborted before there was a plan',
      input(null, [], { aborted: true, problem: problem('REJECTED', 'x') }),
      'aborted',
      'REJECTED',
    ],
    ['done, but fewer rows than expected', input([lost], [[lost, { ...result('done'), rowsFound: 29 }]]), 'failed'],
  ])('%s', (_row, given, outcome, code) => {
    const decided = decideOutcome(given);
    expect([decided.outcome, decided.problem?.code]).toEqual([outcome, code]);
  });

  it('is never a success unless every piece of work is done', () => {
    const states: (UnitProgress['state'] | null)[] = [
      null,
      'waiting',
      'restore-data',
      'verify-parts',
      'restore-replica',
      'validate',
      'done',
      'failed',
      'skipped',
    ];
    const actions: Action[] = [
      'none',
      'restore-replica',
      'rebuild-from-clone',
      'restore-from-backup',
      'recreate-and-fetch',
      'create-object',
      'needs-operator',
    ];
    for (const first of actions)
      for (const second of actions)
        for (const one of states)
          for (const two of states)
            for (const aborted of [false, true])
              for (const code of [null, ...(Object.keys(ERRORS) as ErrorCode[]).slice(0, 12)]) {
                const items = [item('t', first), item('u', second)] as const;
                const results: [PlanItem, UnitResult][] = [];
                if (one) results.push([items[0], result(one)]);
                if (two) results.push([items[1], result(two)]);
                const run = { aborted, problem: code && problem(code, 'x') };
                const { outcome } = decideOutcome(input([...items], results, run));
                const settled = (action: Action, state: string | null) =>
                  action === 'none' || (action !== 'needs-operator' && state === 'done');
                const clean = !aborted && code === null && one !== 'failed' && two !== 'failed';
                if (outcome === 'succeeded') expect(clean && settled(first, one) && settled(second, two)).toBe(true);
                if (outcome === 'nothing-to-do') expect(clean && first === 'none' && second === 'none').toBe(true);
              }
  });
});

describe('the report', () => {
  function report(change: Partial<ReportInput> = {}) {
    return buildReport({
      ...{
        recoveryId: 'r',
        request: { cluster: 'prod' },
        approvedBy: 'me',
        stages: emptyStages(),
        fence: 'lifted',
        warnings: ['w'],
      },
      ...input([lost, fine, refused], [[lost, { ...result('done'), detachedLeft: 2 }]]),
      ...{ startedAt: Date.UTC(2026, 10, 24, 10), finishedAt: Date.UTC(2026, 10, 24, 10, 1, 30, 149) },
      ...change,
    });
  }
  const saved = (takenAt: string): Plan => ({
    ...plan([other]),
    backup: { repository: 'nightly', name: '1', takenAt, evidence: 'manifest' },
  });

  it('is of its schema, and says how every table ended', () => {
    const made = report();
    expect(reportSchema.parse(JSON.parse(JSON.stringify(made)))).toEqual(made);
    expect(made.tables.map(({ table, outcome }) => [table, outcome])).toEqual([
      ['t', 'recovered'],
      ['v', 'unchanged'],
      ['w', 'failed'],
    ]);
    expect(made.rtoSeconds).toBe(90.1);
    expect(made.rpo).toBeNull();
    expect(made.unrecovered).toEqual([{ database: 'db', table: 'w', shard: '01', reason: 'diverged' }]);
    expect(made.warnings.join()).toContain('2 parts stand in detached/ of 1 tables');
  });

  it.each<[state: UnitProgress['state'] | null, outcome: string]>([
    [null, 'skipped'],
    ['waiting', 'skipped'],
    ['restore-replica', 'skipped'],
    ['skipped', 'skipped'],
    ['failed', 'failed'],
    ['done', 'recovered'],
  ])('a table whose unit is %s counts as %s', (state, outcome) => {
    const made = report(input([lost], state ? [[lost, result(state)]] : []));
    expect(made.tables[0]?.outcome).toBe(outcome);
    expect(made.unrecovered).toHaveLength(outcome === 'recovered' ? 0 : 1);
  });

  it.each<[row: string, takenAt: string, rpo: unknown]>([
    ['an hour before', '2026-11-24T09:00:00.000Z', { restoredFrom: '1', ageSeconds: 3600 }],
    ['a clock that is ahead', '2026-11-24T11:00:00.000Z', { restoredFrom: '1', ageSeconds: 0 }],
    ['unknown', '', null],
    ['no time at all', 'yesterday', null],
  ])('what may be missing since the backup: %s', (_row, takenAt, rpo) => {
    const made = report({ plan: saved(takenAt) });
    expect(made.rpo).toEqual(rpo);
    expect(() => reportSchema.parse(JSON.parse(JSON.stringify(made)))).not.toThrow();
  });

  it('stands without a plan', () => {
    const made = report({ plan: null, problem: problem('NODE_UNAVAILABLE', 'x'), results: new Map() });
    expect(made).toMatchObject({
      outcome: 'failed',
      plan: { hash: '' },
      tables: [],
      problem: { code: 'NODE_UNAVAILABLE' },
    });
  });
});

describe('what the report has of its surroundings', () => {
  const full = (change: Partial<ReportInput>): ReportInput => ({
    ...{ recoveryId: 'r', request: { cluster: 'prod' }, approvedBy: '', fence: 'lifted' },
    ...{ plan: plan([lost]), results: new Map([[unitKey(lost), result('done')]]), stages: emptyStages() },
    ...{ startedAt: 1_000, finishedAt: 11_000, aborted: false, problem: null, warnings: [] },
    ...change,
  });

  it('objectives, and where each table was when; neither where there is none', () => {
    const bare = buildReport(full({}));
    expect([bare.objectives, bare.tables[0]?.timeline]).toEqual([undefined, undefined]);
    const objectives = { rtoSeconds: 60, rpoSeconds: 3_600 };
    const timelines = new Map([[unitKey(lost), [{ stage: 'restore-replica' as const, from: 2_000, to: 4_500 }]]]);
    const report = buildReport(full({ objectives, timelines }));
    expect(report.objectives).toEqual(objectives);
    expect(report.tables[0]?.timeline).toEqual([['restore-replica', 1, 3.5]]);
    expect(reportSchema.parse(report)).toEqual(report);
  });
});
