import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { describe, expect, test } from 'vitest';
import { parseArguments } from '../../bench/arguments.js';
import {
  isMet,
  judged,
  NO_RESULTS,
  number,
  targetText,
  withCase,
  type Measured,
  type Target,
} from '../../bench/model.js';
import { computeScale, perTableFigures, scaleMarkdown } from '../../bench/scale.js';
import { sectionOf, spliced, toMarkdown } from '../../bench/table.js';
import { repoRoot } from '../support/tools.js';

const measured: Measured = {
  ...{ case: 'c', what: '1,000 tables', against: 'bare script', ours: 11, other: 10, load: 1.5, figures: {} },
};
const result = (...rows: ReturnType<typeof judged>[]) =>
  withCase(NO_RESULTS, 'c', {
    ...{ at: '2026-01-02T03:04:05.000Z', commit: 'abc', rounds: 2, seconds: 9, rows },
    machine: { cpu: 'x', cores: 2, memoryGb: 8, os: 'Linux', node: '20' },
  });

describe('targets', () => {
  test.each<[Target, number, number | null, boolean, string]>([
    [{ atMostTimes: 1.1 }, 11, 10, true, '≤ 1.10 ×'],
    [{ atMostTimes: 1.1 }, 11.1, 10, false, '≤ 1.10 ×'],
    [{ atMostTimes: 1.1 }, 1, null, false, '≤ 1.10 ×'],
    [{ atLeastTimes: 0.95 }, 95, 100, true, '≥ 0.95 ×'],
    [{ atLeastTimes: 0.95 }, 94, 100, false, '≥ 0.95 ×'],
    [{ timesFaster: 3 }, 10, 30, true, '≥ 3 × faster'],
    [{ timesFaster: 3 }, 10, 29, false, '≥ 3 × faster'],
    [{ atMostMore: 3 }, 5, 2, true, '≤ + 3 s'],
    [{ atMostMore: 3 }, 5.1, 2, false, '≤ + 3 s'],
    [{ atMost: 256 }, 256, null, true, '≤ 256 s'],
    [{ atMost: 256 }, 257, null, false, '≤ 256 s'],
    [{ atLeast: 25 }, 24, null, false, '≥ 25 s'],
  ])('%j: %d against %d', (target, ours, other, met, text) => {
    expect(isMet(target, ours, other)).toBe(met);
    expect(targetText(target)).toBe(text);
  });

  test('a side that failed misses its target, and stays in the table with the reason', () => {
    const row = judged({ ...measured, ours: null, failure: 'not done in 60 s' }, { atMostTimes: 9 });
    expect(row.verdict).toBe('missed');
    const text = toMarkdown(result(row));
    expect(text).toContain('| 1,000 tables | failed | bare script | 10 s | – | ≤ 9.00 × | **missed** |');
    expect(text).toContain('- 1,000 tables, against bare script: not done in 60 s');
  });

  test('one that is missed is listed with its figure', () => {
    const text = toMarkdown(
      result(judged({ ...measured, ours: 15 }, { atMostTimes: 1.1 }), judged(measured, { atMostTimes: 1.1 })),
    );
    expect(text).toContain('- 1,000 tables, against bare script: 1.50 ×, 15 s where the target is ≤ 1.10 ×');
    expect(text).toContain('| 1,000 tables | 11 s | bare script | 10 s | 1.10 | ≤ 1.10 × | met |');
  });
});

test.each([
  [1234.5, '1,235'],
  [100, '100'],
  [12.34, '12.3'],
  [1.005, '1'],
  [0.456, '0.46'],
  [10.04, '10'],
  [0, '0'],
])('%d reads %s', (value, text) => expect(number(value)).toBe(text));

test('a case that is measured again replaces its own rows only', () => {
  const one = result(judged(measured, null));
  const two = withCase(one, 'd', { ...one.cases['c']!, seconds: 1 });
  expect(Object.keys(withCase(two, 'c', { ...one.cases['c']!, rows: [] }).cases)).toEqual(['c', 'd']);
});

describe('arguments', () => {
  test('cases, sizes and rounds', () => {
    expect(parseArguments(['--case', 'plan', '--sizes', '10,20', '--rounds', '3'], ['plan'])).toEqual({
      ...{ quick: false, cases: ['plan'], sizes: [10, 20], rounds: 3, tableOnly: false, jsonFile: null },
    });
  });
  test.each([[['--case', 'x']], [['--sizes', '0']], [['--sizes', 'a']], [['--rounds', '0']], [['--what']], [['more']]])(
    '%j is refused',
    (args) => expect(parseArguments(args, ['plan'])).toBeNull(),
  );
});

test('a text without the marks gets no table', () => {
  expect(spliced('# nothing', 'x')).toBeNull();
  expect(sectionOf('# nothing')).toBeNull();
});

describe('tables in documents are made of bench/results.json', () => {
  const file = join(repoRoot, 'bench/results.json');
  const results = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as typeof NO_RESULTS) : NO_RESULTS;
  test.each([
    ['README.md', toMarkdown(results)],
    ['docs/scale.md', scaleMarkdown(results)],
  ])('%s', async (name, made) => {
    const document = join(repoRoot, name);
    const text = readFileSync(document, 'utf8');
    const options = { ...(await resolveConfig(document)), filepath: document };
    expect(sectionOf(text)).toBe(sectionOf(await format(spliced(text, made) ?? '', options)));
  });
});

describe('scale', () => {
  const measuredRow = judged(
    {
      ...{ ...measured, case: 'restore-replica', what: 'restore replica, 1,000 tables, 1 shard', ours: 12, other: 10 },
      figures: {
        ...{ eventsPerTable: 2, historyBytesPerTable: 300, actionsPerTable: 1, keeperRequestsPerTable: 20 },
        ...{ keeperWritesPerTable: 10, 'cpuMsPerTable keeper': 10, 'cpuMsPerTable temporal': 3 },
        ...{ 'cpuMsPerTable workers': 6, 'meanMs verifyTableParts': 7 },
      },
    },
    null,
  );
  const results = withCase(NO_RESULTS, 'restore-replica', result(measuredRow).cases['c']!);

  test('of the largest run of one shard that got to its end', () => {
    const larger = { ...measuredRow, what: 'restore replica, 5,000 tables, 1 shard', ours: null };
    const other = { ...measuredRow, what: 'restore replica, 9,000 tables, 4 shards' };
    const all = withCase(results, 'restore-replica', result(measuredRow, larger, other).cases['c']!);
    expect(perTableFigures(all)).toMatchObject({
      ...{ tables: 1000, ours: 12, bareMs: 10, events: 2, keeperCpuMs: 10 },
      latencies: { verifyTableParts: 7 },
    });
    expect(perTableFigures(NO_RESULTS)).toBeNull();
  });

  test('nodes work side by side, one ensemble serves all', () => {
    const scale = computeScale(perTableFigures(results)!, { shards: 100, replicas: 3, tables: 10_000 });
    expect(scale).toMatchObject({ units: 3_000_000, events: 6_000_000, actions: 3_000_000, limit: 'ZooKeeper' });
    expect(scale.hours.engines).toBeCloseTo(100 / 3600);
    expect(scale.hours.keeper).toBeCloseTo(30_000 / 3600);
    // 9,000 seconds of CPU in 30,000.
    expect(scale.temporalCores).toBeCloseTo(0.3);
  });
});
