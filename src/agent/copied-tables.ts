import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  createQueryOf,
  folderOf,
  nameOfFile,
  tableOfMetadata,
  type CopiedTable,
  type CopyContents,
} from '../domain/cold-place.js';
import type { TreeEntry } from '../domain/cold-files.js';
import type { DiskPart, PartsOnDisk } from '../domain/cold-parts.js';
import { OWN_DATABASES } from '../domain/names.js';
import { sha256, type CopyFolder } from './copies.js';
import type { CopyIndex } from './copy-index.js';
import { damaged } from './failures.js';

/** The tables of a copy as its server defined them: of databases of the engine Ordinary, which have their parts under their names. */
export async function copiedTables(copy: CopyFolder, index: CopyIndex): Promise<CopyContents> {
  const { manifest, about, id } = index;
  const databases: CopyContents['databases'] = [];
  const tables: CopiedTable[] = [];
  for (const entry of index.metadata) {
    const [, folder = '', ...rest] = entry.path.split('/');
    const database = nameOfFile(folder);
    if (
      folder !== '' &&
      rest.length === 0 &&
      entry.kind !== 'file' &&
      database !== null &&
      !OWN_DATABASES.includes(database)
    ) {
      // A link to `store/`, or a file that says so: a database of another engine.
      const engine = entry.kind === 'link' ? 'Atomic' : await engineOf(copy, index, folder);
      if (engine === 'Atomic')
        throw damaged(
          copy.host,
          `the database ${database} of the copy is Atomic: agents place parts of Ordinary ones only; RESTORE or \`ch-recover cold restore\` bring it back`,
          'NOT_RECOVERABLE',
        );
      databases.push({ name: database, engine });
    }
    const name = entry.kind === 'file' ? tableOfMetadata(entry.path) : null;
    if (name)
      tables.push({
        ...name,
        query: createQueryOf(name, await textOf(copy, entry)),
        ...counted(partsOf(index, folderOf(name))),
      });
  }
  return {
    ...{ host: copy.host, cluster: manifest.cluster, generation: manifest.generation, takenAt: manifest.takenAt },
    ...{ manifest: id, macros: about.macros, databases, tables },
  };
}

/** A table may have parts in several trees, one a disk. Null: it has no folder of parts in any. */
export function partsOf(index: CopyIndex, folder: string): { tree: string; part: DiskPart }[] | null {
  const found = index.tables.filter((table) => table.table === `${treeOf(table)}/${folder}`);
  if (found.length === 0) return null;
  // What has no rows is what a REPLACE PARTITION left.
  return found.flatMap((table) =>
    table.active.filter(({ rows }) => rows !== 0).map((part) => ({ tree: treeOf(table), part })),
  );
}

const treeOf = ({ table }: PartsOnDisk) => table.slice(0, table.indexOf('/'));

function counted(parts: { part: DiskPart }[] | null): Pick<CopiedTable, 'parts' | 'rows'> {
  if (!parts) return { parts: null, rows: null };
  const isKnown = parts.every(({ part }) => part.rows !== null);
  return { parts: parts.length, rows: isKnown ? parts.reduce((sum, { part }) => sum + (part.rows ?? 0), 0) : null };
}

async function engineOf(copy: CopyFolder, { metadata }: CopyIndex, folder: string): Promise<string> {
  const entry = metadata.find(({ path, kind }) => kind === 'file' && path === `metadata/${folder}.sql`);
  const text = entry ? await textOf(copy, entry) : '';
  // Before there were such files, all were Ordinary.
  return /\bENGINE = (\w+)/.exec(text)?.[1] ?? 'Ordinary';
}

/** A file of the copy, which is what was copied. */
async function textOf(copy: CopyFolder, { tree, path, sha256: expected }: TreeEntry): Promise<string> {
  const text = await readFile(join(copy.tree(tree), path), 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') throw damaged(copy.host, `${tree}/${path} is missing`);
    throw cause;
  });
  if (sha256(text) !== expected) throw damaged(copy.host, `${tree}/${path}: sha256 is ${sha256(text)}`);
  return text;
}
