/**
 * Starts, stops and kills embedded ClickHouse nodes, each a child process of its own.
 *
 * Works from the compiled package (`server.js`) and from an uncompiled tree (`server.ts`).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';

import { DEFAULT_SESSIONS, type NodeConfig } from './node-config.js';

/** Options of `startEmbeddedNode`; see `NodeConfig` for the others. */
export interface EmbeddedNodeOptions extends Omit<NodeConfig, 'port' | 'passwordEnv' | 'keeperHosts' | 'macros'> {
  /** HTTP port on 127.0.0.1; kept over restarts. @default a free one */
  readonly port?: number;
  readonly keeperHosts?: readonly string[];
  readonly macros?: Readonly<Record<string, string>>;
  /** Reaches the child in its environment, never in its arguments. */
  readonly password?: string;
  /** How long a start may take, in milliseconds; tables load during it. @default 60_000 */
  readonly startTimeoutMs?: number;
}

/** How a node's process ended. */
export interface NodeExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A node that was started; `pid` and `exited` are those of its latest process. */
export interface EmbeddedNode {
  readonly name: string;
  readonly url: string;
  readonly dataDir: string;
  readonly pid: number;
  /** Resolves when the current process has ended. */
  readonly exited: Promise<NodeExit>;
  readonly running: boolean;
  /** SIGTERM, and SIGKILL if the process is still there after 8 s. */
  stop(): Promise<NodeExit>;
  /** SIGKILL: nothing is flushed, as in a power cut of the process. */
  kill(): Promise<NodeExit>;
  /** Starts a process again on the same port and directory; stops one that still runs. */
  restart(): Promise<void>;
}

const PASSWORD_ENV = 'EMBEDDED_NODE_PASSWORD';
const DEFAULT_START_TIMEOUT_MS = 60_000;
/** Above the child's own 5 s, so that its exit code is seen when it can still give one. */
const STOP_TIMEOUT_MS = 8_000;

/**
 * @throws Error with the child's stderr when it does not come up; 'install chdb to run an embedded
 *   node' when the optional peer is missing
 */
export async function startEmbeddedNode(options: EmbeddedNodeOptions): Promise<EmbeddedNode> {
  const node = new ChildNode(options, options.port ?? (await freePort()));
  await node.start();
  return node;
}

class ChildNode implements EmbeddedNode {
  readonly name: string;
  readonly url: string;
  readonly dataDir: string;
  exited: Promise<NodeExit> = Promise.resolve({ code: null, signal: null });
  #child: ChildProcess | undefined;
  readonly #options: EmbeddedNodeOptions;
  readonly #port: number;

  constructor(options: EmbeddedNodeOptions, port: number) {
    this.#options = options;
    this.#port = port;
    this.name = options.name;
    this.dataDir = options.dataDir;
    this.url = `http://127.0.0.1:${port}`;
  }

  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async start(): Promise<void> {
    const child = spawnServer(this.#options, this.#port);
    this.#child = child;
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
      child.once('error', () => resolve({ code: null, signal: null }));
    });
    try {
      await whenReady(child, this.name, this.#options.startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS);
    } catch (cause) {
      await this.kill();
      throw cause;
    }
  }

  async stop(): Promise<NodeExit> {
    if (this.running) this.#child?.kill('SIGTERM');
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), STOP_TIMEOUT_MS);
    return this.exited.finally(() => clearTimeout(timer));
  }

  async kill(): Promise<NodeExit> {
    if (this.running) this.#child?.kill('SIGKILL');
    return this.exited;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }
}

function spawnServer(options: EmbeddedNodeOptions, port: number): ChildProcess {
  const { password, startTimeoutMs: _, ...rest } = options;
  const config: NodeConfig = {
    ...rest,
    port,
    keeperHosts: options.keeperHosts ?? [],
    macros: options.macros ?? {},
    ...(password === undefined ? {} : { passwordEnv: PASSWORD_ENV }),
  };
  return spawn(process.execPath, [...serverArguments(), JSON.stringify(config)], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      ...process.env,
      // A statement holds a thread of libuv's pool until it ends; the rest is for files and gzip.
      UV_THREADPOOL_SIZE: String((options.sessions ?? DEFAULT_SESSIONS) + 4),
      NODE_OPTIONS: '',
      ...(password === undefined ? {} : { [PASSWORD_ENV]: password }),
    },
  });
}

function serverArguments(): string[] {
  const compiled = fileURLToPath(new URL('./server.js', import.meta.url));
  if (existsSync(compiled)) return [compiled];
  const hooks = new URL('./typescript-hooks.mjs', import.meta.url).href;
  return ['--import', hooks, fileURLToPath(new URL('./server.ts', import.meta.url))];
}

/** Resolves at the child's READY line. */
function whenReady(child: ChildProcess, name: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    const fail = (why: string): void => {
      clearTimeout(timer);
      reject(new Error(`embedded node ${name} ${why}: ${stderr.trim()}`));
    };
    const timer = setTimeout(() => fail(`was not ready in ${timeoutMs} ms`), timeoutMs);
    child.stderr?.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-8_192)));
    // Read for ever: a full pipe would block the engine.
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout = (stdout + chunk.toString()).slice(-8_192);
      if (!/^READY /m.test(stdout)) return;
      clearTimeout(timer);
      resolve();
    });
    child.once('error', (cause) => fail(`could not be started (${cause.message})`));
    // 'close' follows the last of stderr, which 'exit' does not.
    child.once('close', (code, signal) => fail(`ended at start (${signal ?? `exit ${code}`})`));
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
