import { RecoveryError } from '../../domain/errors.js';

export interface Limits {
  /** Bytes. A request with 1,000 table patterns of the longest kind has 430 KB. @default 524_288 */
  bodyBytes: number;
  /** Milliseconds for a body to arrive, before anything is done with it. @default 10_000 */
  bodyMs: number;
  /** Requests at once per token; a script that asks for everything once. @default 100 */
  burst: number;
  /** Requests per second and token in the long run. @default 10 */
  perSecond: number;
  /** Milliseconds for one answer, beyond the 10 s that a worker has. @default 30_000 */
  answerMs: number;
  /** Event streams at once: each asks a worker once a second. @default 50, and 5 of one token */
  streams: number;
  streamsPerToken: number;
  /** Milliseconds between two looks of an event stream. @default 1_000 */
  pollMs: number;
  /** Milliseconds that an event stream may last; clients come back by themselves. @default 3_600_000 */
  streamMs: number;
  /**
   * Milliseconds that a connection may be without any progress: a client that does not read what it asked for would keep
   * its place for ever. Longer than an answer takes, and than an event stream is silent. @default 60_000
   */
  silentMs: number;
}

export const DEFAULT_LIMITS: Limits = {
  bodyBytes: 524_288,
  bodyMs: 10_000,
  burst: 100,
  perSecond: 10,
  answerMs: 30_000,
  streams: 50,
  streamsPerToken: 5,
  pollMs: 1_000,
  streamMs: 3_600_000,
  silentMs: 60_000,
};

/** A token bucket for each name. Names are those of tokens, so there are few. */
export class RateLimit {
  private readonly buckets = new Map<string, { left: number; at: number }>();

  constructor(
    private readonly limits: Pick<Limits, 'burst' | 'perSecond'>,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Seconds to wait; 0: go on. */
  take(name: string): number {
    const { burst, perSecond } = this.limits;
    const at = this.now();
    const before = this.buckets.get(name) ?? { left: burst, at };
    const left = Math.min(burst, before.left + ((at - before.at) / 1000) * perSecond);
    this.buckets.set(name, { left: left < 1 ? left : left - 1, at });
    return left < 1 ? Math.ceil((1 - left) / perSecond) : 0;
  }
}

/** Places for event streams. All of them end when the server stops. */
export class StreamSlots {
  private readonly open = new Map<AbortController, string>();
  private stopped = false;

  constructor(private readonly limits: Pick<Limits, 'streams' | 'streamsPerToken'>) {}

  /** Throws RATE_LIMITED where there is none. Give it back with `leave`. */
  enter(name: string): AbortController {
    const ofName = [...this.open.values()].filter((each) => each === name).length;
    if (this.stopped || this.open.size >= this.limits.streams || ofName >= this.limits.streamsPerToken)
      throw new RecoveryError('RATE_LIMITED', `too many event streams are open (${ofName} of this token)`);
    const controller = new AbortController();
    this.open.set(controller, name);
    return controller;
  }

  leave(controller: AbortController): void {
    this.open.delete(controller);
    controller.abort();
  }

  stop(): void {
    this.stopped = true;
    for (const controller of this.open.keys()) controller.abort();
  }

  get size(): number {
    return this.open.size;
  }
}
