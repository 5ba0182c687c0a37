/**
 * A pool of embedded sessions on one data directory. A statement holds its session alone until the
 * engine answers, so one that never returns costs one session and the others still answer.
 */

/** What the pool uses of a chdb `Session`; kept here because `chdb` is an optional peer. */
export interface EngineSession {
  queryAsync(sql: string, options: { format: string }): Promise<{ bytes(): Uint8Array }>;
  close(): void;
}

/** A session and what statements have left on it: the next one changes only what it wants otherwise. */
export interface PooledSession {
  readonly index: number;
  readonly engine: EngineSession;
  /** Query parameters by name (they cannot be unset). */
  readonly parameters: Map<string, string>;
  /** Settings that are not at their defaults. */
  readonly settings: Map<string, string>;
  /** Empty: unknown. */
  database: string;
}

/** Sessions handed out one holder at a time, first come first served. */
export class SessionPool {
  readonly #free: PooledSession[];
  readonly #all: readonly PooledSession[];
  readonly #waiting: ((session: PooledSession) => void)[] = [];

  constructor(engines: readonly EngineSession[]) {
    this.#all = engines.map((engine, index) => ({
      ...{ index, engine, parameters: new Map<string, string>(), settings: new Map<string, string>() },
      database: 'default',
    }));
    this.#free = [...this.#all];
  }

  /** Sessions in use, and callers waiting for one. */
  get load(): { readonly busy: number; readonly waiting: number } {
    return { busy: this.#all.length - this.#free.length, waiting: this.#waiting.length };
  }

  /** Runs `work` with a session of its own, waiting for one if none is free. */
  async use<T>(work: (session: PooledSession) => Promise<T>): Promise<T> {
    const session = await this.#acquire();
    try {
      return await work(session);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(session);
      else next(session);
    }
  }

  /** Closes every session; the engine flushes its tables when the last one goes. */
  close(): void {
    for (const { engine } of this.#all) engine.close();
  }

  #acquire(): Promise<PooledSession> {
    const session = this.#free.shift();
    if (session !== undefined) return Promise.resolve(session);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
