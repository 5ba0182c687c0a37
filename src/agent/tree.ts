import { lstatSync, type Stats } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { activeParts, type DiskPart, type PartsOnDisk } from '../domain/cold-parts.js';
import { partBlocks } from '../domain/part-name.js';
import { leadsOut, OWN_PREFIX, type TreeEntry } from '../domain/cold-files.js';
import { RecoveryError } from '../domain/errors.js';

export interface Tree {
  name: string;
  root: string;
}

/** Of a running server, files come and go. */
function orGone<T>(cause: unknown, instead: T): T {
  if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return instead;
  throw cause;
}

/**
 * A folder comes before what is in it. Sockets and pipes are left out, and what is ours. `leaveOut`: absolute folders.
 * `anyLinks`: of a copy, whose links lead to where the tree was. @throws RecoveryError `CONFIG_INVALID` for a link that leads
 * out of its tree: it would bring back a name, and not what it stands for
 */
export async function* walk(
  { name, root }: Tree,
  leaveOut: ReadonlySet<string> = new Set(),
  { anyLinks = false } = {},
): AsyncGenerator<TreeEntry> {
  const folders = [''];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const stat = lstatSync(join(root, folder), { throwIfNoEntry: false });
    if (!stat) continue;
    yield entryOf(name, folder, 'dir', stat);
    const names = await readdir(join(root, folder)).catch((cause: unknown) => orGone<string[]>(cause, []));
    for (const child of names.sort()) {
      const path = folder === '' ? child : `${folder}/${child}`;
      const absolute = join(root, path);
      if ((folder === '' && child.startsWith(OWN_PREFIX)) || leaveOut.has(absolute)) continue;
      // Not by the thread pool: the trip takes longer than the look.
      const found = lstatSync(absolute, { throwIfNoEntry: false });
      if (found?.isDirectory()) folders.push(path);
      else if (found?.isFile()) yield entryOf(name, path, 'file', found);
      else if (found?.isSymbolicLink()) {
        const target = await readlink(absolute);
        if (!anyLinks && leadsOut(path, target, root))
          throw new RecoveryError(
            'CONFIG_INVALID',
            `${absolute} is a link to ${target}, outside of its tree: make what it leads to a tree of its own in agent.yaml, mounted in place of the link`,
            { field: `trees.${name}` },
          );
        yield { ...entryOf(name, path, 'link', found), target };
      }
    }
  }
}

function entryOf(tree: string, path: string, kind: TreeEntry['kind'], stat: Stats): TreeEntry {
  return {
    ...{ tree, path, kind, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid, mtimeMs: stat.mtimeMs },
    ...{ size: kind === 'file' ? stat.size : 0, sha256: '', target: '' },
  };
}

/** Deeper than any table's folder: `store/ab/<uuid>` and `data/<database>/<table>` have 3. */
const MAX_DEPTH = 6;

/**
 * The tables of a tree as they lie there. `dropped`: folders of parts that the server no longer counted before it stopped
 * although no other part covers them, since their partition was dropped or replaced.
 */
export async function partsOnDisk({ name, root }: Tree, dropped: ReadonlySet<string>): Promise<PartsOnDisk[]> {
  const tables: PartsOnDisk[] = [];
  const look = async (folder: string, depth: number): Promise<void> => {
    const children = await readdir(join(root, folder), { withFileTypes: true }).catch((cause: unknown) =>
      orGone(cause, []),
    );
    const folders = children.filter((child) => child.isDirectory()).map((child) => child.name);
    if (!folders.includes('detached')) {
      if (depth < MAX_DEPTH)
        for (const child of folders.sort())
          if (!(depth === 0 && child.startsWith(OWN_PREFIX)))
            await look(folder === '' ? child : `${folder}/${child}`, depth + 1);
      return;
    }
    const at = (child: string) => join(root, folder, child);
    const isPart = (child: string) => partBlocks(child) !== null && !/^(tmp|delete_tmp)_/.test(child);
    const parts = folders.filter(isPart);
    tables.push({
      table: `${name}/${folder}`,
      active: activeParts(
        await Promise.all(
          parts
            .filter((part) => !dropped.has(at(part)))
            .map(async (part) => ({ name: part, rows: await rowsOf(at(part)) })),
        ),
      ),
      detached: (await readdir(at('detached')).catch((cause: unknown) => orGone<string[]>(cause, []))).sort(),
      dropped: parts.filter((part) => dropped.has(at(part))),
    });
  };
  await look('', 0);
  return tables;
}

async function rowsOf(part: string): Promise<DiskPart['rows']> {
  const text = await readFile(join(part, 'count.txt'), 'utf8').catch((cause: unknown) => orGone(cause, ''));
  return /^\d{1,15}\s*$/.test(text) ? Number(text) : null;
}
