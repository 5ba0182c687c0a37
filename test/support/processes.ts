import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { findOnPath } from './tools.js';

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A child process of ours. It never outlives this process. */
export interface Child {
  /** For messages: 'zookeeper-2'. */
  readonly name: string;
  readonly pid: number;
  /** Standard output and error, appended over restarts. */
  readonly logFile: string;
  readonly exited: Promise<Exit>;
  isRunning(): boolean;
  /** Sends a signal to this process alone; does nothing once it has ended. */
  signal(signal: NodeJS.Signals): void;
  /** The last lines of its log. */
  logTail(lines?: number): string;
}

export interface StartOptions {
  name: string;
  command: string;
  args?: readonly string[];
  /** Where standard output and error go. */
  logFile: string;
  cwd?: string;
  /** Added to this process's environment. */
  env?: NodeJS.ProcessEnv;
}

const running = new Set<Child>();
let exitHookIsSet = false;

/**
 * Kills what is left when this process ends, also by a signal. What no hook can do, since SIGKILL runs none, is
 * done by the kernel: see `withParentDeathSignal`.
 */
function setExitHook(): void {
  if (exitHookIsSet) return;
  exitHookIsSet = true;
  process.on('exit', () => {
    for (const child of running) child.signal('SIGKILL');
  });
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.on(signal, () => {
      // A program with a handler of its own (the demo) decides itself when to exit.
      if (process.listenerCount(signal) === 1) process.exit(128 + number);
    });
  }
}

/** On Linux the kernel kills the child when we die, whatever killed us. `setpriv` execs, so the pid is the child's. */
function withParentDeathSignal(command: string, args: readonly string[]): [string, string[]] {
  const setpriv = process.platform === 'linux' ? findOnPath('setpriv') : undefined;
  return setpriv === undefined ? [command, [...args]] : [setpriv, ['--pdeathsig', 'KILL', '--', command, ...args]];
}

/** Starts a child process; resolves when it is spawned, not when it is ready. */
export async function start(options: StartOptions): Promise<Child> {
  setExitHook();
  const [command, args] = withParentDeathSignal(options.command, options.args ?? []);
  const log = openSync(options.logFile, 'a');
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', log, log],
    // A session of its own: Ctrl-C in a terminal then reaches only us, and we stop things in order.
    detached: true,
  });
  closeSync(log);
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause) => reject(new Error(`${options.name} did not start`, { cause })));
  });
  const handle = childHandle(child, options);
  running.add(handle);
  void handle.exited.then(() => running.delete(handle));
  return handle;
}

function childHandle(child: ChildProcess, { name, logFile }: StartOptions): Child {
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  return {
    name,
    logFile,
    pid: child.pid!,
    exited: new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal }))),
    isRunning,
    signal: (signal) => {
      // ChildProcess.kill knows whether the child was reaped, so it cannot hit a stranger with a reused pid.
      if (isRunning()) child.kill(signal);
    },
    logTail: (lines = 20) => readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n'),
  };
}

/** SIGTERM, and SIGKILL if it is still there after `graceMs`. Resolves when it has ended. */
export async function stop(child: Child, graceMs = 10_000): Promise<Exit> {
  child.signal('SIGTERM');
  // A process that was paused with SIGSTOP acts on SIGTERM only when it goes on.
  child.signal('SIGCONT');
  const timer = setTimeout(() => child.signal('SIGKILL'), graceMs);
  try {
    return await child.exited;
  } finally {
    clearTimeout(timer);
  }
}

/** SIGKILL, as a crash. Resolves when it has ended. */
export async function kill(child: Child): Promise<Exit> {
  child.signal('SIGKILL');
  return child.exited;
}

export interface WaitOptions {
  /** What is waited for, for the error: 'a leader of the ensemble'. */
  what: string;
  /** In milliseconds. */
  deadlineMs: number;
  /** Pause between two looks, in milliseconds. @default 100 */
  everyMs?: number;
}

type Falsy = false | 0 | '' | null | undefined;

/**
 * Looks again and again until `condition` gives something truthy, and returns that. A condition that throws
 * counts as 'not yet'; past the deadline its last error is the cause of the one thrown here. A look that hangs
 * does not extend the deadline.
 */
export async function waitFor<T>(condition: () => T | Promise<T>, options: WaitOptions): Promise<Exclude<T, Falsy>> {
  const deadline = performance.now() + options.deadlineMs;
  let lastError: unknown;
  for (;;) {
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) break;
    try {
      const result = await withTimeout(condition, leftMs);
      if (result) return result as Exclude<T, Falsy>;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    await delay(options.everyMs ?? 100);
  }
  const because = lastError instanceof Error ? `: ${lastError.message}` : '';
  throw new Error(`gave up after ${options.deadlineMs} ms waiting for ${options.what}${because}`, { cause: lastError });
}

async function withTimeout<T>(action: () => T | Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the last look did not return')), timeoutMs);
  });
  try {
    return await Promise.race([Promise.resolve().then(action), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

const LOWEST_PORT = 10_240;
/**
 * Each worker of vitest takes every so many-th port: that of a server that is down for a restart is free for no other
 * worker, and for few of another run on this machine. Some 700 are left to a worker: a file of tests takes up to 300.
 */
const MOST_WORKERS = 8;
const MOST_RUNS = 4;
const STEP = MOST_WORKERS * MOST_RUNS;
const OFFSET = (process.ppid % MOST_RUNS) * MOST_WORKERS + (Number(process.env['VITEST_POOL_ID'] ?? 0) % MOST_WORKERS);
/** Given to something in this process, which may not listen yet, or be down for a restart: never given again. */
const given = new Set<number>();

/**
 * `count` different free ports of 127.0.0.1, below the range from which the kernel takes the ports of outgoing
 * connections. One out of that range (what binding port 0 gives) can be taken by any connection while its server
 * is down for a restart, and a client that keeps trying to reach the dead server can even connect to itself.
 */
export async function freePorts(count: number): Promise<number[]> {
  const limit = firstEphemeralPort();
  const slices = Math.floor((limit - LOWEST_PORT) / STEP);
  const first = Math.floor(Math.random() * slices);
  const ports: number[] = [];
  for (let n = 0; ports.length < count && n < slices; n++) {
    const port = LOWEST_PORT + ((first + n) % slices) * STEP + OFFSET;
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) ports.push(port);
  }
  if (ports.length < count) throw new Error(`no ${count} free ports between ${LOWEST_PORT} and ${limit}`);
  return ports;
}

function firstEphemeralPort(): number {
  // IANA's range starts at 49152 (macOS), Linux's by default at 32768.
  if (process.platform !== 'linux') return 49_152;
  const low = Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0]);
  return low > LOWEST_PORT + 1000 ? low : 32_768;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

export interface ScratchDir {
  readonly path: string;
  remove(): void;
}

/** A new folder under the system's temporary folder, whoever asks for it removes it. */
export function scratchDir(prefix: string): ScratchDir {
  const path = mkdtempSync(join(tmpdir(), `${prefix}-`));
  // Retries: a process that is just ending may still write a file into it.
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }) };
}
