import { describe, expect, it } from 'vitest';
import { comparePartLists, missingParts, partsAgree } from '../../src/domain/inventory.js';

describe('parts that ZooKeeper lists and nobody holds', () => {
  it.each<[row: string, listed: string[], local: string[], missing: string[]]>([
    ['the same', ['all_1_1_0'], ['all_1_1_0'], []],
    ['lost', ['all_1_1_0', 'all_2_2_0'], ['all_1_1_0'], ['all_2_2_0']],
    ['merged since the snapshot', ['all_1_1_0', 'all_2_2_0'], ['all_1_3_1'], []],
    ['mutated since', ['p-1_1_3_1'], ['p-1_1_3_1_7'], []],
    ['merged, and some lost', ['all_1_1_0', 'all_4_4_0'], ['all_1_3_1'], ['all_4_4_0']],
    ['the same blocks of another partition', ['a_1_1_0'], ['b_1_3_1'], ['a_1_1_0']],
    ['covered in part only', ['all_2_5_1'], ['all_1_3_1', 'all_4_4_0'], ['all_2_5_1']],
    ['in the old syntax, merged', ['20200101_20200103_1_1_0'], ['20200101_20200131_1_2_1'], []],
    [
      'in the old syntax, of another month',
      ['20200101_20200103_1_1_0'],
      ['20200201_20200229_1_2_1'],
      ['20200101_20200103_1_1_0'],
    ],
    ['a name that is none', ['nonsense'], ['all_1_1_0'], ['nonsense']],
  ])('%s', (_row, listed, local, missing) => {
    expect(missingParts(listed, local)).toEqual(missing);
  });
});

describe("ZooKeeper's list of a replica's parts and its active ones", () => {
  it.each<[row: string, listed: string[], local: string[], agree: boolean]>([
    ['the same', ['all_1_1_0', 'all_2_2_0'], ['all_2_2_0', 'all_1_1_0'], true],
    ['none', [], [], true],
    ['merged a moment ago: the sources go later', ['all_1_1_0', 'all_2_2_0', 'all_1_2_1'], ['all_1_2_1'], true],
    ['merged without ZooKeeper', ['all_1_1_0', 'all_2_2_0'], ['all_1_2_1'], false],
    ['a part that is not on the disk', ['all_1_1_0', 'all_2_2_0'], ['all_1_1_0'], false],
    ['a part that ZooKeeper does not know', ['all_1_1_0'], ['all_1_1_0', 'all_2_2_0'], false],
    ['mutated in ZooKeeper only', ['all_1_1_0', 'all_1_1_0_7'], ['all_1_1_0'], false],
    ['a merge that the disk lacks', ['all_1_1_0', 'all_2_2_0', 'all_1_2_1'], ['all_1_1_0', 'all_2_2_0'], false],
  ])('%s', (_row, listed, local, agree) => {
    expect(partsAgree(listed, local)).toBe(agree);
  });
});

describe("ZooKeeper's list, read between two looks at the active parts", () => {
  it.each<[row: string, before: string[], listed: string[], after: string[], missing: number, notListed: number]>([
    ['the same', ['all_1_1_0'], ['all_1_1_0'], ['all_1_1_0'], 0, 0],
    ['inserted meanwhile, after the list', ['all_1_1_0'], ['all_1_1_0'], ['all_1_1_0', 'all_2_2_0'], 0, 0],
    [
      'inserted meanwhile, before the list',
      ['all_1_1_0'],
      ['all_1_1_0', 'all_2_2_0'],
      ['all_1_1_0', 'all_2_2_0'],
      0,
      0,
    ],
    ['inserted and not here yet', ['all_1_1_0'], ['all_1_1_0', 'all_2_2_0'], ['all_1_1_0'], 1, 0],
    ['merged meanwhile', ['all_1_1_0', 'all_2_2_0'], ['all_1_2_1'], ['all_1_2_1'], 0, 0],
    ['dropped meanwhile', ['all_1_1_0', 'all_2_2_0'], ['all_1_1_0'], ['all_1_1_0'], 0, 0],
    ['ZooKeeper of an older time', ['all_1_1_0', 'all_2_2_0'], ['all_1_1_0'], ['all_1_1_0', 'all_2_2_0'], 0, 1],
    ['from before a merge', ['all_1_2_1'], ['all_1_1_0', 'all_2_2_0'], ['all_1_2_1'], 0, 1],
    ['from before a drop and an insert', ['all_2_2_0'], ['all_1_1_0'], ['all_2_2_0'], 1, 1],
  ])('%s', (_row, before, listed, after, missingLocally, notListed) => {
    const partsAgree = missingLocally + notListed === 0;
    expect(comparePartLists(before, listed, after)).toEqual({ partsAgree, missingLocally, notListed });
  });
});
