import { describe, expect, it } from 'vitest';
import { inLanes } from '../../src/domain/lanes.js';

describe('work in lanes', () => {
  it('is done so many at once, and answered in order', async () => {
    let [now, most] = [0, 0];
    const work = async (item: number) => {
      most = Math.max(most, ++now);
      await new Promise<void>((resolve) => setImmediate(resolve));
      now--;
      return item * 10;
    };
    expect(await inLanes([1, 2, 3, 4, 5], 2, work)).toEqual([10, 20, 30, 40, 50]);
    expect(most).toBe(2);
  });

  it('begins nothing after a failure, and says so once what has begun has ended', async () => {
    const begun: number[] = [];
    let ended = false;
    let go = () => undefined as void;
    const slow = new Promise<void>((resolve) => (go = resolve));
    const work = async (item: number) => {
      begun.push(item);
      if (item === 1) throw new Error('no');
      await slow;
    };
    const all = inLanes([1, 2, 3, 4], 2, work).finally(() => (ended = true));
    const failed = expect(all).rejects.toThrow('no');
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect([begun, ended]).toEqual([[1, 2], false]);
    go();
    await failed;
    expect(begun).toEqual([1, 2]);
  });
});
