import { spawn } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { connect } from 'node:net';
import type { StepContext } from '../activities/runtime.js';
import { pause } from '../activities/runtime.js';
import type { AgentConfig } from '../config/agent.js';
import { RecoveryError } from '../domain/errors.js';

const POLL_MS = 200;
const CONNECT_MS = 2_000;
/** Of a command's words in an error. */
const SHOWN = 300;

/**
 * Runs a command of agent.yaml, without a shell. Its exit code; null: it was killed. A cancellation does not: half a stop
 * would go on behind our back, and take down what was started meanwhile.
 */
function run(
  [program = '', ...args]: string[],
  timeoutSeconds: number,
): Promise<{ code: number | null; said: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutSeconds * 1000,
      killSignal: 'SIGKILL',
    });
    let said = '';
    const listen = (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-SHOWN));
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    child.once('error', (cause) => resolve({ code: null, said: `${said}${cause.message}` }));
    // Not `close`: a service that the command leaves behind may hold its output open.
    child.once('exit', (code) => {
      child.stdout.destroy();
      child.stderr.destroy();
      resolve({ code, said: said.trim() });
    });
  });
}

/** What the probe command says; null: neither yes nor no. */
export async function isRunning(config: AgentConfig): Promise<boolean | null> {
  const { code } = await run(config.probe, config.timeoutSeconds);
  if (code === 0) return true;
  return code !== null && config.stoppedCodes.includes(code) ? false : null;
}

/** Why the service does not count as stopped; null: it is proved. */
export async function whyNotStopped(config: AgentConfig): Promise<string | null> {
  const running = await isRunning(config);
  if (running !== false)
    return running ? 'its probe command says that it runs' : 'its probe command says neither yes nor no';
  for (const address of config.addresses)
    if (await accepts(address)) return `something listens at ${address.host}:${address.port}`;
  const writer = await writerIn(config.trees.map(({ root }) => root));
  return writer === null ? null : `process ${writer.pid} has ${writer.file} open for writing`;
}

export async function assertStopped(config: AgentConfig): Promise<void> {
  const why = await whyNotStopped(config);
  if (why !== null)
    throw new RecoveryError('SERVICE_NOT_STOPPED', `${config.name}: ${why}`, { objects: [config.name] });
}

/** Looks first, so that it can be repeated: a service that is stopped is not stopped again. */
export async function stopService(config: AgentConfig, context: StepContext): Promise<void> {
  let why = await whyNotStopped(config);
  if (why === null) return;
  context.assertFresh();
  const { code, said } = await run(config.stop, config.timeoutSeconds);
  const deadline = performance.now() + config.timeoutSeconds * 1000;
  for (;;) {
    why = await whyNotStopped(config);
    if (why === null) return;
    if (performance.now() > deadline)
      throw new RecoveryError(
        'SERVICE_NOT_STOPPED',
        `${config.name}: ${why}, ${config.timeoutSeconds} s after its stop command ended with ${code ?? 'a signal'}${said === '' ? '' : `: ${said}`}`,
        { objects: [config.name] },
      );
    await pause(POLL_MS, context.signal);
    context.assertFresh();
  }
}

/** Started, and its ports take connections. */
export async function startService(config: AgentConfig, context: StepContext): Promise<void> {
  const isUp = async () => {
    if ((await isRunning(config)) !== true) return false;
    for (const address of config.addresses) if (!(await accepts(address))) return false;
    return true;
  };
  if (await isUp()) return;
  context.assertFresh();
  const { code, said } = await run(config.start, config.timeoutSeconds);
  const deadline = performance.now() + config.timeoutSeconds * 1000;
  while (!(await isUp())) {
    // A command that failed has nothing more to wait for, unless something else starts the service.
    if (performance.now() > deadline || (code !== 0 && (await isRunning(config)) === false))
      throw new RecoveryError(
        'SERVICE_NOT_STARTED',
        `${config.name} does not run; its start command ended with ${code ?? 'a signal'}${said === '' ? '' : `: ${said}`}`,
        { objects: [config.name] },
      );
    await pause(POLL_MS, context.signal);
    context.assertFresh();
  }
}

function accepts({ host, port }: { host: string; port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(CONNECT_MS, () => end(true)); // swallowed, not refused: something is there
    socket.once('connect', () => end(true));
    socket.once('error', (cause: NodeJS.ErrnoException) => end(cause.code !== 'ECONNREFUSED'));
  });
}

/**
 * A process that has a file below one of the folders open for writing, whatever a service manager says. ClickHouse holds
 * its `status`, ZooKeeper its log. Linux only; of processes in other namespaces nothing is seen.
 */
async function writerIn(roots: readonly string[]): Promise<{ pid: string; file: string } | null> {
  const processes = await readdir('/proc').catch(() => []);
  for (const pid of processes.filter((name) => /^\d+$/.test(name) && name !== String(process.pid))) {
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const fd of descriptors) {
      const file = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      if (!roots.some((root) => file.startsWith(`${root}/`))) continue;
      const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '');
      // The last octal digit of the flags: 1 is O_WRONLY, 2 is O_RDWR.
      if (/^flags:\s*\d*[12]$/m.test(info)) return { pid, file };
    }
  }
  return null;
}

export interface KeeperStatus {
  /** `leader`, `follower`, `standalone`. */
  mode: string;
  version: string;
  zxid: string;
}

/** The four-letter word `srvr` of the ZooKeeper server on this host, allowed by default; null: it serves nobody. */
export function keeperStatus({ addresses: [address] }: AgentConfig): Promise<KeeperStatus | null> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(address ?? { host: '127.0.0.1', port: 0 }, () => socket.write('srvr'));
    socket.setTimeout(CONNECT_MS, () => socket.destroy());
    socket.on('data', (chunk) => (answer += chunk.toString('utf8')));
    socket.on('error', () => undefined);
    socket.once('close', () => {
      const value = (pattern: RegExp) => pattern.exec(answer)?.[1] ?? '';
      const mode = value(/^Mode: (\w+)$/m);
      const status = { mode, version: value(/version: ([^\s,]+)/), zxid: value(/^Zxid: (0x[0-9a-f]+)$/m) };
      resolve(mode === '' ? null : status);
    });
  });
}

/** Waits until the server on this host is part of a quorum. */
export async function awaitServing(config: AgentConfig, context: StepContext): Promise<KeeperStatus> {
  const deadline = performance.now() + config.timeoutSeconds * 1000;
  for (;;) {
    const status = await keeperStatus(config);
    if (status) return status;
    if (performance.now() > deadline)
      throw new RecoveryError(
        'SERVICE_NOT_STARTED',
        `${config.name} runs and has no quorum after ${config.timeoutSeconds} s`,
        { objects: [config.name] },
      );
    await pause(POLL_MS, context.signal);
    context.assertFresh();
  }
}
