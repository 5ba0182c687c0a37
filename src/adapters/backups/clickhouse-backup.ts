import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { RecoveryError } from '../../domain/errors.js';
import { checkPathSegment } from '../../domain/names.js';
import type {
  BackupCallOptions,
  BackupOperation,
  ClickHouseBackup,
  ClickHouseBackupRepository,
  ListedBackup,
  RestoreOrder,
} from '../../ports.js';
import { tidyMessage } from '../clickhouse/error-map.js';
import { AnswerLost, callApi, type ApiAnswer, type ApiCall, type ApiConnection } from './clickhouse-backup-api.js';
import { readMetadata } from './clickhouse-backup-metadata.js';

export interface ClickHouseBackupConnection extends ApiConnection {
  /** Folder of its local backups, as this process sees it. */
  metadata?: string;
  /** Milliseconds to wait for an answer. @default 30_000, for lists 120_000 (remote storage is read) */
  timeoutMs?: number;
}

const TIMEOUT_MS = 30_000;
const LIST_TIMEOUT_MS = 120_000;
const BUSY_DEADLINE_MS = 600_000;
/** Other operations take minutes; a restore that waits for ours should not wait much longer than it. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** Within a millisecond, as seen; later it shows in the state of the restore. */
const LOCK_FILE_MS = 30;
const LOCKED = 423;

const listedRow = z.object({
  name: z.string(),
  created: z.string(),
  size: z.number().optional(),
  location: z.enum(['local', 'remote']),
  required: z.string().optional(),
  desc: z.string().optional(),
});
const actionRow = z.object({ command: z.string(), status: z.string(), error: z.string().optional() });
const acknowledged = z.object({ status: z.literal('acknowledged'), operation_id: z.string() });

/** clickhouse-backup 2.6 and later on some nodes of a cluster. Nothing connects before its first use. */
export function createClickHouseBackupRepository(
  name: string,
  connections: ClickHouseBackupConnection[],
): ClickHouseBackupRepository {
  const nodes = new Map(connections.map((connection) => [connection.node, createClickHouseBackup(connection)]));
  const nativeOnly = (): never => {
    throw new RecoveryError(
      'INPUT_INVALID',
      `the repository ${name} is clickhouse-backup's: it has no SQL destination`,
    );
  };
  return {
    name,
    kind: 'clickhouse-backup',
    nodes: [...nodes.keys()],
    on: (node) => {
      const found = nodes.get(node);
      if (!found) throw new RecoveryError('INTERNAL', `backups.${name}.api has no node ${node.slice(0, 206)}`);
      return found;
    },
    describe: (node, backup) => `clickhouse-backup '${checkPathSegment(backup, 'backup')}' on ${node}`,
    destination: nativeOnly,
    manifestDestination: nativeOnly,
  };
}

/** See the contract in ports.ts. What is seen of clickhouse-backup 2.6.39 is in docs/clickhouse-backup.md. */
export function createClickHouseBackup(connection: ClickHouseBackupConnection): ClickHouseBackup {
  const { node, metadata, timeoutMs } = connection;
  const call = (parts: Omit<ApiCall, 'timeoutMs'>, defaultMs = TIMEOUT_MS) =>
    callApi(connection, { ...parts, timeoutMs: timeoutMs ?? defaultMs });

  async function list({ signal }: BackupCallOptions = {}): Promise<ListedBackup[]> {
    const answer = await call({ method: 'GET', path: '/backup/list', signal }, LIST_TIMEOUT_MS);
    return rowsOf(node, answer, listedRow).map(toListed);
  }

  async function restore(id: string, { signal }: BackupCallOptions = {}): Promise<BackupOperation> {
    checkId(id);
    const answer = await call({ method: 'GET', path: '/backup/actions', query: [['filter', marker(id)]], signal });
    // The filter is looked for in texts of errors too.
    const rows = rowsOf(node, answer, actionRow).filter((row) => row.command.includes(`${marker(id)}:`));
    const secret = connection.password?.() ?? '';
    return operationOf(rows.map((row) => ({ ...row, error: tidyMessage(row.error ?? '', [secret]) })));
  }

  async function startRestore(
    order: RestoreOrder,
    { signal, busyDeadlineMs = BUSY_DEADLINE_MS }: BackupCallOptions & { busyDeadlineMs?: number } = {},
  ): Promise<void> {
    const request = restoreRequest(order);
    const deadline = performance.now() + busyDeadlineMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      // Never twice: another worker may have sent it, or we did and the answer was lost.
      if (isKnown(await restore(order.id, { signal }))) return;
      let running = await runningCommands(signal);
      if (running.length === 0 && (await send(request, order.id, signal)) === 'started') {
        // Its lock file is looked at after the answer.
        await delay(LOCK_FILE_MS, undefined, { signal });
        const started = await restore(order.id, { signal });
        if (started.state !== 'busy') return;
        running = [started.error];
      }
      if (performance.now() + pauseMs > deadline)
        throw busy(running[0] ?? 'it answers 423 (does it run with --watch?)', busyDeadlineMs);
      await delay(pauseMs, undefined, { signal });
    }
  }

  function busy(what: string, busyDeadlineMs: number): RecoveryError {
    const seconds = Math.round(busyDeadlineMs / 1000);
    const message = `node ${node}: clickhouse-backup is busy for more than ${seconds} s: ${what}`;
    return new RecoveryError('BACKUP_BUSY', message.slice(0, 500), { objects: [node] });
  }

  async function send(request: ApiCall, id: string, signal?: AbortSignal): Promise<'started' | 'busy'> {
    let answer: ApiAnswer;
    try {
      answer = await call({ ...request, signal });
    } catch (cause) {
      if (!(cause instanceof AnswerLost)) throw cause;
      // Look before anything is sent again. It is no failure when the operation is there.
      const found = await restore(id, { signal });
      if (found.state === 'unknown') throw cause;
      return found.state === 'busy' ? 'busy' : 'started';
    }
    if (answer.status === LOCKED) return 'busy';
    if (answer.status < 300 && acknowledged.safeParse(parseLine(answer.text)).success) return 'started';
    if (answer.status < 500 || answer.status === 500)
      throw new RecoveryError(
        answer.status < 300 ? 'NODE_UNAVAILABLE' : 'RESTORE_FAILED',
        `node ${node}: clickhouse-backup did not start the restore (${answer.status}): ${answer.error}`.slice(0, 500),
        { objects: [node] },
      );
    throw unexpected(node, answer);
  }

  /** What runs, but for lists, which nobody waits for. With `allow_parallel` mappings of parallel restores would mix. */
  async function runningCommands(signal?: AbortSignal): Promise<string[]> {
    const answer = await call({ method: 'GET', path: '/backup/actions', query: [['filter', 'in progress']], signal });
    return rowsOf(node, answer, actionRow)
      .filter((row) => row.status === 'in progress' && !/^(list|watch)\b/.test(row.command))
      .map((row) => tidyMessage(row.command, [connection.password?.() ?? '']));
  }

  return {
    node,
    list,
    manifest: async (backup, folder) => {
      if (metadata !== undefined) return readMetadata(metadata, backup, node);
      return folder !== undefined && existsSync(folder) ? readMetadata(folder, backup, node) : null;
    },
    startRestore,
    restore,
  };
}

