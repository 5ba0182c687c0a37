import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts, kill, start, stop, waitFor, type Child } from './processes.js';
import { findOnPath, repoRoot } from './tools.js';

/** The one `npm run setup` built, else the one on PATH. @throws Error that says what to install */
export function findClickHouseBackup(): string {
  const built = join(repoRoot, '.tools/clickhouse-backup/clickhouse-backup');
  if (existsSync(built)) return built;
  const found = findOnPath('clickhouse-backup');
  if (found !== undefined) return found;
  throw new Error('clickhouse-backup not found: install Go 1.25 or newer (https://go.dev/dl) and run `npm run setup`');
}

export interface BackupServerOptions {
  /** Folder for its configuration, log and pid files; made if missing. */
  dir: string;
  /** Native port of the ClickHouse server it runs beside, on 127.0.0.1. */
  tcpPort: number;
  /** Of its REST API. @default '' */
  user?: string;
  password?: string;
  /** Of the ClickHouse server. @default 'default', '' */
  clickhouse?: { user: string; password: string };
}

/** A real clickhouse-backup, as a server on 127.0.0.1 with local backups only. */
export interface BackupServer {
  readonly url: string;
  /** Sends a request and gives the answer's lines, as JSON. @throws Error for another status than 2xx */
  call(method: 'GET' | 'POST', path: string): Promise<Record<string, unknown>[]>;
  /** Takes a local backup of everything, or of the tables that match, and waits for its end. */
  create(name: string, tables?: string): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** SIGKILL, as a crash. */
  kill(): Promise<void>;
}

const READY_MS = 60_000;
const CREATE_MS = 120_000;

/** Where the REST API is, and who may use it. */
export interface BackupApi {
  url: string;
  user: string;
  password: string;
}

/** @throws Error for another status than 2xx */
async function call(
  { url, user, password }: BackupApi,
  method: 'GET' | 'POST',
  path: string,
): Promise<Record<string, unknown>[]> {
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const headers = { authorization, connection: 'close' };
  const answer = await fetch(url + path, { method, headers, signal: AbortSignal.timeout(30_000) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Takes a local backup of everything, or of the tables that match, and waits for its end. */
export async function createBackup(api: BackupApi, name: string, tables?: string): Promise<void> {
  const filter = tables === undefined ? '' : `&table=${encodeURIComponent(tables)}`;
  const [started] = await call(api, 'POST', `/backup/create?name=${name}${filter}`);
  const done = await waitFor(
    async () => {
      const [row] = await call(api, 'GET', `/backup/status?operationid=${String(started?.['operation_id'])}`);
      return row?.['status'] !== 'in progress' && row;
    },
    { what: `the backup ${name}`, deadlineMs: CREATE_MS },
  );
  if (done['status'] !== 'success') throw new Error(`the backup ${name}: ${JSON.stringify(done)}`);
}

/** Starts it and waits until it answers. */
export async function startBackupServer(options: BackupServerOptions): Promise<BackupServer> {
  const { dir, tcpPort, user = '', password = '', clickhouse = { user: 'default', password: '' } } = options;
  mkdirSync(join(dir, 'tmp'), { recursive: true });
  const port = (await freePorts(1))[0]!;
  const config = {
    general: { remote_storage: 'none', backups_to_keep_local: 0 },
    clickhouse: { host: '127.0.0.1', port: tcpPort, username: clickhouse.user, password: clickhouse.password },
    api: { listen: `127.0.0.1:${port}`, username: user, password, create_integration_tables: false },
  };
  // JSON is YAML too.
  writeFileSync(join(dir, 'config.yml'), JSON.stringify(config), { mode: 0o600 });
  const url = `http://127.0.0.1:${port}`;
  const api = { url, user, password };
  let child: Child | undefined;

  const server: BackupServer = {
    url,
    call: (method, path) => call(api, method, path),
    create: (name, tables) => createBackup(api, name, tables),
    start: async () => {
      if (child?.isRunning()) return;
      child = await start({
        name: 'clickhouse-backup',
        command: findClickHouseBackup(),
        args: ['--config', join(dir, 'config.yml'), 'server'],
        logFile: join(dir, 'clickhouse-backup.log'),
        cwd: dir,
        // Its pid files go there.
        env: { TMPDIR: join(dir, 'tmp') },
      });
      const log = child;
      await waitFor(() => server.call('GET', '/backup/version'), {
        what: 'clickhouse-backup to answer',
        deadlineMs: READY_MS,
      }).catch((cause: unknown) => {
        throw new Error(`clickhouse-backup does not answer; its log ends with:\n${log.logTail()}`, { cause });
      });
    },
    stop: async () => void (child && (await stop(child, 3_000))),
    kill: async () => void (child && (await kill(child))),
  };
  try {
    await server.start();
  } catch (error) {
    await server.kill();
    throw error;
  }
  return server;
}
