import { setTimeout as sleep } from 'node:timers/promises';
import type { Keeper } from '../../ports.js';

interface Clock {
  /** Milliseconds. */
  now(): number;
  sleep(ms: number): Promise<unknown>;
}

/**
 * Requests of a worker to one ensemble, at most so many a second: others use it, too, and a recovery of thousands of
 * tables must not take it down. What was not used is saved up for a second, no longer. First come, first served.
 */
export class KeeperBudget {
  private tokens: number;
  private filledAt: number;
  private last: Promise<void> = Promise.resolve();

  constructor(
    private readonly perSecond: number,
    private readonly clock: Clock = { now: () => performance.now(), sleep },
  ) {
    this.tokens = perSecond;
    this.filledAt = clock.now();
  }

  /** Waits until there is room. What costs more than a second's budget waits until that is full. */
  take(requests: number): Promise<void> {
    if (requests <= 0) return Promise.resolve();
    this.last = this.last.then(() => this.wait(requests));
    return this.last;
  }

  private async wait(requests: number): Promise<void> {
    const wanted = Math.min(requests, this.perSecond);
    for (;;) {
      const now = this.clock.now();
      this.tokens = Math.min(this.perSecond, this.tokens + ((now - this.filledAt) / 1000) * this.perSecond);
      this.filledAt = now;
      if (this.tokens >= wanted) break;
      await this.clock.sleep(Math.ceil(((wanted - this.tokens) / this.perSecond) * 1000));
    }
    this.tokens -= wanted;
  }
}

/** Our own reads. */
export function keeperWithin<Reader extends Keeper>(budget: KeeperBudget, keeper: Reader): Reader {
  const one = async <T>(work: () => Promise<T>): Promise<T> => {
    await budget.take(1);
    return work();
  };
  return {
    ...keeper,
    exists: (path) => one(() => keeper.exists(path)),
    children: (path) => one(() => keeper.children(path)),
    get: (path) => one(() => keeper.get(path)),
  };
}
