import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import ZooKeeper from 'zookeeper';
import { RecoveryError } from '../../domain/errors.js';
import { tablePathOf } from '../../domain/table-path.js';
import type { Keeper } from '../../ports.js';

export interface KeeperOptions {
  /** `host:port` of each server. */
  hosts: readonly string[];
  /** In milliseconds; the ensemble may shorten it. @default 10_000 */
  sessionTimeoutMs?: number;
  /** A path that all paths are under. */
  chroot?: string;
  /** Milliseconds that one call may take, with connecting and looking again. @default 10_000 */
  deadlineMs?: number;
  /** Milliseconds without a call after which the session is closed. @default 30_000 */
  idleMs?: number;
}

export interface ClosableKeeper extends Keeper {
  /** Ends the session, so that the process can exit. A later call opens another. */
  close(): Promise<void>;
}

export const DEADLINE_MS = 10_000;
const SESSION_TIMEOUT_MS = 10_000;
const IDLE_MS = 30_000;
const PAUSE_BEFORE_RETRY_MS = 100;
/** 0 is no level of the client's constants; its C code takes it for 'print nothing'. */
const SILENT = 0;

const { ZOK, ZNONODE, ZNOTEMPTY, ZNOAUTH, ZAUTHFAILED, ZBADARGUMENTS, ZOO_CONNECTED_STATE } = ZooKeeper.constants;

/**
 * Asks the client once, and returns what the client does: a number that is not ZOK means that it sent nothing and will
 * call nothing. `value` is only to be called when `rc` is ZOK.
 */
type Read<T> = (client: ZooKeeper, done: (rc: number, value: () => T) => void) => unknown;

/**
 * The npm client `zookeeper`. The only write is to delete what is dead (invariant G). Only for a process that starts no
 * other, see zookeeper.ts.
 */
export function createNativeKeeper(options: KeeperOptions): ClosableKeeper {
  const deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  let current: Session | undefined;
  let calls = 0;
  let idleTimer: NodeJS.Timeout | undefined;

  const shared = () => {
    if (!current || current.ended) current = new Session(options, deadlineMs / 3);
    return current;
  };
  async function dispose(session: Session | undefined): Promise<void> {
    if (session && current === session) current = undefined;
    await session?.close();
  }

  /** Reads have no effect, so a lost answer is asked for again until the deadline. */
  async function read<T>(path: string, action: Read<T>): Promise<T | null> {
    checkPath(path);
    clearTimeout(idleTimer);
    calls++;
    const deadline = performance.now() + deadlineMs;
    let reason = 'no connection';
    try {
      for (;;) {
        const leftMs = deadline - performance.now();
        if (leftMs <= 0) throw unavailable(`${reason} within ${deadlineMs} ms`);
        const session = shared();
        const attempt = await session.run(action, leftMs);
        if ('value' in attempt) return attempt.value;
        if (attempt.rc === ZNONODE) return null;
        const refusal = permanent(attempt.rc, path);
        if (refusal) throw refusal;
        reason = attempt.reason;
        if (attempt.sessionIsBad) await dispose(session);
        await delay(Math.max(0, Math.min(PAUSE_BEFORE_RETRY_MS, deadline - performance.now())));
      }
    } finally {
      calls--;
      if (calls === 0) idle();
    }
  }

  /** A session that nobody uses is a connection and, in an outage, an endless reconnecting: end it. */
  function idle(): void {
    clearTimeout(idleTimer);
    idleTimer = setTimeout(() => void dispose(current), options.idleMs ?? IDLE_MS);
    idleTimer.unref();
  }

  const exists = async (path: string) =>
    (await read<boolean>(path, (client, done) => client.a_exists(path, false, (rc) => done(rc, () => true)))) ?? false;
  const children = (path: string): Promise<string[] | null> =>
    read(path, (client, done) => client.a_get_children(path, false, (rc, _error, names) => done(rc, () => names)));

  /** Of the transaction that made the node, and when: another node has another, also under the same path. */
  const stamp = (path: string): Promise<string | null> =>
    read(path, (client, done) => client.a_exists(path, false, (rc, _error, stat) => done(rc, () => stampText(stat))));

  /** From the leaves up. A node that is there again has a living owner: it is not deleted twice. */
  async function deleteTree(path: string): Promise<void> {
    const names = (await children(path)) ?? [];
    // Looked at with the rest: a server may have come back since anybody last asked.
    if (names.includes('is_active')) throw active(path);
    for (const name of names) await deleteTree(`${path}/${name}`);
    await deleteEmpty(path);
  }

  async function deleteEmpty(path: string): Promise<void> {
    const isFull = await read(path, (client, done) =>
      client.a_delete_(path, -1, (rc) => (rc === ZNOTEMPTY ? done(ZOK, () => true) : done(rc, () => false))),
    );
    if (isFull) throw active(path);
  }

  /** Without `replicas` nobody can register, so it goes first, and alone: what is below it is not deleted with it. */
  async function deleteTable(path: string): Promise<void> {
    const { isThere, foreign } = tablePathOf(await children(path));
    if (!isThere) return;
    if (foreign[0] !== undefined) throw active(`${path}/${foreign[0]}`);
    await deleteEmpty(`${path}/replicas`);
    await deleteTree(path);
  }

  return {
    exists,
    children,
    stamp,
    deleteStale: (path, kind) => (kind === 'table' ? deleteTable(path) : deleteTree(path)),
    get: (path) =>
      read(path, (client, done) =>
        client.a_get(path, false, (rc, _error, _stat, data) => done(rc, () => toText(data))),
      ),
    close: async () => {
      clearTimeout(idleTimer);
      await dispose(current);
    },
  };
}

