import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { RecoveryError } from '../../domain/errors.js';
import type { Keeper, StaleKind } from '../../ports.js';
import type { KeeperCall, KeeperRequest, KeeperResponse } from './keeper-process.js';
import { Outbox } from './outbox.js';
import { DEADLINE_MS, type ClosableKeeper, type KeeperOptions } from './native-keeper.js';

export type { ClosableKeeper, KeeperOptions };

/** For the child to answer first: its errors say more than 'no answer'. */
const GRACE_MS = 500;
const DELETE_MS = 600_000;

type Value = boolean | string | string[] | null;

/**
 * ZooKeeper through the npm client `zookeeper`, in a process of its own. Throws RecoveryError `KEEPER_UNAVAILABLE`.
 *
 * Why a process: the client does not open its sockets with CLOEXEC, so every process that ours starts inherits them. A
 * socket that is closed here but open there stays in our event loop's epoll set under a number that the next socket
 * reuses: the loop spins, and the client gives up each session it opens, for ever. A crash of its C code, or a call of
 * it that blocks, stays there too.
 */
export function createKeeper(options: KeeperOptions): ClosableKeeper {
  let current: KeeperProcess | undefined;

  async function call<T extends Value>(call: KeeperCall['call'], path: string, kind?: StaleKind): Promise<T> {
    if (!current || current.ended) current = new KeeperProcess(options);
    return (await current.ask({ call, path, kind })) as T;
  }

  const keeper: Keeper = {
    exists: (path) => call('exists', path),
    children: (path) => call('children', path),
    get: (path) => call('get', path),
    stamp: (path) => call('stamp', path),
    deleteStale: async (path, kind) => void (await call('deleteStale', path, kind)),
  };
  return {
    ...keeper,
    close: async () => {
      const closing = current;
      current = undefined;
      await closing?.close();
    },
  };
}

class KeeperProcess {
  ended = false;
  readonly #child: ChildProcess;
  readonly #deadlineMs: number;
  readonly #waiting = new Map<number, { resolve: (value: Value) => void; reject: (error: RecoveryError) => void }>();
  readonly #requests = new Outbox<KeeperRequest>((all) => {
    if (this.ended) return;
    this.#child.send(all, (error) => {
      if (error) this.#end();
    });
  });
  #lastId = 0;

  constructor(options: KeeperOptions) {
    this.#deadlineMs = options.deadlineMs ?? DEADLINE_MS;
    const { execArgv, script } = entry();
    this.#child = fork(script, [JSON.stringify(options)], {
      execArgv,
      // Not what the parent's NODE_OPTIONS load, and no secrets of ours.
      env: { PATH: process.env['PATH'] },
      // Errors of the native code are printed; what they mean comes as answers.
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.#child.on('message', (responses: KeeperResponse[]) => responses.forEach((each) => this.#settle(each)));
    this.#child.on('error', () => this.#end());
    this.#child.on('exit', () => this.#end());
    this.#keepAlive(false);
  }

  ask(request: KeeperCall): Promise<Value> {
    const id = ++this.#lastId;
    return new Promise<Value>((resolve, reject) => {
      // A tree of many parts is deleted node by node, each call with its own deadline.
      const deadlineMs = request.call === 'deleteStale' ? DELETE_MS : this.#deadlineMs;
      const timer = setTimeout(
        () => this.#settle({ id, code: 'KEEPER_UNAVAILABLE', message: `ZooKeeper: no answer within ${deadlineMs} ms` }),
        deadlineMs + GRACE_MS,
      );
      const done =
        <A>(settle: (with_: A) => void) =>
        (with_: A) => {
          clearTimeout(timer);
          settle(with_);
        };
      this.#waiting.set(id, { resolve: done(resolve), reject: done(reject) });
      this.#keepAlive(true);
      this.#requests.add({ id, ...request });
    });
  }

  #settle(response: KeeperResponse): void {
    const waiting = this.#waiting.get(response.id);
    if (!waiting) return;
    this.#waiting.delete(response.id);
    if (this.#waiting.size === 0) this.#keepAlive(false);
    if ('value' in response) waiting.resolve(response.value);
    else waiting.reject(new RecoveryError(response.code, response.message));
  }

  /** Only a call in flight keeps our process from exiting. */
  #keepAlive(on: boolean): void {
    if (on) {
      this.#child.ref();
      this.#child.channel?.ref();
    } else {
      this.#child.unref();
      this.#child.channel?.unref();
    }
  }

  #end(): void {
    this.ended = true;
    for (const id of [...this.#waiting.keys()])
      this.#settle({ id, code: 'KEEPER_UNAVAILABLE', message: 'ZooKeeper: the process of the session ended' });
  }

  async close(): Promise<void> {
    const { exitCode, signalCode } = this.#child;
    this.#end();
    if (exitCode !== null || signalCode !== null || this.#child.pid === undefined) return;
    this.#child.ref();
    const exited = once(this.#child, 'exit');
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 3_000);
    await exited;
    clearTimeout(timer);
  }
}

/** The compiled child or, in tests and the demo, its TypeScript. */
function entry(): { execArgv: string[]; script: string } {
  const compiled = fileURLToPath(new URL('./keeper-process.js', import.meta.url));
  if (existsSync(compiled)) return { execArgv: [], script: compiled };
  const tsx = createRequire(import.meta.url).resolve('tsx');
  return { execArgv: ['--import', tsx], script: fileURLToPath(new URL('./keeper-process.ts', import.meta.url)) };
}
