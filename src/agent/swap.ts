import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { OWN_PREFIX } from '../domain/cold-files.js';
import { RecoveryError } from '../domain/errors.js';
import { syncFolder, writeAtomically } from './transfer.js';

/**
 * Folders of a restore inside of the tree itself: a tree is often a mount point, which cannot be renamed, and what lies in
 * it is on its file system.
 */
export const ownFolder = (root: string, kind: 'stage' | 'aside' | 'rejected', run: string) =>
  join(root, `${OWN_PREFIX}${kind}-${run}`);

/** In the folder that takes what stood there: all of it is in it, so what stands there now is new. */
const COMPLETE = '.complete';

/**
 * What is in the tree goes to `outgoing`, then what is in `incoming` takes its place: renames only, so nothing is copied
 * and a crash leaves each entry in one place or the other. Safe to repeat; who comes after a crash goes on.
 */
export async function swap(root: string, incoming: string, outgoing: string): Promise<void> {
  if (!(await exists(incoming))) {
    if (await exists(join(outgoing, COMPLETE))) return;
    throw new RecoveryError('INTERNAL', `${incoming} is missing: nothing was moved`);
  }
  await mkdir(outgoing, { recursive: true, mode: 0o700 });
  if (!(await exists(join(outgoing, COMPLETE)))) {
    for (const name of await entriesOf(root)) await rename(join(root, name), join(outgoing, name));
    await syncFolder(root);
    await syncFolder(outgoing);
    await writeAtomically(join(outgoing, COMPLETE), '');
  }
  for (const name of await entriesOf(incoming)) await rename(join(incoming, name), join(root, name));
  await syncFolder(root);
  await rm(incoming, { recursive: true });
  await syncFolder(root);
}

/** Whether a swap with this `outgoing` began, so that what stands there may be new. */
export const hasBegun = (outgoing: string) => exists(outgoing);

async function entriesOf(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => !name.startsWith(OWN_PREFIX) && name !== COMPLETE);
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
