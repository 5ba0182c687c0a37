import { describe, expect, it } from 'vitest';
import { chooseAuthority, contains, type Candidate, type PartRef } from '../../src/domain/authority.js';

function part(name: string, hash: string, rows = 10): PartRef {
  const [partitionId = '', min, max, level] = name.split('_');
  return { name, partitionId, minBlock: Number(min), maxBlock: Number(max), level: Number(level), rows, hash };
}

function candidate(replica: string, parts: PartRef[], known = true): Candidate {
  return {
    replica,
    digest: {
      parts: parts.length,
      rows: parts.reduce((sum, ref) => sum + ref.rows, 0),
      digest:
        parts
          .map((ref) => `${ref.hash}${ref.rows}`)
          .sort()
          .join() || '0',
    },
    parts: known ? parts : null,
  };
}

const a = part('all_0_0_0', 'a');
const b = part('all_1_1_0', 'b');
const c = part('all_2_2_0', 'c');
const twin = part('all_1_1_0', 'a');
const merged = part('all_0_1_1', 'ab', 20);

describe('who goes first', () => {
  it.each<[row: string, candidates: Candidate[], authority: string | null]>([
    ['no replica at all', [], null],
    ['one replica', [candidate('r1', [a])], 'r1'],
    ['equal replicas: the first by name', [candidate('r2', [a, b]), candidate('r1', [b, a])], 'r1'],
    ['equal replicas, no part lists', [candidate('r2', [a, b], false), candidate('r1', [b, a], false)], 'r1'],
    ['equal hashes under other names', [candidate('r2', [part('all_7_7_0', 'a')]), candidate('r1', [a])], 'r1'],
    ['all replicas are empty', [candidate('r2', []), candidate('r1', [])], 'r1'],
    ['the superset by hash', [candidate('r1', [a]), candidate('r2', [a, b])], 'r2'],
    ['the superset by hash, first', [candidate('r1', [a, b]), candidate('r2', [b])], 'r1'],
    ['a merge covers its sources', [candidate('r1', [merged, c]), candidate('r2', [a, b])], 'r1'],
    [
      'as many rows: the merged one or its sources, both will do',
      [candidate('r1', [merged]), candidate('r2', [a, b])],
      'r1',
    ],
    ['the sources of a merge count as it', [candidate('r1', [merged]), candidate('r2', [a, b, c])], 'r2'],
    ['one source of two is not the merged part', [candidate('r1', [merged]), candidate('r2', [a, c])], null],
    [
      'a merge in another partition covers nothing',
      [candidate('r1', [part('p_0_9_3', 'x', 90)]), candidate('r2', [a])],
      null,
    ],
    ['equal bytes in another partition', [candidate('r1', [part('p_0_0_0', 'a')]), candidate('r2', [a, b])], null],
    ['one replica is empty', [candidate('r1', []), candidate('r2', [a])], 'r2'],
    ['more rows, but not all of them', [candidate('r1', [a, b, part('all_3_3_0', 'd')]), candidate('r2', [c])], null],
    ['three replicas', [candidate('r1', [a]), candidate('r2', [a, b, c]), candidate('r3', [c])], 'r2'],
    [
      'three replicas, one of them empty',
      [candidate('r1', []), candidate('r2', [a, b]), candidate('r3', [merged, c])],
      'r3',
    ],
    [
      'three replicas, no one has all',
      [candidate('r1', [a, b]), candidate('r2', [b, c]), candidate('r3', [a, c])],
      null,
    ],
    ['twins: two are more than one', [candidate('r1', [a]), candidate('r2', [a, twin])], 'r2'],
    ['twins on one side, another part on the other', [candidate('r1', [a, twin]), candidate('r2', [a, c])], null],
    [
      'a Replacing merge has fewer rows than its sources: one source is not it',
      [candidate('r1', [part('all_0_0_0', 'old', 10)]), candidate('r2', [part('all_0_1_1', 'new', 10)])],
      'r2',
    ],
    ['an unknown part list is not an empty one', [candidate('r1', [a, b]), candidate('r2', [c], false)], null],
    ['both part lists unknown, digests differ', [candidate('r1', [a, b], false), candidate('r2', [c], false)], null],
    ['an empty replica needs no part list', [candidate('r1', [a, b]), candidate('r2', [], false)], 'r1'],
  ])('%s', (_row, candidates, authority) => {
    expect(chooseAuthority(candidates).authority).toBe(authority);
    expect(chooseAuthority(candidates.toReversed()).authority, 'in the other order').toBe(authority);
  });

  it('says whether all are equal', () => {
    expect(chooseAuthority([candidate('r1', [a]), candidate('r2', [a])])).toEqual({ authority: 'r1', equal: true });
    expect(chooseAuthority([candidate('r1', [a]), candidate('r2', [])])).toEqual({ authority: 'r1', equal: false });
  });

  it.each<[row: string, candidates: Candidate[], difference: [replica: string, onlyThere: string[]][]]>([
    [
      'two replicas',
      [candidate('r1', [a, b]), candidate('r2', [a, c])],
      [
        ['r1', ['all_1_1_0']],
        ['r2', ['all_2_2_0']],
      ],
    ],
    [
      'three replicas, two of them equal',
      [candidate('r1', [a, b]), candidate('r2', [a, b]), candidate('r3', [c])],
      [
        ['r1', ['all_0_0_0', 'all_1_1_0']],
        ['r2', ['all_0_0_0', 'all_1_1_0']],
        ['r3', ['all_2_2_0']],
      ],
    ],
    [
      'merged and diverged',
      [candidate('r1', [merged]), candidate('r2', [a, c])],
      [
        ['r1', ['all_0_1_1']],
        ['r2', ['all_2_2_0']],
      ],
    ],
  ])('names exactly what only one of them has: %s', (_row, candidates, difference) => {
    expect(chooseAuthority(candidates)).toEqual({
      authority: null,
      difference: expect.arrayContaining(difference.map(([replica, onlyThere]) => ({ replica, onlyThere }))) as unknown,
    });
  });

  it('keeps the difference of a million parts short', () => {
    const many = Array.from({ length: 500 }, (_, i) => part(`all_${i + 10}_${i + 10}_0`, `h${i}`));
    const decision = chooseAuthority([candidate('r1', many), candidate('r2', [a])]);
    expect(JSON.stringify(decision).length).toBeLessThan(2_000);
  });
});

describe('whether the rows of a part are there', () => {
  it.each<[row: string, parts: PartRef[], wanted: PartRef, expected: boolean]>([
    ['nothing there', [], a, false],
    ['the same bytes', [part('all_9_9_0', 'a')], a, true],
    ['the same hash, other rows', [part('all_9_9_0', 'a', 11)], a, false],
    ['a later merge of it', [merged], a, true],
    ['a merge that ends before it', [merged], c, false],
    ['a wider part of the same level', [part('all_0_1_0', 'w', 20)], a, false],
    ['both sources', [a, b], merged, true],
    ['one source', [a], merged, false],
    ['sources in two steps', [part('all_0_1_1', 'ab', 20), c], part('all_0_2_2', 'abc', 30), true],
    ['sources that reach beyond it', [a, part('all_1_2_1', 'bc', 20)], merged, false],
  ])('%s', (_row, parts, wanted, expected) => {
    expect(contains(parts, wanted)).toBe(expected);
  });
});
