import { describe, expect, it } from 'vitest';
import { differingPartitions } from '../../src/domain/partitions.js';

const partition = (id: string, total: string, content: string) => ({ id, total, content });

describe('partitions in which two tables differ', () => {
  it('are those that one of them lacks, and those with other rows or other parts', () => {
    const same = partition('202601', '10', '1 77');
    const from = [partition('b', '5', '1 1'), same, partition('c', '5', '2 8'), partition('a', '5', '1 2')];
    const to = [same, partition('c', '5', '1 9'), partition('d', '1', '1 3'), partition('b', '6', '1 1')];
    expect(differingPartitions(from, to)).toEqual([
      { id: 'a', sides: ['from'], sameRows: false },
      { id: 'b', sides: ['from', 'to'], sameRows: false },
      { id: 'c', sides: ['from', 'to'], sameRows: true },
      { id: 'd', sides: ['to'], sameRows: false },
    ]);
    expect(differingPartitions(from, from)).toEqual([]);
    expect(differingPartitions([], [])).toEqual([]);
  });
});
