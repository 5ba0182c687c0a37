import { describe, expect, it } from 'vitest';
import { act } from '../../src/activities/advance.js';
import type { Unit } from '../../src/activities/unit.js';

describe('a plain table is filled from its clone', () => {
  const fill = async (
    differing: { id: string; sides: string[]; sameRows: number },
    item: { method: string; replicated: boolean },
  ) => {
    const sent: string[] = [];
    const unit = {
      ...{ name: { database: 'd', table: 't' }, item: { ...item, node: { name: 'n1' } } },
      differingPartitions: async () => [differing],
      send: async (step: string) => void sent.push(step),
    } as unknown as Unit;
    await act(unit, { do: 'replace-partitions' });
    return sent;
  };
  const plain = { method: 'conversion', replicated: false };
  it.each<[string, string[], number, string]>([
    ['what it lacks', ['from'], 0, 'replace-partition'],
    ['what a restarted server merged', ['from', 'to'], 1, 'replace-partition'],
  ])('%s', async (_, sides, sameRows, step) => {
    expect(await fill({ id: '1', sides, sameRows }, plain)).toEqual([step]);
  });
  it.each([[['from', 'to']], [['to']]])('but not over what somebody inserted: %j', async (sides) => {
    const differing = { id: '1', sides, sameRows: 0 };
    await expect(fill(differing, plain)).rejects.toMatchObject({ code: 'FENCE_BYPASSED' });
    // Elsewhere what stands there is held aside first.
    expect(await fill(differing, { method: 'restore-replica', replicated: false })).toHaveLength(1);
  });
});
