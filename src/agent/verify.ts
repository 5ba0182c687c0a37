import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { ColdManifest } from '../domain/cold.js';
import { RecoveryError } from '../domain/errors.js';
import { CopyFolder } from './copies.js';
import { hashFile } from './transfer.js';
import { walk } from './tree.js';

export interface VerifiedHost {
  host: string;
  files: number;
  bytes: number;
  /** What is wrong; at most a hundred. */
  findings: string[];
}

export interface VerifiedCopy {
  generation: string;
  cluster: string;
  takenAt: string;
  ok: boolean;
  hosts: VerifiedHost[];
  /** Hosts of the copy whose part is not in this folder: each host has its own. */
  elsewhere: string[];
}

const MAX_FINDINGS = 100;

/**
 * Reads every file of a copy and compares it with its hash, without Temporal, an agent or a server. `folder` is that of the
 * generation; the parts of all hosts that are in it are verified. Throws `COPY_UNKNOWN`.
 */
export async function verifyCopy(folder: string): Promise<VerifiedCopy> {
  const path = resolve(folder);
  const [copies, generation] = [dirname(path), basename(path)];
  const names: string[] = await readdir(path).catch(() => []);
  const manifests: ColdManifest[] = [];
  const hosts: VerifiedHost[] = [];
  for (const host of names.sort()) {
    if (!(await stat(join(path, host))).isDirectory()) continue;
    const copy = new CopyFolder(copies, generation, host);
    const manifest = await copy.readManifest();
    if (manifest && typeof manifest !== 'string') manifests.push(manifest);
    hosts.push(await verifyHost(copy, manifest, manifests[0]));
  }
  const [manifest] = manifests;
  if (!manifest) throw new RecoveryError('COPY_UNKNOWN', `${path} holds no manifest of a copy`, { field: 'folder' });
  return {
    ...{ generation, cluster: manifest.cluster, takenAt: manifest.takenAt },
    ok: hosts.every(({ findings }) => findings.length === 0),
    hosts,
    elsewhere: manifest.hosts.map(({ name }) => name).filter((name) => !names.includes(name)),
  };
}

async function verifyHost(
  copy: CopyFolder,
  manifest: ColdManifest | string | null,
  first: ColdManifest | undefined,
): Promise<VerifiedHost> {
  const nothing = { host: copy.host, files: 0, bytes: 0 };
  if (manifest === null) return { ...nothing, findings: ['manifest.json is missing: this is no copy'] };
  if (typeof manifest === 'string') return { ...nothing, findings: [manifest] };
  const findings: string[] = [];
  if (JSON.stringify(manifest) !== JSON.stringify(first) || manifest.generation !== copy.generation)
    findings.push(`is of ${manifest.generation}, taken ${manifest.takenAt}: mixed generations`);
  const lists = await copy.readLists(manifest);
  if (typeof lists === 'string') return { ...nothing, findings: [...findings, lists] };
  const listed = new Set(lists.entries.map(({ tree, path }) => `${tree}/${path}`));
  let files = 0;
  let bytes = 0;
  for (const { tree, path, kind, size, sha256 } of lists.entries) {
    if (kind !== 'file') continue;
    const file = join(copy.tree(tree), path);
    const found = await stat(file).catch(() => null);
    if (!found) findings.push(`${tree}/${path} is missing`);
    else if (found.size !== size) findings.push(`${tree}/${path} has ${found.size} bytes, not ${size}`);
    else if ((await hashFile(file)) !== sha256) findings.push(`${tree}/${path} has another sha256`);
    files++;
    bytes += size;
    if (findings.length >= MAX_FINDINGS) break;
  }
  for (const name of new Set(lists.entries.map(({ tree }) => tree)))
    for await (const entry of walk({ name, root: copy.tree(name) }, new Set(), { anyLinks: true }))
      if (!listed.has(`${name}/${entry.path}`) && findings.length < MAX_FINDINGS)
        findings.push(`${name}/${entry.path} is not in the list: a restore leaves it out`);
  return { host: copy.host, files, bytes, findings };
}
