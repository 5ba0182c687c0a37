import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  futimesSync,
  linkSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import {
  chmod,
  copyFile,
  lchown,
  lutimes,
  lstat,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  symlink,
  type FileHandle,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { CopyMethod } from '../domain/cold.js';
import { isImmutable, type TreeEntry } from '../domain/cold-files.js';
import { RecoveryError } from '../domain/errors.js';

/** Files at once: while one is hashed, others are read and synced. */
const LANES = 4;
const CHUNK_BYTES = 1024 * 1024;
const SMALL_BYTES = 64 * 1024;

/** The file system cannot, or these two files cannot: another way is taken. */
const CANNOT = new Set(['EXDEV', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EINVAL', 'ENOTTY', 'ENOSYS', 'EMLINK']);
const codeOf = (cause: unknown) => (cause as NodeJS.ErrnoException).code ?? '';

export interface Transfer {
  /** In the order of `walk`; of those to be checked, with their sha256. */
  entries: AsyncIterable<TreeEntry> | Iterable<TreeEntry>;
  from: string;
  to: string;
  method: CopyMethod;
  /** Lines of what was copied already, so that who comes after a crash of ours goes on; not after one of the machine. */
  progressFile: string;
  /** Called between files: throws when this attempt is to stop. */
  check: () => void;
  onFile?: (done: { files: number; bytes: number }) => void;
}

export interface Transferred {
  entries: TreeEntry[];
  methods: Record<CopyMethod, number>;
}

/**
 * Copies a tree: each file is read once and hashed, and all are on the disk when it returns. A file whose hash is given and
 * is another throws COPY_DAMAGED. Owners, modes and times are kept.
 */
export async function transfer(order: Transfer): Promise<Transferred> {
  const { from, to, method, progressFile, check, onFile } = order;
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  const known = await readProgress(progressFile, boot);
  const progress = await open(progressFile, known === null ? 'w' : 'a');
  if (known === null) await progress.appendFile(`${JSON.stringify({ boot })}\n`);
  const entries: TreeEntry[] = [];
  const methods: Transferred['methods'] = { reflink: 0, hardlink: 0, stream: 0 };
  const done = { files: 0, bytes: 0 };
  const source = iterate(order.entries);
  const work = async (buffer: Buffer) => {
    for (;;) {
      const next = await source.next();
      if (next.done) return;
      check();
      const entry = next.value;
      const [origin, target] = [join(from, entry.path), join(to, entry.path)];
      if (entry.kind === 'link') {
        await rm(target, { force: true });
        await symlink(entry.target, target);
        await lchown(target, entry.uid, entry.gid);
        entries.push(entry);
      } else if (entry.kind === 'file') {
        const before = known?.get(entry.path);
        const has = before && (await isSame(before, entry, target));
        const copied = has ? before : await copyOne(entry, { origin, target, method, buffer });
        if (entry.sha256 !== '' && copied.sha256 !== entry.sha256) throw damaged(entry, `sha256 is ${copied.sha256}`);
        if (!has)
          await progress.appendFile(`${JSON.stringify({ path: entry.path, mtimeMs: entry.mtimeMs, ...copied })}\n`);
        methods[copied.method]++;
        entries.push({ ...entry, sha256: copied.sha256 });
        done.files++;
        done.bytes += entry.size;
        onFile?.(done);
      }
    }
  };
  // Folders first come first: the iterator makes each before it gives out what is in it.
  async function* iterate(all: Transfer['entries']): AsyncGenerator<TreeEntry> {
    for await (const entry of all) {
      if (entry.kind === 'dir') {
        await mkdir(join(to, entry.path), { recursive: true });
        entries.push(entry);
      } else yield entry;
    }
  }
  try {
    const lanes = await Promise.allSettled(Array.from({ length: LANES }, () => work(Buffer.allocUnsafe(CHUNK_BYTES))));
    for (const lane of lanes) if (lane.status === 'rejected') throw lane.reason;
  } finally {
    await progress.close();
  }
  // From the inside out, since what is made in a folder changes its time; and only now are its entries on the disk.
  for (const entry of entries.filter(({ kind }) => kind === 'dir').reverse()) {
    const folder = join(to, entry.path);
    await chmod(folder, entry.mode);
    await lchown(folder, entry.uid, entry.gid);
    await lutimes(folder, entry.mtimeMs / 1000, entry.mtimeMs / 1000);
  }
  await syncFileSystem(to);
  return { entries, methods };
}

interface Copied {
  size: number;
  sha256: string;
  method: CopyMethod;
}

/** Null: there is none, or the machine was down since, and what was not synced may be lost. */
async function readProgress(file: string, boot: string): Promise<Map<string, Copied & { mtimeMs: number }> | null> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    if (codeOf(cause) === 'ENOENT') return '';
    throw cause;
  });
  const known = new Map<string, Copied & { mtimeMs: number }>();
  // The last line may be half of one.
  const [head, ...lines] = text.split('\n').slice(0, -1);
  if (head === undefined || (JSON.parse(head) as { boot?: string }).boot !== boot || boot === '') return null;
  for (const line of lines) {
    const { path, ...copied } = JSON.parse(line) as Copied & { path: string; mtimeMs: number };
    known.set(path, copied);
  }
  return known;
}

async function isSame(before: Copied & { mtimeMs: number }, entry: TreeEntry, target: string): Promise<boolean> {
  if (before.size !== entry.size || before.mtimeMs !== entry.mtimeMs) return false;
  const there = await lstat(target).catch(() => null);
  return there?.isFile() === true && there.size === entry.size;
}

