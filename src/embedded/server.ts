/**
 * The child process of an embedded node: libchdb on one data directory, ClickHouse's HTTP interface
 * in front. Its one argument is a `NodeConfig`, as JSON or as the path of a JSON file.
 *
 * Prints `READY {"port":…}` on stdout when it answers; anything wrong before that goes to stderr and
 * ends it with exit code 1. SIGTERM ends it with 0.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import { detachTables, killProcessAfter } from './engine-shutdown.js';
import { HttpInterface } from './http-interface.js';
import { configXmlPath, DEFAULT_SESSIONS, parseNodeConfig, renderConfigXml, type NodeConfig } from './node-config.js';
import { SessionPool, type EngineSession } from './session-pool.js';

/** How long a stop may take in all, in milliseconds. */
const HARD_EXIT_MS = 5_000;

type SessionClass = new (dir: string, options: { connectionArgs: readonly string[] }) => EngineSession;

async function main(argument: string | undefined): Promise<void> {
  if (argument === undefined) throw new Error('embedded node: no configuration given');
  const config = parseNodeConfig(argument.trimStart().startsWith('{') ? argument : readFileSync(argument, 'utf8'));
  const Session = await loadEngine();
  const pool = new SessionPool(openSessions(Session, config));
  const http = new HttpInterface(pool, readCredentials(config), config.name);
  const stop = (): void => void shutDown(pool, http);
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  if (config.exitWithParent === true) process.stdin.resume().once('close', stop).once('error', stop);
  await new Promise<void>((resolve, reject) => {
    http.server.once('error', reject).listen(config.port, '127.0.0.1', resolve);
  });
  const { port } = http.server.address() as AddressInfo;
  process.stdout.write(`READY ${JSON.stringify({ port })}\n`);
}

/** @throws Error with advice when the optional peer `chdb` is not installed */
async function loadEngine(): Promise<SessionClass> {
  try {
    return ((await import('chdb')) as unknown as { Session: SessionClass }).Session;
  } catch (cause) {
    throw new Error(`install chdb to run an embedded node (npm install chdb): ${messageOf(cause)}`, { cause });
  }
}

function openSessions(Session: SessionClass, config: NodeConfig): EngineSession[] {
  mkdirSync(config.dataDir, { recursive: true });
  mkdirSync(config.backupsDir, { recursive: true });
  const xml = configXmlPath(config.dataDir);
  writeFileSync(xml, renderConfigXml(config), { mode: 0o600 });
  // Databases load in the foreground, or the first statements would meet missing tables. Every
  // session of a directory must be opened with the same arguments.
  const connectionArgs = [`--config-file=${xml}`, '--async_load_databases=0'];
  return Array.from(
    { length: config.sessions ?? DEFAULT_SESSIONS },
    () => new Session(config.dataDir, { connectionArgs }),
  );
}

function readCredentials(config: NodeConfig): { user: string; password: string } | undefined {
  if (config.user === undefined && config.passwordEnv === undefined) return undefined;
  const password = config.passwordEnv === undefined ? '' : process.env[config.passwordEnv];
  if (password === undefined) throw new Error(`embedded node: ${config.passwordEnv ?? ''} is not set`);
  return { user: config.user ?? 'default', password };
}

let stopping = false;

/** Stops at once when idle; otherwise after the running statements, and hard after 5 s. */
async function shutDown(pool: SessionPool, http: HttpInterface): Promise<void> {
  if (stopping) return;
  stopping = true;
  killProcessAfter(HARD_EXIT_MS);
  http.server.close();
  while (pool.load.busy > 0) await sleep(20);
  http.server.closeAllConnections();
  await pool.use(({ engine }) => detachTables(engine)).catch(() => undefined);
  pool.close();
  process.exit(0);
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

main(process.argv[2]).catch((cause: unknown) => {
  process.stderr.write(`${messageOf(cause)}\n`);
  process.exit(1);
});
