import { constants } from 'node:fs';
import { copyFile, lchown, mkdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { runStep, type StepContext } from '../activities/runtime.js';
import type { AgentConfig } from '../config/agent.js';
import type { ColdManifest, CopiedHost, CopyMethod, FoundCopy, HostCopy, HostFacts } from '../domain/cold.js';
import { isImmutable, type TreeEntry } from '../domain/cold-files.js';
import { lostParts, totals, type PartsOnDisk } from '../domain/cold-parts.js';
import { RecoveryError, type ErrorCode } from '../domain/errors.js';
import { checkPathSegment } from '../domain/names.js';
import { completeCopies, CopyFolder } from './copies.js';
import { damaged, isFull, withErrno } from './failures.js';
import { assertStopped, awaitServing, isRunning, keeperStatus, startService, stopService } from './service.js';
import { hasBegun, ownFolder, swap } from './swap.js';
import { syncFolder, transfer } from './transfer.js';
import { partsOnDisk, walk, type Tree } from './tree.js';

/** Between two looks whether the service is still down while its files are copied. Milliseconds. */
const WATCH_MS = 2_000;

/**
 * What the agent of one host does, and all that it does: stop, start and probe its one service, copy its trees, hash
 * them, swap them into place. Requests name a copy, a run and manifests; folders and commands stand in agent.yaml.
 */
export function createAgentActivities(config: AgentConfig) {
  const folder = (generation: string) => new CopyFolder(config.copies, generation, config.name);
  const step = <T>(failure: ErrorCode, body: (context: StepContext) => Promise<T>) =>
    runStep(0, (context) => withErrno(config.name, failure, () => body(context)));
  const own = (root: string, kind: 'stage' | 'aside' | 'rejected', run: string) =>
    ownFolder(root, kind, checkPathSegment(run, 'run'));
  return {
    async hostFacts(): Promise<HostFacts> {
      return step('INTERNAL', (context) => hostFacts(config, context));
    },
    async stopService(): Promise<void> {
      return step('SERVICE_NOT_STOPPED', (context) => stopService(config, context));
    },
    async assertStopped(): Promise<void> {
      return step('SERVICE_NOT_STOPPED', () => assertStopped(config));
    },
    async startService(): Promise<void> {
      return step('SERVICE_NOT_STARTED', (context) => startService(config, context));
    },
    async awaitServing(): Promise<{ mode: string; zxid: string }> {
      return step('SERVICE_NOT_STARTED', (context) => awaitServing(config, context));
    },
    async copyTrees({
      generation,
      keeperParts,
      dropped,
    }: {
      generation: string;
      keeperParts: string;
      dropped: string[];
    }): Promise<{
      copy: Pick<HostCopy, 'trees' | 'files' | 'bytes' | 'parts' | 'rows' | 'list' | 'evidence'>;
      copied: CopiedHost;
    }> {
      return step('BACKUP_FAILED', async (context) => {
        const target = folder(generation);
        try {
          return await whileStopped(config, context, (watched) =>
            copyTrees(config, target, { keeperParts, dropped }, watched),
          );
        } catch (error) {
          // The disk may be the servers' own: what cannot become a copy must not keep them from starting.
          if (isFull(error)) await target.discard();
          throw error;
        }
      });
    },
    async commitCopy({ manifest }: { manifest: ColdManifest }): Promise<void> {
      return step('BACKUP_FAILED', () => folder(manifest.generation).commit(manifest));
    },
    async discardCopy({ generation }: { generation: string }): Promise<void> {
      return step('BACKUP_FAILED', () => folder(generation).discard());
    },
    async findCopy({ generation }: { generation: string }): Promise<FoundCopy> {
      return step('RESTORE_FAILED', () => findCopy(config, folder(generation)));
    },
    /** Puts a copy beside the live trees, with every hash checked: the cluster may still run. */
    async stageTrees({ generation, run }: { generation: string; run: string }): Promise<CopiedHost> {
      return step('RESTORE_FAILED', async (context) => {
        try {
          return await stageTrees(config, folder(generation), run, context);
        } catch (error) {
          await discardStage(config, run);
          throw error;
        }
      });
    },
    async discardStage({ run }: { run: string }): Promise<void> {
      return step('RESTORE_FAILED', () => discardStage(config, run));
    },
    /** Gives the folders that hold what stood there before. */
    async swapTrees({ run }: { run: string }): Promise<string[]> {
      return step('RESTORE_FAILED', async (context) => {
        await assertStopped(config);
        for (const { root } of config.trees) {
          context.assertFresh();
          await swap(root, own(root, 'stage', run), own(root, 'aside', run));
        }
        return config.trees.map(({ root }) => own(root, 'aside', run));
      });
    },
    /** The reverse, also of half a swap. False: nothing had been swapped. */
    async rollBackTrees({ run }: { run: string }): Promise<boolean> {
      return step('RESTORE_FAILED', async (context) => {
        await assertStopped(config);
        let rolledBack = false;
        for (const { root } of config.trees) {
          const [stage, aside, rejected] = (['stage', 'aside', 'rejected'] as const).map((kind) =>
            own(root, kind, run),
          );
          if (!(await hasBegun(aside!)) && !(await hasBegun(rejected!))) continue;
          context.assertFresh();
          // Half of what stood there may still be in its place: only a whole swap can be reversed.
          if (!(await hasBegun(rejected!))) await swap(root, stage!, aside!);
          await swap(root, aside!, rejected!);
          rolledBack = true;
        }
        return rolledBack;
      });
    },
    /** Of a service that runs again: parts of the copy that are gone, changed, or set aside by the server. */
    async checkParts({
      generation,
    }: {
      generation: string;
    }): Promise<{ findings: string[]; parts: number; rows: number }> {
      return step('VALIDATION_FAILED', async () => {
        const copy = await folder(generation).readManifest();
        const lists = copy && typeof copy !== 'string' ? await folder(generation).readLists(copy) : null;
        if (!lists || typeof lists === 'string') throw damaged(config.name, lists ?? 'there is no manifest');
        const now = await allParts(config.trees, new Set());
        return { findings: lostParts(lists.evidence.parts, now), ...totals(now) };
      });
    },
  };
}

export type AgentActivities = ReturnType<typeof createAgentActivities>;

async function hostFacts(config: AgentConfig, context: StepContext): Promise<HostFacts> {
  const status = config.role === 'keeper' ? await keeperStatus(config) : null;
  const method = await methodFor(config);
  let files = 0;
  let bytes = 0;
  let copyBytes = 0;
  for (const tree of config.trees)
    for await (const entry of walk(tree)) {
      if (entry.kind !== 'file') continue;
      files++;
      bytes += entry.size;
      if (takesSpace(entry, method)) copyBytes += entry.size;
      if (files % 1000 === 0) context.progress({ files });
    }
  await mkdir(config.copies, { recursive: true, mode: 0o700 });
  return {
    ...{ name: config.name, role: config.role, running: await isRunning(config) },
    commands: { stop: config.stop.join(' '), start: config.start.join(' '), probe: config.probe.join(' ') },
    trees: await Promise.all(
      config.trees.map(async ({ name, root }) => ({
        name,
        device: String((await stat(await existing(root))).dev),
        free: await freeBytes(root),
      })),
    ),
    ...{ files, bytes, copyBytes, method, freeForCopies: await freeBytes(config.copies) },
    ...{ mode: status?.mode ?? null, version: status?.version ?? null, zxid: status?.zxid ?? null },
    generations: await completeCopies(config.copies, config.name),
  };
}

const takesSpace = ({ path, kind }: TreeEntry, method: CopyMethod) =>
  kind === 'file' && method !== 'reflink' && !(method === 'hardlink' && isImmutable(path));

/** Found out by trying: what a file system can, it says to nobody. ZooKeeper's files are never linked. */
async function methodFor(config: AgentConfig): Promise<CopyMethod> {
  if (!config.links) return 'stream';
  await mkdir(config.copies, { recursive: true, mode: 0o700 });
  const copies = await stat(config.copies);
  const probe = join(config.copies, `.probe-${config.name}`);
  for (const tree of config.trees)
    for await (const entry of walk(tree)) {
      if (entry.kind !== 'file' || entry.size === 0) continue;
      const origin = join(tree.root, entry.path);
      await rm(probe, { force: true });
      const canReflink = await copyFile(origin, probe, constants.COPYFILE_FICLONE_FORCE).then(
        () => true,
        () => false,
      );
      await rm(probe, { force: true });
      if (canReflink) return 'reflink';
      const sameDevice = (await stat(tree.root)).dev === copies.dev;
      return config.role === 'clickhouse' && sameDevice ? 'hardlink' : 'stream';
    }
  return 'stream';
}

async function existing(path: string): Promise<string> {
  await mkdir(path, { recursive: true });
  return path;
}

async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(await existing(path));
  return bavail * bsize;
}

