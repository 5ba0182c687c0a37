import { lstat, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { cancellationDetails } from '@temporalio/activity';
import { pack } from '../activities/packed.js';
import { runStep, type StepContext } from '../activities/runtime.js';
import type { AgentConfig } from '../config/agent.js';
import type { CopyMethod } from '../domain/cold.js';
import { folderOf, inAttachOrder, isPartName, toAttach, type CopyContents } from '../domain/cold-place.js';
import { OWN_PREFIX, type TreeEntry } from '../domain/cold-files.js';
import { RecoveryError } from '../domain/errors.js';
import { checkName, cloneName, tableKey, type TableName } from '../domain/names.js';
import { partBlocks } from '../domain/part-name.js';
import { copiedTables, partsOf } from './copied-tables.js';
import { completeCopies, CopyFolder, sha256 } from './copies.js';
import { CopyIndexes, type CopyIndex } from './copy-index.js';
import { damaged, withErrno } from './failures.js';
import { hashFile, syncFolder, transfer } from './transfer.js';

export interface PlaceRequest extends TableName {
  generation: string;
  /** sha256 of the manifest that was planned with. */
  manifest: string;
}

export interface PlacedParts {
  /** Names of the parts that stand in detached/ now, in attach order; packed. */
  parts: string;
  waiting: number;
  /** Attached parts that are none of the copy's, or came before their turn. */
  extra: number;
  methods: Record<CopyMethod, number>;
}

/**
 * What an agent does for a recovery, beside a service that runs: it reads its copies, and puts the parts of one table into
 * detached/ of its staging table in `_recovery`. Where that is, it works out itself, from its own agent.yaml.
 */
export function createPartsActivities(config: AgentConfig) {
  const indexes = new CopyIndexes();
  const folder = (generation: string) => new CopyFolder(config.copies, generation, config.name);
  const step = <T>(body: (context: StepContext) => Promise<T>) =>
    runStep(0, (context) => withErrno(config.name, 'RESTORE_FAILED', () => body(context)));
  return {
    /** Complete ones, oldest first. */
    async listCopies(): Promise<string[]> {
      return step(() => completeCopies(config.copies, config.name));
    },
    /** `CopyContents`, packed. */
    async readCopy({ generation }: { generation: string }): Promise<string> {
      return step(async () => {
        const copy = folder(generation);
        const contents: CopyContents = await copiedTables(copy, await indexes.of(copy));
        return pack(contents, `${config.name}: the definitions of ${contents.tables.length} tables`);
      });
    },
    async placeParts(request: PlaceRequest): Promise<PlacedParts> {
      return step(async (context) => {
        const copy = folder(request.generation);
        try {
          return await placeParts(config, copy, await indexes.of(copy), request, context);
        } catch (error) {
          // Nobody comes after an abort. After any other end of this attempt somebody may be at it already.
          if (cancellationDetails()?.cancelRequested)
            for (const { root } of config.trees) await discardStage(stageOf(root, request, request.manifest));
          throw error;
        }
      });
    },
  };
}

export type PartsActivities = ReturnType<typeof createPartsActivities>;

/** A part of the copy that is to stand in detached/, with its files. */
interface Part {
  name: string;
  tree: string;
  files: TreeEntry[];
  checksums: string;
}

export async function placeParts(
  config: AgentConfig,
  copy: CopyFolder,
  index: CopyIndex,
  request: PlaceRequest,
  context: StepContext,
): Promise<PlacedParts> {
  const name = { database: checkName(request.database, 'database'), table: checkName(request.table, 'table') };
  if (index.id !== request.manifest)
    throw damaged(config.name, `its copy ${copy.generation} is another than was planned with`, 'MANIFEST_MISMATCH');
  const parts = partsToPlace(config.name, index, folderOf(name));
  const target = await stagingFolder(config, name);
  const { waiting, extra } = toAttach(parts, await attachedParts(target.folder));
  const detached = join(target.folder, 'detached');
  const missing: Part[] = [];
  for (const part of parts.filter((each) => waiting.includes(each.name))) {
    context.assertFresh();
    if (await isRight(part, join(detached, part.name))) continue;
    await rm(join(detached, part.name), { recursive: true, force: true });
    missing.push(part);
  }
  const methods = await transferParts(
    config,
    copy,
    missing,
    { ...target, detached, name, manifest: index.id },
    context,
  );
  return {
    parts: await pack(waiting, `${tableKey(name)}: the names of ${waiting.length} parts`),
    ...{ waiting: waiting.length, extra, methods },
  };
}

function partsToPlace(host: string, index: CopyIndex, folder: string): Part[] {
  const found = partsOf(index, folder);
  if (!found) throw damaged(host, `the copy has no ${folder}`, 'BACKUP_UNKNOWN');
  const byName = new Map(found.map(({ tree, part }) => [part.name, tree]));
  if (byName.size !== found.length) throw damaged(host, `${folder}: a part is there twice`);
  const files = new Map<string, TreeEntry[]>();
  for (const tree of new Set(byName.values()))
    for (const entry of index.parts.get(`${tree}/${folder}`) ?? []) {
      const part = entry.path.slice(folder.length + 1).split('/', 1)[0] ?? '';
      if (byName.get(part) !== tree) continue;
      const known = files.get(part);
      if (known) known.push(entry);
      else files.set(part, [entry]);
    }
  return inAttachOrder([...byName.keys()]).map((name) => {
    const own = files.get(name) ?? [];
    if (!isPartName(name) || own.length === 0 || own.some(({ kind }) => kind === 'link'))
      throw damaged(host, `${folder}/${name} is no part`);
    const checksums = own.find(({ path }) => path === `${folder}/${name}/checksums.txt`)?.sha256 ?? '';
    return { name, tree: byName.get(name) ?? '', files: own, checksums };
  });
}

/** Where the server keeps the staging table: its folder is there, since the server makes it before anything is placed. */
async function stagingFolder(config: AgentConfig, name: TableName): Promise<{ root: string; folder: string }> {
  const path = folderOf(cloneName('staging', name));
  for (const { root } of config.trees) {
    const folder = join(root, path);
    const found = await lstat(join(folder, 'detached')).catch(() => null);
    if (found?.isDirectory()) return { root, folder };
  }
  throw damaged(
    config.name,
    `its server has no ${path}/detached below ${config.trees.map(({ root }) => root).join(', ')}: agent.yaml names other folders than the server uses`,
    'RESTORE_FAILED',
  );
}

/** Of the parts that the table has: the hash of each one's list of checksums, which stays as it is when a part is attached. */
async function attachedParts(folder: string): Promise<string[]> {
  const names = (await readdir(folder, { withFileTypes: true }))
    .filter((child) => child.isDirectory() && !/^(tmp|delete_tmp)_/.test(child.name))
    .map((child) => child.name)
    .filter((child) => partBlocks(child) !== null);
  return Promise.all(names.map((child) => hashFile(join(folder, child, 'checksums.txt')).catch(() => 'none')));
}

/** Whether all of a part stands there, and nothing else: read and hashed, whoever put it there. */
async function isRight(part: Part, folder: string): Promise<boolean> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => null);
  const files = part.files.filter(({ kind }) => kind === 'file');
  if (entries?.filter((entry) => !entry.isDirectory()).length !== files.length) return false;
  for (const { path, size, sha256: expected } of files) {
    const file = join(folder, path.slice(path.indexOf(`/${part.name}/`) + part.name.length + 2));
    const found = await lstat(file).catch(() => null);
    if (!found?.isFile() || found.size !== size || (await hashFile(file)) !== expected) return false;
  }
  return true;
}

