import { constants } from 'node:fs';
import { open, readdir, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { parseClickHouseBackup, type ClickHouseBackupManifest } from '../../domain/clickhouse-backup.js';
import { RecoveryError } from '../../domain/errors.js';
import { checkPathSegment } from '../../domain/names.js';

/** A table of 100,000 parts has about 8 MB. */
const MAX_FILE_BYTES = 128 * 1024 * 1024;
const MAX_TABLES = 100_000;

/**
 * Reads `<folder>/<backup>/metadata.json` and `metadata/<database>/<table>.json` of a local backup. The REST API gives
 * neither: `/backup/tables` shows the live tables. Links are not followed below the folder. Throws RecoveryError
 * `BACKUP_UNKNOWN`, `MANIFEST_INVALID`, `INPUT_INVALID` for a name that is no path segment.
 */
export async function readMetadata(folder: string, backup: string, node: string): Promise<ClickHouseBackupManifest> {
  checkPathSegment(backup, 'backup');
  const dir = join(folder, backup);
  let head: string;
  try {
    head = await readText(join(dir, 'metadata.json'));
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT') throw unreadable(node, backup, cause);
    throw new RecoveryError(
      'BACKUP_UNKNOWN',
      `node ${node}: there is no complete local backup ${backup} in its metadata folder; one that is only remote has to be downloaded first`,
      { field: 'backup', objects: [node] },
    );
  }
  const tables: string[] = [];
  try {
    for (const database of await folders(join(dir, 'metadata')))
      for (const file of await jsonFiles(join(dir, 'metadata', database))) {
        if (tables.length >= MAX_TABLES) throw new Error(`more than ${MAX_TABLES} tables`);
        tables.push(await readText(join(dir, 'metadata', database, file)));
      }
  } catch (cause) {
    throw unreadable(node, backup, cause);
  }
  return parseClickHouseBackup(backup, head, tables);
}

async function folders(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir, { withFileTypes: true })).filter((each) => each.isDirectory()).map(({ name }) => name);
  } catch (cause) {
    // A backup without tables has no such folder.
    if (errnoOf(cause) === 'ENOENT') return [];
    throw cause;
  }
}

async function jsonFiles(dir: string): Promise<string[]> {
  return (await readdir(dir, { withFileTypes: true }))
    .filter((each) => each.isFile() && each.name.endsWith('.json'))
    .map(({ name }) => name);
}

async function readText(path: string): Promise<string> {
  const file: FileHandle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const stat = await file.stat();
    if (!stat.isFile() || stat.size > MAX_FILE_BYTES) throw new Error(`not a file of at most ${MAX_FILE_BYTES} bytes`);
    return new TextDecoder('utf-8', { fatal: true }).decode(await file.readFile());
  } finally {
    await file.close();
  }
}

function unreadable(node: string, backup: string, cause: unknown): RecoveryError {
  const why = errnoOf(cause) ?? (cause instanceof Error ? cause.message : 'error');
  return new RecoveryError('MANIFEST_INVALID', `node ${node}: the metadata of ${backup} cannot be read (${why})`, {
    objects: [node],
  });
}

function errnoOf(cause: unknown): string | undefined {
  return cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
}