/** A host that boots, or a supervisor, may start the service while its files are read: then they are no copy. */
async function whileStopped<T>(
  config: AgentConfig,
  context: StepContext,
  body: (watched: StepContext) => Promise<T>,
): Promise<T> {
  await assertStopped(config);
  let why: unknown = null;
  const timer = setInterval(() => {
    assertStopped(config).catch((error: unknown) => (why = error));
  }, WATCH_MS);
  const assertFresh = () => {
    if (why !== null) throw why as RecoveryError;
    context.assertFresh();
  };
  try {
    const result = await body({ ...context, assertFresh });
    await assertStopped(config);
    return result;
  } finally {
    clearInterval(timer);
  }
}

async function copyTrees(
  config: AgentConfig,
  target: CopyFolder,
  { keeperParts, dropped }: { keeperParts: string; dropped: string[] },
  context: StepContext,
) {
  const startedAt = performance.now();
  const method = await methodFor(config);
  const leaveOut = new Set(dropped.map((path) => path.replace(/\/+$/, '')));
  await target.make();
  const entries: TreeEntry[] = [];
  const methods: CopiedHost['methods'] = { reflink: 0, hardlink: 0, stream: 0 };
  for (const tree of config.trees) {
    const done = await transfer({
      entries: walk(tree, leaveOut),
      from: tree.root,
      to: target.tree(tree.name),
      method,
      progressFile: target.progress(tree.name),
      check: () => context.assertFresh(),
      onFile: (progress) => context.progress({ tree: tree.name, ...progress }),
    });
    entries.push(...done.entries);
    for (const way of ['reflink', 'hardlink', 'stream'] as const) methods[way] += done.methods[way];
  }
  const parts = config.role === 'clickhouse' ? await allParts(config.trees, leaveOut) : [];
  const hashes = await target.writeLists(entries, { parts, keeperParts });
  for (const { name } of config.trees) await rm(target.progress(name), { force: true });
  await syncFolder(target.path);
  const sizes = sizeOf(entries);
  return {
    copy: { trees: config.trees.map(({ name }) => name), ...sizes, ...totals(parts), ...hashes },
    copied: { name: config.name, role: config.role, ...sizes, methods, seconds: secondsSince(startedAt), aside: [] },
  };
}

