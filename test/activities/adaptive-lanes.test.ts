import { describe, expect, it } from 'vitest';
import { AdaptiveLanes } from '../../src/activities/adaptive-lanes.js';

/** A server in simulated time: `latency` tells how long one takes while so many are under way. */
async function widthAfter(count: number, latency: (running: number) => number, start = 4, max = 32) {
  let now = 0;
  let running = 0;
  let most = 0;
  const ends: { at: number; end: () => void }[] = [];
  const lanes = new AdaptiveLanes(start, max, () => now);
  const widths: number[] = [];
  const all = Promise.all(
    Array.from({ length: count }, () =>
      lanes.run(async () => {
        running++;
        most = Math.max(most, running);
        await new Promise<void>((end) => ends.push({ at: now + latency(running), end }));
        running--;
        widths.push(lanes.width);
      }),
    ),
  );
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  await turn();
  while (ends.length > 0) {
    ends.sort((a, b) => a.at - b.at);
    const next = ends.shift()!;
    now = next.at;
    next.end();
    await turn();
  }
  await all;
  const late = widths.slice(-count / 2);
  return { mean: late.reduce((sum, width) => sum + width, 0) / late.length, most };
}

describe('lanes that adapt', () => {
  it('widen while more at once are faster, up to the limit', async () => {
    const { mean, most } = await widthAfter(2_000, () => 10);
    expect(mean).toBeGreaterThan(16);
    expect(most).toBeLessThanOrEqual(32);
  });

  it('stay narrow where the server does one after the other and slows down with a crowd', async () => {
    const { mean } = await widthAfter(2_000, (running) => 10 * running ** 1.3);
    expect(mean).toBeLessThan(8);
  });

  it('run one at least, and go on after a failure', async () => {
    const lanes = new AdaptiveLanes(0, 1);
    await expect(lanes.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await lanes.run(async () => 'next')).toBe('next');
    expect(lanes.width).toBe(1);
  });
});