/** All of one table, in its tree, whatever the copy. */
const stagesOf = (root: string, name: TableName) =>
  join(root, `${OWN_PREFIX}place-${sha256(tableKey(name)).slice(0, 16)}-`);

/** Of one copy: what another left there is not gone on with. */
const stageOf = (root: string, name: TableName, manifest: string) =>
  `${stagesOf(root, name)}${sha256(manifest).slice(0, 16)}`;

async function discardOtherStages(root: string, name: TableName, stage: string): Promise<void> {
  for (const child of await readdir(root)) {
    const path = join(root, child);
    if (path.startsWith(stagesOf(root, name)) && !path.startsWith(stage))
      await rm(path, { recursive: true, force: true });
  }
}

async function discardStage(stage: string): Promise<void> {
  await rm(stage, { recursive: true, force: true });
  await rm(`${stage}.jsonl`, { force: true });
}

interface Target {
  root: string;
  detached: string;
  name: TableName;
  manifest: string;
}

/** Beside detached/ first: what the server can see there is whole. */
async function transferParts(
  config: AgentConfig,
  copy: CopyFolder,
  parts: readonly Part[],
  { root, detached, name, manifest }: Target,
  context: StepContext,
): Promise<PlacedParts['methods']> {
  const methods: PlacedParts['methods'] = { reflink: 0, hardlink: 0, stream: 0 };
  const stage = stageOf(root, name, manifest);
  await discardOtherStages(root, name, stage);
  if (parts.length === 0) {
    await discardStage(stage);
    return methods;
  }
  const owner = await stat(detached);
  try {
    for (const tree of new Set(parts.map((part) => part.tree))) {
      const own = parts.filter((part) => part.tree === tree);
      const entries = own.flatMap(({ files }) => files.map((file) => ({ ...file, uid: owner.uid, gid: owner.gid })));
      // A link has the owner of the file: a server that runs as somebody else could not read it.
      const sameOwner = own.every(({ files }) => files.every(({ uid }) => uid === owner.uid));
      const sameDevice = (await stat(copy.path)).dev === owner.dev;
      const done = await transfer({
        ...{ entries, from: copy.tree(tree), to: stage, progressFile: `${stage}.jsonl` },
        method: config.links && sameOwner && sameDevice ? 'hardlink' : 'stream',
        check: () => context.assertFresh(),
        onFile: (progress) => context.progress({ table: tableKey(name), ...progress }),
      });
      for (const way of ['reflink', 'hardlink', 'stream'] as const) methods[way] += done.methods[way];
      for (const { name: part } of own) await rename(join(stage, folderOf(name), part), join(detached, part));
    }
    await syncFolder(detached);
  } catch (error) {
    // Of an attempt that is cut off, who comes next goes on.
    if (!(error instanceof RecoveryError && error.code === 'STALE_ATTEMPT')) await discardStage(stage);
    const { code, path } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw damaged(config.name, `a file is missing: ${path ?? ''}`);
    throw error instanceof RecoveryError ? damaged(config.name, error.message, error.code) : error;
  }
  await discardStage(stage);
  return methods;
}