async function allParts(trees: readonly Tree[], dropped: ReadonlySet<string>): Promise<PartsOnDisk[]> {
  return (await Promise.all(trees.map((tree) => partsOnDisk(tree, dropped)))).flat();
}

function sizeOf(entries: readonly TreeEntry[]): { files: number; bytes: number } {
  const files = entries.filter(({ kind }) => kind === 'file');
  return { files: files.length, bytes: files.reduce((sum, { size }) => sum + size, 0) };
}

const secondsSince = (startedAt: number) => Math.round((performance.now() - startedAt) / 100) / 10;

/** What is cheap to find out: hashes of the files come with staging, which is before anything is stopped too. */
async function findCopy(config: AgentConfig, copy: CopyFolder): Promise<FoundCopy> {
  const nothing = { host: config.name, manifest: null, problem: null, stageBytes: {}, keeperParts: '' };
  const manifest = await copy.readManifest();
  if (manifest === null) return nothing;
  if (typeof manifest === 'string') return { ...nothing, problem: manifest };
  const lists = await copy.readLists(manifest);
  if (typeof lists === 'string') return { ...nothing, manifest, problem: lists };
  const method = await stageMethod(config, copy);
  const stageBytes: Record<string, number> = {};
  for (const entry of lists.entries)
    if (takesSpace(entry, method)) stageBytes[entry.tree] = (stageBytes[entry.tree] ?? 0) + entry.size;
  for (const entry of lists.entries) {
    if (entry.kind !== 'file') continue;
    const found = await stat(join(copy.tree(entry.tree), entry.path)).catch(() => null);
    if (found?.size === entry.size) continue;
    const complaint = found ? `has ${found.size} bytes, not ${entry.size}` : 'is missing';
    return { ...nothing, manifest, problem: `${entry.tree}/${entry.path} ${complaint}` };
  }
  return { ...nothing, manifest, stageBytes, keeperParts: lists.evidence.keeperParts };
}

