import { RecoveryError } from '../domain/errors.js';
import { tableKind, type NodeFacts, type PartsDigest, type TableDefinition } from '../domain/inventory.js';
import { MANIFEST_VERSION, type BackupContents, type Manifest, type ManifestTable } from '../domain/manifest.js';
import { literal, quote, quoteTable, RECOVERY_DATABASE, tableKey } from '../domain/names.js';
import { createRecoveryDatabase } from '../domain/statements.js';
import { parseBackupRef } from '../domain/request.js';
import type { NodeRef } from '../domain/topology.js';
import { z } from 'zod';
import {
  ServerError,
  type BackupRepository,
  type NativeRepository,
  type ClickHouseNode,
  type ClusterPorts,
  type Ports,
} from '../ports.js';
import { capabilitiesOf } from './capabilities.js';
import { latestOfClickHouseBackup } from './clickhouse-backup.js';
import { parseManifest } from './manifest-codec.js';
import * as queries from './queries.js';
import { toDigest } from './unit.js';

/** The catalogue of finished backups: an entry in every node's ledger, so that it outlives a lost shard. */
const catalogueEntry = z.object({ repository: z.string(), name: z.string(), takenAt: z.string() });
export type CatalogueEntry = z.infer<typeof catalogueEntry>;

export async function backupCatalogue(cluster: ClusterPorts, nodes: string[]): Promise<CatalogueEntry[]> {
  const found = new Map<string, CatalogueEntry>();
  for (const name of nodes) {
    const node = cluster.node(name);
    const [ledger] = await node.query<{ found: string }>(queries.HAS_LEDGER);
    if (Number(ledger?.found) === 0) continue;
    for (const row of await node.query<{ detail: string }>(queries.LEDGER_OF_KIND, { params: { kind: 'backup' } })) {
      const entry = catalogueEntry.safeParse(parseJson(row.detail));
      if (entry.success) found.set(`${entry.data.repository}/${entry.data.name}`, entry.data);
    }
  }
  return [...found.values()].sort((a, b) => (a.takenAt < b.takenAt ? 1 : -1));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export async function resolveBackup(
  cluster: ClusterPorts,
  ref: string,
  nodes: string[],
): Promise<{ repository: BackupRepository; name: string }> {
  const wanted = parseBackupRef(ref);
  const repository = (name: string) => {
    const found = cluster.repositories.find((candidate) => candidate.name === name);
    if (!found)
      throw new RecoveryError('BACKUP_UNKNOWN', `no backup repository ${name.slice(0, 100)} in the configuration`, {
        field: 'backup',
        objects: cluster.repositories.map((each) => each.name),
      });
    return found;
  };
  if (wanted.repository !== null && wanted.name !== null)
    return { repository: repository(wanted.repository), name: wanted.name };
  const named = wanted.repository === null ? null : repository(wanted.repository);
  if (named?.kind === 'clickhouse-backup')
    return { repository: named, name: await latestOfClickHouseBackup(cluster, named) };
  const entry = (await backupCatalogue(cluster, nodes)).find(
    (candidate) => wanted.repository === null || candidate.repository === wanted.repository,
  );
  if (!entry)
    throw new RecoveryError(
      'BACKUP_UNKNOWN',
      'no finished backup is known to the nodes that are up; name it as REPO/NAME',
      { field: 'backup' },
    );
  return { repository: repository(entry.repository), name: entry.name };
}

const BACKUP_NOT_FOUND = 599;
/** BACKUP_NOT_FOUND, BACKUP_ENTRY_NOT_FOUND, FILE_DOESNT_EXIST. */
const NOT_FOUND = new Set([BACKUP_NOT_FOUND, 600, 107]);

/** Reads what a backup holds for one shard. The backup is mounted read-only with the engine `Backup`, and unmounted. */
export async function inspectBackup(
  ports: Ports,
  cluster: ClusterPorts,
  repository: NativeRepository,
  name: string,
  at: NodeFacts,
  known: string[],
  peers: TableDefinition[],
): Promise<BackupContents> {
  const shard = at.node.shard;
  const node = cluster.node(at.node.name);
  const destination = repository.destination(shard, name);
  const manifest = await readManifest(ports, cluster, repository, name, at.node);
  if (manifest)
    return {
      evidence: 'manifest',
      repository: repository.name,
      name,
      node: null,
      destination,
      takenAt: manifest.takenAt,
      tables: manifest.tables,
      databases: manifest.databases,
      unfinishedMutations: manifest.unfinishedMutations,
      keeperState: manifest.keeperState,
    };
  const tables: ManifestTable[] = [];
  for (const database of known) {
    const found = await mounted(ports, node, database, destination, (mount) =>
      readMounted(ports, node, mount, database),
    );
    // What the engine cannot mount is taken from the same tables elsewhere in the cluster; RESTORE finds out what is there.
    const listed =
      found === 'unreadable'
        ? peers
            .filter((peer) => peer.database === database && tableKind(peer.engine) !== 'object')
            .map((peer) => ({ ...peer, parts: null, partitionIds: [], source: { database, table: peer.table } }))
        : (found ?? []);
    for (const table of listed)
      tables.push({
        ...table,
        uuid: namedUuid(ports, `${cluster.topology.cluster}/${shard}/${tableKey(table)}/${name}`),
      });
  }
  if (tables.length === 0)
    throw new RecoveryError('BACKUP_UNKNOWN', `nothing is readable at ${destination} for shard ${shard}`, {
      field: 'backup',
      objects: [destination],
    });
  if (tables.every((table) => table.parts !== null && table.parts.parts === 0))
    throw new RecoveryError(
      'MANIFEST_INVALID',
      `${destination} shows tables but no part: the node has had it mounted before; restart the node`,
      { objects: [at.node.name] },
    );
  return {
    evidence: 'backup',
    repository: repository.name,
    name,
    node: null,
    destination,
    takenAt: '',
    tables,
    databases: [],
    unfinishedMutations: [],
    keeperState: [],
  };
}

/** The manifest of one shard, read by one of its nodes; null: the backup has none. */
export async function readManifest(
  ports: Ports,
  cluster: ClusterPorts,
  repository: NativeRepository,
  name: string,
  { name: node, shard }: NodeRef,
): Promise<Manifest | null> {
  const destination = repository.manifestDestination(shard, name);
  const lines = await readManifestLines(ports, cluster.node(node), destination, name);
  if (!lines) return null;
  const manifest = parseManifest(lines, ports.sha256);
  refuseMismatch(manifest, cluster.topology.cluster, shard, name);
  return manifest;
}

function refuseMismatch(manifest: Manifest, cluster: string, shard: string, backup: string): void {
  if (manifest.version > MANIFEST_VERSION)
    throw new RecoveryError(
      'MANIFEST_NEWER',
      `the manifest has version ${manifest.version}, this program knows ${MANIFEST_VERSION}`,
    );
  for (const [field, expected] of [
    ['cluster', cluster],
    ['shard', shard],
    ['backup', backup],
  ] as const)
    if (manifest[field] !== expected)
      throw new RecoveryError(
        'MANIFEST_MISMATCH',
        `the manifest says ${field} ${manifest[field].slice(0, 100)}, expected ${expected}`,
        { field: `manifest.${field}` },
      );
}

/** A UUID that is the same whenever the same table of the same backup is planned. Version 8: a custom one (RFC 9562). */
function namedUuid(ports: Ports, text: string): string {
  const hex = ports.sha256(text);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Databases that `mounted` makes; `unmountAll` drops what is left of them. */
const MOUNT_PREFIX = '_recovery_mount_';

/**
 * Mounts one database of a backup read-only and reads it. Null: the backup or the database in it is not there;
 * 'unreadable': the engine cannot mount it.
 *
 * Dropping a mount empties the engine's in-memory picture of that backup until the server restarts (seen on 26.7): a
 * second mount of it shows its tables without parts. So a mount is kept for the next reader, and the end of the
 * recovery drops it. A kept mount does not hold up a server's start when its backup is gone (seen on 26.7).
 */
export async function mounted<T>(
  ports: Ports,
  node: ClickHouseNode,
  database: string,
  destination: string,
  read: (mount: string) => Promise<T>,
): Promise<T | null | 'unreadable'> {
  const mount = `${MOUNT_PREFIX}${ports.sha256(`${destination}/${database}`).slice(0, 16)}`;
  try {
    await node.execute(
      `CREATE DATABASE IF NOT EXISTS ${quote(mount)} ENGINE = Backup(${literal(database)}, ${destination})`,
    );
    return await read(mount);
  } catch (error) {
    if (error instanceof ServerError && NOT_FOUND.has(error.code)) return null;
    // The engine drops the arguments of replicated engines, and then cannot read some of its own tables (seen on 26.7
    // with VersionedCollapsingMergeTree): callers do without, from other evidence.
    if (error instanceof ServerError) return 'unreadable';
    throw error;
  }
}

export async function unmountAll(node: ClickHouseNode): Promise<void> {
  for (const { name } of await node.query<{ name: string }>(
    `SELECT name FROM system.databases WHERE startsWith(name, '${MOUNT_PREFIX}')`,
  ))
    await node.execute(`DROP DATABASE IF EXISTS ${quote(name)}`);
}

/** The name of the manifest's table in its backup. */
export const MANIFEST_TABLE = { database: RECOVERY_DATABASE, table: 'manifest' };

/** Restores the manifest into a scratch table of this attempt, reads and drops it. Null: there is no manifest. */
async function readManifestLines(
  ports: Ports,
  node: ClickHouseNode,
  destination: string,
  backup: string,
): Promise<string[] | null> {
  const scratch = {
    database: RECOVERY_DATABASE,
    table: `reading ${ports.sha256(`${destination}/${performance.now()}`).slice(0, 12)}`,
  };
  await node.execute(createRecoveryDatabase('restore-replica'));
  try {
    await node.execute(`RESTORE TABLE ${quoteTable(MANIFEST_TABLE)} AS ${quoteTable(scratch)} FROM ${destination}`);
    const rows = await node.query<{ text: string }>(`SELECT text FROM ${quoteTable(scratch)} ORDER BY n`, {
      timeoutMs: 120_000,
    });
    return rows.map((row) => row.text);
  } catch (error) {
    // Only 'there is no such backup' means that there is no manifest. A damaged one must not pass as a plain backup.
    if (error instanceof ServerError && error.code === BACKUP_NOT_FOUND) return null;
    if (error instanceof ServerError)
      throw new RecoveryError(
        'MANIFEST_INVALID',
        `the manifest of ${backup} cannot be read: ${error.message}`.slice(0, 400),
      );
    throw error;
  } finally {
    await node.execute(`DROP TABLE IF EXISTS ${quoteTable(scratch)} SYNC`);
  }
}

/** Definitions and parts of a mounted backup. `Replicated` and UUID are not shown there. */
export async function readMounted(
  _ports: Ports,
  node: ClickHouseNode,
  mount: string,
  database: string,
): Promise<ManifestTable[]> {
  const definitions = await node.query<TableDefinition>(queries.queriesFor(await capabilitiesOf(node)).TABLES, {
    params: { databases: [mount] },
  });
  const digests = await mountedDigests(node, mount);
  return definitions.map((definition) => {
    const engineFull = definition.engineFull
      .replace(/(?:,)? ?storage_policy = '__database_backup(?:[^'\\]|\\.)*'/, '')
      .replace(/ SETTINGS *$/, '');
    const createQuery = definition.createQuery.replace(` ENGINE = ${definition.engineFull}`, ` ENGINE = ${engineFull}`);
    const found = digests.get(definition.table);
    return {
      ...definition,
      database,
      engineFull,
      createQuery,
      parts: tableKind(definition.engine) === 'object' ? null : (found?.parts ?? { parts: 0, rows: 0, digest: '0' }),
      partitionIds: found?.partitionIds ?? [],
      source: { database, table: definition.table },
    };
  });
}

export async function mountedDigests(
  node: ClickHouseNode,
  mount: string,
): Promise<Map<string, { parts: PartsDigest; partitionIds: string[] }>> {
  const rows = await node.query<{ table: string; parts: string; rows: string; digest: string; ids: string[] }>(
    `SELECT table, count() AS parts, sum(p.rows) AS rows, toString(sum(cityHash64(p.hash_of_all_files, p.rows))) AS digest, groupUniqArray(partition_id) AS ids FROM system.parts AS p WHERE p.active AND p.rows > 0 AND database = {mount:String} GROUP BY table`,
    { params: { mount }, timeoutMs: 120_000 },
  );
  return new Map(rows.map((row) => [row.table, { parts: toDigest(row), partitionIds: row.ids }]));
}