type Attempt<T> = { value: T } | { rc: number; reason: string; sessionIsBad: boolean };

/** One session. It is never revived: what went wrong with it is mended by another. */
class Session {
  ended = false;
  #client: ZooKeeper | undefined;
  readonly #connecting: Promise<string | undefined>;
  #connected: (why: string | undefined) => void = () => undefined;
  readonly #pending = new Set<() => void>();
  /** Of this turn. */
  #synced: { sent: unknown; rc: number } | undefined;

  constructor(options: KeeperOptions, connectMs: number) {
    // The native client can come to rest when the first connect fails at once: no connection in time, a new client.
    const timer = setTimeout(() => this.#connected('no connection'), connectMs);
    this.#connecting = new Promise<string | undefined>((resolve) => {
      this.#connected = resolve;
    }).finally(() => clearTimeout(timer));
    void this.#open(options);
  }

  async #open(options: KeeperOptions): Promise<void> {
    try {
      const addresses = await resolveHosts(options.hosts);
      if (this.ended) return;
      if (addresses.length === 0) return this.#connected('no host name can be resolved');
      const client = new ZooKeeper({
        connect: addresses.join(',') + (options.chroot ?? ''),
        timeout: options.sessionTimeoutMs ?? SESSION_TIMEOUT_MS,
        debug_level: SILENT,
        host_order_deterministic: false,
      });
      this.#client = client;
      // An 'error' event that nobody listens to ends the process.
      client.on('error', () => this.#end());
      client.on('close', () => this.#end());
      client.on('connect', () => this.#connected(undefined));
      client.init({});
    } catch {
      this.#connected('no connection');
    }
  }

  async run<T>(action: Read<T>, leftMs: number): Promise<Attempt<T>> {
    const late = new AbortController();
    const timeout = delay(leftMs, 'late' as const, { signal: late.signal }).catch(() => 'late' as const);
    try {
      const why = await Promise.race([this.#connecting, timeout]);
      // Others may still connect with it in time: their own deadlines are later.
      if (why === 'late') return { rc: ZOK, reason: 'no connection', sessionIsBad: false };
      const client = this.#client;
      if (why !== undefined || !client || this.ended)
        return { rc: ZOK, reason: why ?? 'no connection', sessionIsBad: true };
      // Without a connection the client would keep the request until it has one, past our deadline.
      if (client.state !== ZOO_CONNECTED_STATE) {
        await Promise.race([this.#reconnected(client), timeout]);
        if (this.ended || client.state !== ZOO_CONNECTED_STATE)
          return { rc: ZOK, reason: 'no connection', sessionIsBad: true };
      }
      const answer = await Promise.race([this.#send(client, action), timeout]);
      return answer === 'late' ? { rc: ZOK, reason: 'no answer', sessionIsBad: true } : answer;
    } finally {
      late.abort();
    }
  }

  /** Waits while the client tries the other servers of the ensemble, for as long as a first connect may take. */
  #reconnected(client: ZooKeeper): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        client.off('connect', done);
        this.#pending.delete(done);
        resolve();
      };
      const timer = setTimeout(done, RECONNECT_MS);
      client.on('connect', done);
      this.#pending.add(done);
    });
  }

  #send<T>(client: ZooKeeper, action: Read<T>): Promise<Attempt<T>> {
    return new Promise((resolve) => {
      const settle = (attempt: Attempt<T>) => {
        this.#pending.delete(onEnd);
        resolve(attempt);
      };
      // The client drops the callbacks of an expired session without calling them.
      const onEnd = () => settle({ rc: ZOK, reason: 'the session ended', sessionIsBad: true });
      this.#pending.add(onEnd);
      const sync = this.#sync(client);
      const sent = [
        sync.sent,
        action(client, (rc, value) => {
          const failed = sync.rc === ZOK ? rc : sync.rc;
          settle(
            failed === ZOK
              ? { value: value() }
              : { rc: failed, reason: 'the connection was lost', sessionIsBad: false },
          );
        }),
      ];
      const refused = sent.find((rc) => rc !== ZOK);
      if (refused !== undefined)
        settle({ rc: Number(refused), reason: 'the client is not connected', sessionIsBad: true });
    });
  }

  /**
   * A follower may lag behind, and 'the path is absent' leads to a repair: `sync` goes first on the same connection. Once
   * for all that is asked in one turn of the event loop.
   */
  #sync(client: ZooKeeper): { sent: unknown; rc: number } {
    if (this.#synced) return this.#synced;
    const sync: { sent: unknown; rc: number } = { sent: ZOK, rc: ZOK };
    sync.sent = client.a_sync('/', (rc: number) => (sync.rc = rc)) as unknown;
    this.#synced = sync;
    setImmediate(() => (this.#synced = undefined));
    return sync;
  }

  #end(): void {
    this.ended = true;
    this.#connected('the session ended');
    for (const onEnd of [...this.#pending]) onEnd();
  }

  async close(): Promise<void> {
    if (this.ended) return;
    this.#end();
    // Not from within one of the native client's own callbacks.
    await new Promise((resolve) => setImmediate(resolve));
    this.#client?.close();
  }
}

const RECONNECT_MS = 3_000;

interface NodeStat {
  czxid: unknown;
  ctime: unknown;
}

const stampText = ({ czxid, ctime }: NodeStat) => JSON.stringify([czxid, ctime]);

function active(path: string): RecoveryError {
  return new RecoveryError('REPLICA_ACTIVE', `ZooKeeper: something lives under ${shown(path)}`);
}

function unavailable(reason: string): RecoveryError {
  return new RecoveryError('KEEPER_UNAVAILABLE', `ZooKeeper: ${reason}`);
}

/** The answers that asking again does not change. */
function permanent(rc: number, path: string): RecoveryError | undefined {
  if (rc === ZNOAUTH || rc === ZAUTHFAILED)
    return new RecoveryError('CREDENTIALS_REFUSED', `ZooKeeper does not let us read ${shown(path)}`);
  if (rc === ZBADARGUMENTS) return new RecoveryError('INTERNAL', `ZooKeeper does not take the path ${shown(path)}`);
  return undefined;
}

const shown = (path: string) => JSON.stringify(path.slice(0, 200));

/** The native client cuts a path at NUL, which would make it another path. */
function checkPath(path: string): void {
  const bad = !path.startsWith('/') || (path.length > 1 && path.endsWith('/')) || path.includes('\0');
  if (bad) throw new RecoveryError('INTERNAL', `not a ZooKeeper path: ${shown(path)}`);
}

function toText(data: unknown): string {
  if (typeof data === 'string') return data;
  return data instanceof Uint8Array ? Buffer.from(data).toString('utf8') : '';
}

/** The native client resolves names with a call that blocks the whole process, so it gets addresses. */
async function resolveHosts(hosts: readonly string[]): Promise<string[]> {
  const found = await Promise.all(
    hosts.map(async (host) => {
      const colon = host.lastIndexOf(':');
      const name = host.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
      const port = host.slice(colon + 1);
      if (isIP(name)) return [`${name}:${port}`];
      const addresses = await lookup(name, { all: true }).catch(() => []);
      return addresses.map(({ address }) => `${address}:${port}`);
    }),
  );
  return [...new Set(found.flat())];
}
