import type { PartsOnDisk } from './cold-parts.js';

/** One entry of a tree: a file, a folder or a symbolic link. `path` is relative, with `/`, `` for the tree itself. */
export interface TreeEntry {
  tree: string;
  path: string;
  kind: 'file' | 'dir' | 'link';
  mode: number;
  uid: number;
  gid: number;
  mtimeMs: number;
  /** Of a file. */
  size: number;
  sha256: string;
  /** Of a link. */
  target: string;
}

/** What a host's copy holds beside its files. */
export interface HostEvidence {
  parts: PartsOnDisk[];
  /** What ZooKeeper listed for this node's replicas, packed; '' for a ZooKeeper server. */
  keeperParts: string;
}

/** Ours, in a tree: what is being put into place, and what stood there before. Never copied. */
export const OWN_PREFIX = '.cold-';

const PART_FOLDER =
  /^(?!tmp|delete_tmp_|attaching_|deleting_|moving_|broken|ignored_|unexpected_).+_\d+_\d+_\d+(_\d+)?$/;
/** Written once, with their part. Whitelisted: what an older or newer server writes beside them is copied. */
const IMMUTABLE_FILE = /\.(bin|mrk\d?|cmrk\d?|idx|cidx)$/;

/**
 * Whether a file may be a hard link to the server's own: part files are written once and only ever unlinked, or replaced
 * by renaming another file over them. Everything else is written in place by somebody: `metadata/*.sql`,
 * `mutation_*.txt`, `format_version.txt`, `txn_version.txt`, `increment`, `uuid`, Log tables, and all of ZooKeeper's
 * logs and snapshots.
 */
export function isImmutable(path: string): boolean {
  const folders = path.split('/');
  const name = folders.pop() ?? '';
  if (!IMMUTABLE_FILE.test(name) || folders.includes('detached')) return false;
  // A projection is a folder in its part.
  if (folders.at(-1)?.endsWith('.proj')) folders.pop();
  // `data/db/table/part` and `store/abc/uuid/part`: a Log table may have a part's name.
  const depth = folders[0] === 'data' || folders[0] === 'store' ? 4 : 3;
  return PART_FOLDER.test(folders.at(-1) ?? '') && folders.length >= depth;
}

/** A link that leads out of its tree would bring back a name and not what it stands for. */
export function leadsOut(path: string, target: string, root: string): boolean {
  const absolute = target.startsWith('/') ? target : `${root}/${path}/../${target}`;
  const parts: string[] = [];
  for (const part of absolute.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  const resolved = `/${parts.join('/')}`;
  return resolved !== root && !resolved.startsWith(`${root}/`);
}

/** Complaint about a list of files that could write elsewhere, or that is not one of ours; null: none. */
export function complaintAbout(entries: readonly TreeEntry[], trees: readonly string[]): string | null {
  const folders = new Set<string>();
  const seen = new Set<string>();
  for (const entry of entries) {
    const at = `${entry.tree}/${entry.path}`;
    if (!trees.includes(entry.tree)) return `${at}: there is no such tree`;
    if (seen.has(at)) return `${at} is there twice`;
    seen.add(at);
    const segments = entry.path.split('/');
    if (entry.path !== '' && segments.some((segment) => segment === '' || segment === '.' || segment === '..'))
      return `${at} is no path in its tree`;
    const parent = segments.slice(0, -1).join('/');
    // So that nothing is written through a link.
    if (entry.path !== '' && !folders.has(`${entry.tree}/${parent}`)) return `${at}: its folder is not in the list`;
    if (entry.kind === 'dir') folders.add(at);
  }
  return null;
}