/** From the copy's file system to the trees', which may have been mounted anew. */
async function stageMethod(config: AgentConfig, copy: CopyFolder): Promise<CopyMethod> {
  if (!config.links) return 'stream';
  const from = await stat(copy.path);
  const devices = await Promise.all(config.trees.map(async ({ root }) => (await stat(await existing(root))).dev));
  if (devices.some((device) => device !== from.dev)) return 'stream';
  // Reflinks are tried for each file, and where they cannot be made it is copied.
  return config.role === 'clickhouse' ? 'hardlink' : 'stream';
}

async function stageTrees(
  config: AgentConfig,
  copy: CopyFolder,
  run: string,
  context: StepContext,
): Promise<CopiedHost> {
  const startedAt = performance.now();
  const manifest = await copy.readManifest();
  if (!manifest || typeof manifest === 'string') throw damaged(config.name, manifest ?? 'there is no manifest');
  const lists = await copy.readLists(manifest);
  if (typeof lists === 'string') throw damaged(config.name, lists);
  const method = await stageMethod(config, copy);
  const methods: CopiedHost['methods'] = { reflink: 0, hardlink: 0, stream: 0 };
  for (const { name, root } of config.trees) {
    const entries = lists.entries.filter(({ tree }) => tree === name);
    await makeRoot(root, entries[0]);
    const stage = ownFolder(root, 'stage', checkPathSegment(run, 'run'));
    const done = await transfer({
      entries,
      from: copy.tree(name),
      to: stage,
      method,
      progressFile: `${stage}.jsonl`,
      check: () => context.assertFresh(),
      onFile: (progress) => context.progress({ tree: name, ...progress }),
    }).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === 'ENOENT') throw damaged(config.name, `a file is missing: ${cause.path ?? ''}`);
      throw cause instanceof RecoveryError ? damaged(config.name, cause.message, cause.code) : cause;
    });
    await rm(`${stage}.jsonl`, { force: true });
    for (const way of ['reflink', 'hardlink', 'stream'] as const) methods[way] += done.methods[way];
  }
  const sizes = sizeOf(lists.entries);
  return { name: config.name, role: config.role, ...sizes, methods, seconds: secondsSince(startedAt), aside: [] };
}

/** Where the disk is a new one, the tree gets the owner that it had. */
async function makeRoot(root: string, entry: TreeEntry | undefined): Promise<void> {
  const made = await mkdir(root, { recursive: true });
  if (made !== undefined && entry?.path === '') await lchown(root, entry.uid, entry.gid);
}

async function discardStage(config: AgentConfig, run: string): Promise<void> {
  for (const { root } of config.trees) {
    const stage = ownFolder(root, 'stage', checkPathSegment(run, 'run'));
    // Half of a swap needs it.
    if (await hasBegun(ownFolder(root, 'aside', run))) continue;
    await rm(stage, { recursive: true, force: true });
    await rm(`${stage}.jsonl`, { force: true });
  }
}
