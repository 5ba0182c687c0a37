import { describe, expect, it } from 'vitest';
import { act, advance } from '../../src/activities/advance.js';
import { detachedContext } from '../../src/activities/runtime.js';
import type { Looking, Unit } from '../../src/activities/unit.js';
import type { Goal } from '../../src/domain/attempt.js';
import { ServerError } from '../../src/ports.js';

describe('a plain table is filled from its clone', () => {
  const fill = async (
    differing: { id: string; sides: string[]; sameRows: boolean },
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
  it.each<[string, string[], boolean, string]>([
    ['what it lacks', ['from'], false, 'replace-partition'],
    ['what a restarted server merged', ['from', 'to'], true, 'replace-partition'],
  ])('%s', async (_, sides, sameRows, step) => {
    expect(await fill({ id: '1', sides, sameRows }, plain)).toEqual([step]);
  });
  it.each([[['from', 'to']], [['to']]])('but not over what somebody inserted: %j', async (sides) => {
    const differing = { id: '1', sides, sameRows: false };
    await expect(fill(differing, plain)).rejects.toMatchObject({ code: 'FENCE_BYPASSED' });
    // Elsewhere what stands there is held aside first.
    expect(await fill(differing, { method: 'restore-replica', replicated: false })).toHaveLength(1);
  });
});

describe('whether a statement of ours still runs', () => {
  it('is asked until none does, and again after each error', async () => {
    const parts = { parts: 1, rows: 10, digest: '7' };
    const asked: boolean[] = [];
    let made = 0;
    const unit = {
      ...{ name: { database: 'd', table: 't' }, item: { node: { name: 'n1' } }, has: () => false },
      observe: async (_: boolean, { isAlone }: Looking) => {
        asked.push(!isAlone);
        return {
          ...{ running: null, keeper: null, making: null, held: null, next: null, blocks: 1, embedded: true },
          table: { state: 'replicated', parts, readonly: true, sessionExpired: false },
          ...{ clone: made > 1 ? parts : null, keeperParts: 0 },
        };
      },
      send: async () => {
        if (++made === 1) throw new ServerError(999, 'lost', 'n1');
      },
    } as unknown as Unit;
    const goal = {
      ...{ replicated: true, source: 'table', method: 'restore-replica', standing: true, fetches: null },
      ...{ rebuildRefusal: null, closed: false, statementDeadlineSeconds: 5, sessionTimeoutSeconds: 5 },
    } as Goal;
    await advance(unit, detachedContext(), goal, true, 'clone');
    expect(asked).toEqual([true, true, false]);
  });
});

describe('what ZooKeeper lists of the parts', () => {
  it.each([
    ['restore-replica', true],
    ['conversion', false],
  ])('%s: compared with those on the disk before a step is chosen: %s', async (method, compared) => {
    const asked: (boolean | undefined)[] = [];
    const parts = { parts: 1, rows: 10, digest: '7' };
    const unit = {
      ...{ name: { database: 'd', table: 't' }, item: { node: { name: 'n1' } } },
      observe: async (_: boolean, { comparesParts }: Looking) => {
        asked.push(comparesParts);
        return { running: null, clone: parts };
      },
    } as unknown as Unit;
    await advance(unit, detachedContext(), { method } as Goal, false, 'clone');
    expect(asked).toEqual([compared]);
  });
});
