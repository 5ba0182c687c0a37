import { describe, expect, it } from 'vitest';
import { problem } from '../../src/domain/errors.js';
import { hasWork, nothingToDo } from '../../src/domain/plan.js';
import { batchesAtOnce, BATCH_TABLES, isLarge, splitPlan, summaryOf } from '../../src/domain/stored-plan.js';
import { addTallies, MAX_FAILURES, NO_TALLY, tallyOf, type TalliedUnit } from '../../src/domain/tally.js';
import { beside, N1, N2, planOf, refused, table, view } from '../workflow/fakes.js';

const OTHER = { name: 'n3', shard: '02', replica: 'r1' };
const many = (count: number, make: (name: string) => ReturnType<typeof table>[]) =>
  Array.from({ length: count }, (_, index) => make(`t${index}`)).flat();

describe('a plan in pieces', () => {
  it('is for plans of many units, or of much SQL', () => {
    expect(isLarge(planOf(many(200, (name) => [table(name)])), 100)).toBe(false);
    expect(isLarge(planOf(many(201, (name) => [table(name)])), 100)).toBe(true);
    expect(isLarge(planOf([table('a')]), 200_000)).toBe(true);
  });

  it('keeps all replicas of a table together, objects after tables, and what has no work at the end', () => {
    const items = [
      ...many(BATCH_TABLES + 1, (name) => [table(name), table(name, N2, { authority: false })]),
      view('v'),
      ...many(3, (name) => [beside(name, OTHER)]),
      table('well', N1, { action: 'none' }),
      refused('lost', 'DATA_LOST_NO_BACKUP'),
    ];
    const plan = planOf(items);
    const { pieces, stored } = splitPlan(plan);
    expect(pieces.map((piece) => piece.items.length)).toEqual([2 * BATCH_TABLES, 2, 1, 3, 2]);
    expect(stored.shards).toEqual([
      { shard: '01', first: 0, tables: 2, objects: 1, isLive: true },
      { shard: '02', first: 3, tables: 1, objects: 0, isLive: true },
    ]);
    const all = pieces.flatMap((piece) => piece.items);
    expect(new Set(all)).toEqual(new Set(items));
    expect(all).toHaveLength(items.length);
    expect(stored).toMatchObject({
      items: items.length,
      work: items.length - 1,
      refused: 1,
      fromBackup: true,
      isBeside: true,
    });
    expect(stored.refusal?.code).toBe('DATA_LOST_NO_BACKUP');
    expect(stored.changed).toEqual(['n1', 'n2', 'n3']);
    expect(stored.situations).toEqual({ 'data-lost': items.length - 4, 'keeper-metadata-lost': 3, 'table-lost': 1 });
  });

  it('is small in a history, and still says whether there is work', () => {
    const plan = planOf(
      many(5_000, (name) => [table(name)]),
      {
        warnings: many(500, (name) => [table(name)]).map(({ table: name }) => `look at ${name}`),
      },
    );
    const ref = { hash: plan.hash, index: 'f'.repeat(64) };
    const summary = summaryOf(plan, { ...splitPlan(plan).stored, ...ref });
    expect(JSON.stringify(summary).length).toBeLessThan(8_192);
    expect(summary.warnings.at(-1)).toBe('480 more warnings are in the stored plan');
    expect([hasWork(summary), nothingToDo(summary)]).toEqual([true, false]);
    const idle = planOf(many(300, (name) => [table(name, N1, { action: 'none' })]));
    const idleSummary = summaryOf(idle, { ...splitPlan(idle).stored, ...ref });
    expect([hasWork(idleSummary), nothingToDo(idleSummary)]).toEqual([false, true]);
  });
});

describe('a tally', () => {
  const found = (state: 'done' | 'failed' | 'skipped' | 'waiting', rowsFound: number | null = 10): TalliedUnit => ({
    ...{ label: state, action: 'restore-replica' },
    result: { state, rowsExpected: 10, rowsFound },
  });
  const broken = (code: 'INTERNAL' | 'REPLICA_ACTIVE'): TalliedUnit => ({
    ...{ label: code, action: 'restore-replica' },
    result: { state: 'failed', rowsExpected: null, rowsFound: null, problem: problem(code, code) },
  });

  it('counts what is done only where its rows are those that were expected', () => {
    expect(tallyOf([found('done'), found('done', 9), found('done', null), found('skipped'), found('waiting')])).toEqual(
      {
        ...NO_TALLY,
        ...{ work: 5, done: 2, skipped: 1 },
      },
    );
    expect(tallyOf([{ label: 'well', action: 'none', result: undefined }])).toEqual(NO_TALLY);
  });

  it('adds up: the failure that decides is the same however the units are divided', () => {
    const units = [broken('REPLICA_ACTIVE'), found('done'), broken('INTERNAL'), broken('REPLICA_ACTIVE')];
    const whole = tallyOf(units);
    expect(whole.problem?.code).toBe('INTERNAL');
    for (let at = 0; at <= units.length; at++)
      expect(addTallies(tallyOf(units.slice(0, at)), tallyOf(units.slice(at)))).toEqual(whole);
  });

  it('names the first failures only', () => {
    const tally = tallyOf(Array.from({ length: 1_000 }, () => broken('INTERNAL')));
    expect([tally.failed, tally.failures.length]).toEqual([1_000, MAX_FAILURES]);
  });
});

it.each([
  [1, 6],
  [2, 6],
  [4, 3],
  [5, 2],
  [100, 2],
])('of %i shards, each has %i batches under way at once', (shards, batches) => {
  expect(batchesAtOnce(shards)).toBe(batches);
});