/**
 * Data only, into the table that the names lead to. Never `rm` or `drop`. The second table mapping is of a table that
 * does not exist: it has no effect, but stands in the command that `/backup/actions` shows.
 */
function restoreRequest({ id, backup, names }: RestoreOrder): ApiCall {
  checkId(id);
  const mark = `${marker(id)}:x`;
  return {
    method: 'POST',
    path: `/backup/restore/${encodeURIComponent(checkPathSegment(backup, 'backup'))}`,
    query: [
      ['data', '1'],
      ['table', names.pattern],
      ['restore_database_mapping', names.databaseMapping],
      ['restore_table_mapping', names.tableMapping === null ? mark : `${names.tableMapping},${mark}`],
    ],
    timeoutMs: TIMEOUT_MS,
  };
}

const marker = (id: string) => `_ch_recover_${id}`;

function checkId(id: string): void {
  if (!/^[A-Za-z0-9_]{8,100}$/.test(id)) throw new RecoveryError('INTERNAL', 'the id of a restore is not a word');
}

/** Started before by somebody: it may be under way, or have ended in whatever way. */
function isKnown({ state, cancelled }: BackupOperation): boolean {
  return cancelled || (state !== 'unknown' && state !== 'busy');
}

/** Its own lock, a file in its TMPDIR with a process id: another restore of the same backup runs, or is believed to. */
const ALREADY_RUNNING = /^another clickhouse-backup `\w+` command is already running/;

function operationOf(rows: { status: string; error: string }[]): BackupOperation {
  const isBusy = (row: { status: string; error: string }) => row.status === 'error' && ALREADY_RUNNING.test(row.error);
  const row = rows.filter((each) => !isBusy(each)).at(-1) ?? rows.at(-1);
  if (!row) return { state: 'unknown', error: '', cancelled: false };
  if (isBusy(row)) return { state: 'busy', error: row.error, cancelled: false };
  if (row.status === 'in progress') return { state: 'running', error: '', cancelled: false };
  if (row.status === 'success' || row.status === 'error')
    return { state: row.status, error: row.error, cancelled: false };
  // A reload turns all rows into `cancel`, those that had ended well too, and stops nothing that runs.
  return { state: 'unknown', error: row.error, cancelled: true };
}

function toListed(row: z.infer<typeof listedRow>): ListedBackup {
  const desc = row.desc ?? '';
  return {
    name: row.name,
    location: row.location,
    created: row.created,
    bytes: row.size ?? 0,
    required: row.required || null,
    broken: /^(broken|parse metadata)/.test(desc) ? desc.slice(0, 300) : null,
  };
}

/** JSON, one object a line; no line is an empty list. */
function rowsOf<T>(node: string, answer: ApiAnswer, schema: z.ZodType<T>): T[] {
  if (answer.status !== 200) throw unexpected(node, answer);
  return answer.text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const row = schema.safeParse(parseLine(line));
      if (!row.success) throw unexpected(node, { ...answer, error: 'the answer is not what it should be' });
      return row.data;
    });
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function unexpected(node: string, { status, error }: ApiAnswer): RecoveryError {
  return new RecoveryError(
    'NODE_UNAVAILABLE',
    `node ${node}: clickhouse-backup answered ${status}: ${error}`.slice(0, 500),
    { objects: [node] },
  );
}
