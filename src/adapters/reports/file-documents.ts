import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { RecoveryError } from '../../domain/errors.js';
import type { Documents } from './documents.js';

/** Documents as files below a folder. */
export function fileDocuments(dir: string): Documents {
  const root = resolve(dir);
  return {
    put: ({ name, text }) => writeAtomically(root, join(root, name), text),
    get: (name) => readIfThere(join(root, name)),
    list: async (prefix, suffix) => {
      const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
      const names = await readdir(join(root, folder)).catch(ignoreAbsent);
      return names
        .map((name) => `${folder}${name}`)
        .filter((name) => name.startsWith(prefix) && name.endsWith(suffix))
        .sort();
    },
  };
}

function ignoreAbsent(cause: NodeJS.ErrnoException): string[] {
  if (cause.code === 'ENOENT') return [];
  throw new RecoveryError('REPORTS_UNAVAILABLE', `${cause.path ?? ''} cannot be read (${cause.code ?? 'error'})`);
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw new RecoveryError('REPORTS_UNAVAILABLE', `${path} cannot be read (${code ?? 'error'})`);
  }
}

/** A reader sees the old file or the whole new one. A link in the place of the file is replaced, not followed. */
async function writeAtomically(root: string, path: string, text: string): Promise<string> {
  if (!path.startsWith(`${root}${sep}`)) throw new RecoveryError('INTERNAL', 'a report would be outside its folder');
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `.${randomUUID()}.tmp`);
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw cause;
  }
  return path;
}
