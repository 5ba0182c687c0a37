import { describe, expect, it } from 'vitest';
import { activeParts, lostParts, totals, uncoveredParts, type PartsOnDisk } from '../../src/domain/cold-parts.js';
import { partBlocks } from '../../src/domain/part-name.js';

const parts = (...names: string[]) => names.map((name) => ({ name, rows: 10 }));
const table = (active: string[], rest: Partial<PartsOnDisk> = {}): PartsOnDisk => ({
  ...{ table: 'data/data/shop/orders', active: parts(...active), detached: [], dropped: [] },
  ...rest,
});

describe('partBlocks', () => {
  it.each([
    ['all_1_4_2', { partition: 'all', min: 1, max: 4, level: 2, mutation: 0 }],
    ['202601_1_4_2_7', { partition: '202601', min: 1, max: 4, level: 2, mutation: 7 }],
    ['20260101_20260131_1_4_2', { partition: '202601', min: 1, max: 4, level: 2, mutation: 0 }],
    ['1-2_0_0_0', { partition: '1-2', min: 0, max: 0, level: 0, mutation: 0 }],
    ['detached', null],
    ['mutation_5.txt', null],
  ])('%s', (name, blocks) => expect(partBlocks(name)).toEqual(blocks));
});

describe('activeParts', () => {
  it.each([
    ['merged', ['all_1_1_0', 'all_2_2_0', 'all_1_2_1'], ['all_1_2_1']],
    ['merged twice', ['all_1_2_1', 'all_1_4_2', 'all_3_3_0', 'all_5_5_0'], ['all_1_4_2', 'all_5_5_0']],
    ['mutated', ['all_1_1_0', 'all_1_1_0_3'], ['all_1_1_0_3']],
    ['other partitions', ['202601_1_1_0', '202602_1_1_0'], ['202601_1_1_0', '202602_1_1_0']],
    ['a gap', ['all_1_1_0', 'all_3_3_0'], ['all_1_1_0', 'all_3_3_0']],
    ['no part at all', ['format_version.txt'], []],
  ])('%s', (_name, all, active) => expect(activeParts(parts(...all)).map(({ name }) => name)).toEqual(active));
});

describe('lostParts', () => {
  const before = [table(['all_1_1_0', 'all_2_2_0'], { detached: ['old_1_1_0'] })];
  it.each<[string, PartsOnDisk[], RegExp[]]>([
    ['the same', before, []],
    ['more was written', [table(['all_1_1_0', 'all_2_2_0', 'all_3_3_0'], { detached: ['old_1_1_0'] })], []],
    ['merged', [table(['all_1_2_1'])], []],
    ['one is gone', [table(['all_1_1_0'])], [/part all_2_2_0 \(10 rows\) is missing/]],
    ['the table is gone', [], [/all_1_1_0/, /all_2_2_0/]],
    [
      'other rows',
      [table([], { active: [{ name: 'all_1_1_0', rows: 9 }, ...parts('all_2_2_0')] })],
      [/all_1_1_0 had 10 rows, has 9/],
    ],
    [
      'set aside',
      [table(['all_1_1_0', 'all_2_2_0'], { detached: ['broken_all_9_9_0'] })],
      [/detached\/: broken_all_9_9_0/],
    ],
  ])('%s', (_name, now, expected) => {
    const found = lostParts(before, now);
    expect(found).toHaveLength(expected.length);
    found.forEach((line, i) => expect(line).toMatch(expected[i]!));
  });
  it('does not take a dropped part that the server puts aside for a loss', () => {
    const with_ = [table(['all_1_1_0'], { dropped: ['all_5_5_0'] })];
    expect(lostParts(with_, [table(['all_1_1_0'], { detached: ['ignored_all_5_5_0'] })])).toEqual([]);
  });
  it('gives so many lines and no more', () => {
    const many = [table(Array.from({ length: 50 }, (_, i) => `all_${i * 2 + 1}_${i * 2 + 1}_0`))];
    expect(lostParts(many, []).at(-1)).toBe('and 30 more');
  });
});

it('a part that a live one covers is not dropped, one that none covers is', () => {
  expect(uncoveredParts(['all_1_1_0', '202601_5_5_0'], ['all_1_2_1', '202601_6_6_0'])).toEqual(['202601_5_5_0']);
});

it('totals', () => expect(totals([table(['all_1_1_0', 'all_2_2_0'])])).toEqual({ parts: 2, rows: 20 }));
