import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { coldManifestSchema, type ColdManifest, type HostCopy } from '../domain/cold.js';
import { complaintAbout, type HostEvidence, type TreeEntry } from '../domain/cold-files.js';
import { checkPathSegment } from '../domain/names.js';
import { writeAtomically } from './transfer.js';

/**
 * One host's part of a copy:
 *
 *     <copies>/<generation>/<host>/trees/<tree>/…
 *                                 /files.jsonl     one line an entry, with its sha256
 *                                 /evidence.json   parts and rows, and what ZooKeeper listed
 *                                 /manifest.json   written last; without it there is no copy
 */
export class CopyFolder {
  readonly path: string;
  constructor(
    readonly copies: string,
    readonly generation: string,
    readonly host: string,
  ) {
    // They come in requests, and become folders.
    this.path = join(copies, checkPathSegment(generation, 'generation'), checkPathSegment(host, 'host'));
  }
  tree = (name: string) => join(this.path, 'trees', name);
  progress = (name: string) => join(this.path, `progress-${name}.jsonl`);
  private readonly list = () => join(this.path, 'files.jsonl');
  private readonly evidence = () => join(this.path, 'evidence.json');
  private readonly manifest = () => join(this.path, 'manifest.json');

  async make(): Promise<void> {
    await mkdir(this.path, { recursive: true, mode: 0o700 });
  }

  /** Gives the sha256 of both. */
  async writeLists(
    entries: readonly TreeEntry[],
    evidence: HostEvidence,
  ): Promise<Pick<HostCopy, 'list' | 'evidence'>> {
    const list = entries.map((entry) => `${JSON.stringify(entry)}\n`).join('');
    const proof = JSON.stringify(evidence);
    await writeAtomically(this.list(), list);
    await writeAtomically(this.evidence(), proof);
    return { list: sha256(list), evidence: sha256(proof) };
  }

  async commit(manifest: ColdManifest): Promise<void> {
    await writeAtomically(this.manifest(), `${JSON.stringify(manifest, null, 2)}\n`);
  }

  /** Null: there is none, so there is no copy. A text: what is wrong with it. */
  async readManifest(): Promise<ColdManifest | string | null> {
    const text = await textOf(this.manifest());
    if (text === null) return null;
    const parsed = coldManifestSchema.safeParse(jsonOf(text));
    if (!parsed.success) return `manifest.json is damaged: ${parsed.error.issues[0]?.path.join('.') ?? ''}`;
    return parsed.data;
  }

  /** The lists, checked against the manifest's hashes; a text: what is wrong with them. */
  async readLists(manifest: ColdManifest): Promise<{ entries: TreeEntry[]; evidence: HostEvidence } | string> {
    const about = manifest.hosts.find(({ name }) => name === this.host);
    if (!about) return `manifest.json has nothing of ${this.host}`;
    const [list, evidence] = [await textOf(this.list()), await textOf(this.evidence())];
    if (list === null || sha256(list) !== about.list) return 'files.jsonl is missing or altered';
    if (evidence === null || sha256(evidence) !== about.evidence) return 'evidence.json is missing or altered';
    const entries = list
      .split('\n')
      .slice(0, -1)
      .map((line) => entrySchema.parse(JSON.parse(line)));
    const complaint = complaintAbout(entries, about.trees);
    return complaint ?? { entries, evidence: JSON.parse(evidence) as HostEvidence };
  }

  /** First the manifest: half a copy must not look like one. */
  async discard(): Promise<void> {
    await rm(this.manifest(), { force: true });
    await rm(this.path, { recursive: true, force: true });
    // The generation's folder, where no other host is in it.
    await rmdir(join(this.copies, this.generation)).catch(() => undefined);
  }
}

const entrySchema = z.strictObject({
  tree: z.string(),
  path: z.string(),
  kind: z.enum(['file', 'dir', 'link']),
  mode: z.int(),
  uid: z.int(),
  gid: z.int(),
  mtimeMs: z.number(),
  size: z.int().nonnegative(),
  sha256: z.string(),
  target: z.string(),
});

/** Complete copies of this host, oldest first. */
export async function completeCopies(copies: string, host: string): Promise<string[]> {
  const names: string[] = await readdir(copies).catch(() => []);
  const found: { generation: string; takenAt: string }[] = [];
  for (const generation of names) {
    const manifest = await readIfNamed(copies, generation, host);
    if (manifest && typeof manifest !== 'string') found.push({ generation, takenAt: manifest.takenAt });
  }
  return found.sort((a, b) => (a.takenAt < b.takenAt ? -1 : 1)).map(({ generation }) => generation);
}

async function readIfNamed(copies: string, generation: string, host: string) {
  try {
    return await new CopyFolder(copies, generation, host).readManifest();
  } catch {
    return null; // a folder of somebody else
  }
}

export function sha256(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

async function textOf(file: string): Promise<string | null> {
  return readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return null;
    throw cause;
  });
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}
