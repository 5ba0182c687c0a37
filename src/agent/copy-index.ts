import type { ColdManifest, HostCopy } from '../domain/cold.js';
import type { TreeEntry } from '../domain/cold-files.js';
import type { PartsOnDisk } from '../domain/cold-parts.js';
import { sha256, type CopyFolder } from './copies.js';
import { damaged } from './failures.js';

/** One host's copy, to look things up in. */
export interface CopyIndex {
  manifest: ColdManifest;
  /** sha256 of the manifest. */
  id: string;
  about: HostCopy;
  /** Files of the parts of a table, by `<tree>/data/<database>/<table>`. */
  parts: ReadonlyMap<string, TreeEntry[]>;
  /** Everything below `metadata/`. */
  metadata: TreeEntry[];
  tables: PartsOnDisk[];
}

/** How long the index of a copy is kept for the next table. Milliseconds. */
const KEEP_MS = 60_000;

/** Hundreds of tables of one copy are placed one after the other: its lists, of maybe a million files, are read once. */
export class CopyIndexes {
  private kept: { path: string; id: string; index: Promise<CopyIndex>; timer: NodeJS.Timeout } | null = null;

  /** Throws `COPY_UNKNOWN`, `COPY_DAMAGED`. The manifest is read each time: another copy may have taken the name. */
  async of(copy: CopyFolder): Promise<CopyIndex> {
    const manifest = await copy.readManifest();
    if (manifest === null)
      throw damaged(copy.host, `there is no copy ${copy.generation}, or it was not finished`, 'COPY_UNKNOWN');
    if (typeof manifest === 'string') throw damaged(copy.host, manifest);
    const id = sha256(JSON.stringify(manifest));
    if (this.kept?.path !== copy.path || this.kept.id !== id) {
      this.forget();
      const kept = { path: copy.path, id, index: read(copy, manifest, id), timer: setTimeout(() => undefined, 0) };
      // What failed is tried anew by who asks next.
      kept.index.catch(() => this.kept === kept && this.forget());
      this.kept = kept;
    }
    clearTimeout(this.kept.timer);
    this.kept.timer = setTimeout(() => this.forget(), KEEP_MS).unref();
    return this.kept.index;
  }

  private forget(): void {
    if (this.kept) clearTimeout(this.kept.timer);
    this.kept = null;
  }
}

async function read(copy: CopyFolder, manifest: ColdManifest, id: string): Promise<CopyIndex> {
  const about = manifest.hosts.find(({ name }) => name === copy.host);
  const lists = await copy.readLists(manifest);
  if (typeof lists === 'string') throw damaged(copy.host, lists);
  if (!about) throw damaged(copy.host, `manifest.json has nothing of ${copy.host}`);
  const parts = new Map<string, TreeEntry[]>();
  const metadata: TreeEntry[] = [];
  for (const entry of lists.entries) {
    const [top, database, table, part] = entry.path.split('/', 4);
    if (top === 'metadata') metadata.push(entry);
    if (top !== 'data' || part === undefined || part === 'detached') continue;
    const key = `${entry.tree}/data/${database}/${table}`;
    const known = parts.get(key);
    if (known) known.push(entry);
    else parts.set(key, [entry]);
  }
  return { manifest, id, about, parts, metadata, tables: lists.evidence.parts };
}
