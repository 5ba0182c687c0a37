import { describe, expect, it } from 'vitest';
import { freshness, HEARTBEAT_THROTTLE_MS, pollMs } from '../../src/activities/runtime.js';

describe('how long a process may stand still', () => {
  it.each([1_000, 2_000, 3_000, 10_000, 30_000, 600_000])('with a heartbeat time-out of %i ms', (timeoutMs) => {
    const { tickMs, standstillMs } = freshness(timeoutMs);
    expect(tickMs).toBeLessThanOrEqual(1_000);
    // Or it would be stale while it runs.
    expect(standstillMs).toBeGreaterThan(tickMs);
    // Temporal's last word of it is a tick and what the worker holds back old when it stops.
    const heldBackMs = Math.min(HEARTBEAT_THROTTLE_MS, timeoutMs * 0.8);
    if (timeoutMs > 1_000) expect(tickMs + heldBackMs + standstillMs).toBeLessThan(timeoutMs);
  });

  it.each([
    [2_000, 200, 600],
    [30_000, 1_000, 25_000],
  ])('%i ms: every %i ms, %i ms', (timeoutMs, tickMs, standstillMs) => {
    expect(freshness(timeoutMs)).toEqual({ tickMs, standstillMs });
  });
});

it.each([
  [0, 200],
  [900, 300],
  [600_000, 2_000],
])('after %i ms of waiting, it is looked again %i ms later', (waitedMs, ms) => {
  expect(pollMs(waitedMs)).toBe(ms);
});