async function copyOne(
  entry: TreeEntry,
  { origin, target, method, buffer }: { origin: string; target: string; method: CopyMethod; buffer: Buffer },
): Promise<Copied> {
  rmSync(target, { force: true });
  const way = await share(entry, { origin, target, method });
  const sink = way === 'stream' ? target : null;
  // Of a reflink the copy is read: it is what may be damaged later.
  const source = way === 'reflink' ? target : origin;
  const sha256 =
    entry.size <= SMALL_BYTES ? copySmall(entry, source, sink, buffer) : await copyLarge(entry, source, sink, buffer);
  if (way === 'reflink') await withFile(target, 'r+', async ({ fd }) => adopt(fd, entry));
  return { size: entry.size, sha256, method: way };
}

/** Without reading it, where that can be done. */
async function share(
  { path }: TreeEntry,
  { origin, target, method }: { origin: string; target: string; method: CopyMethod },
): Promise<CopyMethod> {
  try {
    if (method === 'reflink') {
      await copyFile(origin, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
      return 'reflink';
    }
    if (method === 'hardlink' && isImmutable(path)) {
      linkSync(origin, target);
      return 'hardlink';
    }
  } catch (cause) {
    if (!CANNOT.has(codeOf(cause))) throw cause;
    rmSync(target, { force: true });
  }
  return 'stream';
}

/**
 * Most files of a part have some hundred bytes: for them a trip to the thread pool takes longer than the system call that
 * it is for. `sink`: null where the file only is read.
 */
function copySmall(entry: TreeEntry, source: string, sink: string | null, buffer: Buffer): string {
  const from = openSync(source, 'r');
  try {
    const size = readSync(from, buffer, 0, buffer.length, 0);
    if (size !== entry.size) throw damaged(entry, `has ${size} bytes, not ${entry.size}`);
    const content = buffer.subarray(0, size);
    if (sink !== null) {
      const to = openSync(sink, 'wx', entry.mode);
      try {
        for (let at = 0; at < size;) at += writeSync(to, content, at, size - at);
        adopt(to, entry);
      } finally {
        closeSync(to);
      }
    }
    return createHash('sha256').update(content).digest('hex');
  } finally {
    closeSync(from);
  }
}

async function copyLarge(entry: TreeEntry, source: string, sink: string | null, buffer: Buffer): Promise<string> {
  return withFile(source, 'r', async (from) => {
    if (sink === null) return pump(entry, from, null, buffer);
    return withFile(sink, 'wx', async (to) => {
      const hash = await pump(entry, from, to, buffer);
      adopt(to.fd, entry);
      return hash;
    });
  });
}

/** Reads to the end, hashing and writing. A file of another size than was seen is one that somebody writes. */
async function pump(entry: TreeEntry, source: FileHandle, sink: FileHandle | null, buffer: Buffer): Promise<string> {
  const hash = createHash('sha256');
  let size = 0;
  for (;;) {
    const { bytesRead } = await source.read(buffer, 0, buffer.length, size);
    if (bytesRead === 0) break;
    const chunk = buffer.subarray(0, bytesRead);
    hash.update(chunk);
    for (let at = 0; sink && at < bytesRead;)
      at += (await sink.write(chunk, at, bytesRead - at, size + at)).bytesWritten;
    size += bytesRead;
  }
  if (size !== entry.size) throw damaged(entry, `has ${size} bytes, not ${entry.size}`);
  return hash.digest('hex');
}

function adopt(fd: number, { uid, gid, mode, mtimeMs }: TreeEntry): void {
  fchownSync(fd, uid, gid);
  fchmodSync(fd, mode);
  futimesSync(fd, mtimeMs / 1000, mtimeMs / 1000);
}

async function withFile<T>(path: string, flags: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path, flags);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

const damaged = ({ tree, path }: TreeEntry, complaint: string) =>
  new RecoveryError('COPY_DAMAGED', `${tree}/${path}: ${complaint}`, { objects: [`${tree}/${path}`.slice(0, 300)] });

/**
 * All that was written to this file system is on the disk after that, also what the server itself left unsynced in files
 * that were linked. One call instead of one a file, while a whole cluster is down: of small parts that is most of the time.
 */
async function syncFileSystem(folder: string): Promise<void> {
  const code = await new Promise<number | null>((resolve) => {
    const child = spawn('sync', process.platform === 'linux' ? ['-f', folder] : [], { stdio: 'ignore' });
    child.once('error', () => resolve(null));
    child.once('exit', resolve);
  });
  if (code !== 0)
    throw new RecoveryError('BACKUP_FAILED', `${folder} could not be written to its disk (sync: ${code})`);
}

/** What was made, renamed or removed in it is on the disk after that. */
export async function syncFolder(folder: string): Promise<void> {
  await withFile(folder, 'r', (handle) => handle.sync());
}

/** All of it or nothing, also when the machine loses its power. */
export async function writeAtomically(file: string, text: string): Promise<void> {
  await rm(`${file}.tmp`, { force: true });
  await withFile(`${file}.tmp`, 'wx', async (handle) => {
    await handle.writeFile(text);
    await handle.sync();
  });
  await rename(`${file}.tmp`, file);
  await syncFolder(dirname(file));
}

/** The sha256 of a file as it is now. */
export async function hashFile(path: string, buffer = Buffer.allocUnsafe(CHUNK_BYTES)): Promise<string> {
  return withFile(path, 'r', async (source) => {
    const hash = createHash('sha256');
    for (let at = 0; ;) {
      const { bytesRead } = await source.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  });
}
