import { RecoveryError } from '../domain/errors.js';
import { sameParts, type PartsDigest, type TableFacts } from '../domain/inventory.js';
import { MANIFEST_VERSION, type Manifest, type ManifestTable } from '../domain/manifest.js';
import { literal, quote, RECOVERY_DATABASE, tableKey } from '../domain/names.js';
import { backup, backupAs } from '../domain/statements.js';
import type { NodeRef } from '../domain/topology.js';
import { ServerError, type BackupRepository, type ClickHouseNode, type ClusterPorts, type Ports } from '../ports.js';
import { MANIFEST_TABLE, mounted, mountedDigests, unmountAll } from './inspect-backup.js';
import { ensureLedger, readLedger, writeLedger } from './ledger.js';
import { encodeManifest } from './manifest-codec.js';
import { countRows, observeNode } from './observe-node.js';
import * as queries from './queries.js';
import { pause, type StepContext } from './runtime.js';

const POLL_MS = 200;

export interface ShardBackup {
  shard: string;
  node: string;
  tables: number;
  rows: number;
  parts: number;
  bytes: number;
  /** Tables whose parts the manifest knows exactly. */
  exact: number;
}

export interface BackupRun {
  cluster: string;
  repository: string;
  name: string;
  takenAt: string;
}

/** One shard: `BACKUP … ASYNC`, then what it really holds is read back from it, then the manifest, last: the commit point. */
export async function backupShard(
  ports: Ports,
  run: BackupRun,
  ref: NodeRef,
  context: StepContext,
): Promise<ShardBackup> {
  const cluster = ports.cluster(run.cluster);
  const repository = findRepository(cluster, run.repository);
  const node = cluster.node(ref.name);
  await ensureLedger(node);
  const before = await observeNode(cluster, ref, ports.sha256);
  const { tables } = before;
  // A streaming table's rows are elsewhere: the manifest keeps its definition.
  const direct = tables.filter((table) => !isInner(table) && table.kind !== 'streaming');
  if (direct.length === 0)
    throw new RecoveryError('BACKUP_FAILED', `node ${ref.name} has no tables`, { objects: [ref.name] });
  const destination = repository.destination(ref.shard, run.name);
  const rowsBefore = await countWhole(node, tables);
  const bytes = await runBackup(
    node,
    backup(
      direct.map((table) => table.definition),
      destination,
      operationId(ports, run, ref, 'data'),
    ),
    operationId(ports, run, ref, 'data'),
    context,
  );
  const after = await observeNode(cluster, ref, ports.sha256);
  const rowsAfter = await countWhole(node, tables);
  const wholes = new Map([...rowsBefore].filter(([key, rows]) => rowsAfter.get(key) === rows));
  const manifestTables = await describe(ports, node, destination, tables, after.tables, wholes);
  const mutations = await node.query<{ database: string; table: string; mutationId: string; command: string }>(
    queries.MUTATIONS,
    { params: { databases: before.databases.map((database) => database.name) } },
  );
  const manifest: Manifest = {
    version: MANIFEST_VERSION,
    cluster: run.cluster,
    shard: ref.shard,
    replica: ref.replica,
    backup: run.name,
    takenAt: run.takenAt,
    serverVersion: before.version,
    macros: before.macros,
    databases: before.databases,
    tables: manifestTables,
    unfinishedMutations: mutations,
    keeperState: before.keeperState.map(({ what, detail }) => ({ what, detail })),
  };
  await writeManifest(
    ports,
    node,
    manifest,
    repository.manifestDestination(ref.shard, run.name),
    operationId(ports, run, ref, 'manifest'),
    context,
  );
  const sum = (pick: (parts: PartsDigest) => number) =>
    manifestTables.reduce((total, table) => total + (table.parts ? pick(table.parts) : 0), 0);
  return {
    shard: ref.shard,
    node: ref.name,
    tables: manifestTables.length,
    rows: sum((parts) => parts.rows),
    parts: sum((parts) => parts.parts),
    bytes,
    exact: manifestTables.filter((table) => table.parts !== null).length,
  };
}

const isInner = (table: TableFacts) => table.definition.table.startsWith('.inner');

export function findRepository(cluster: ClusterPorts, name: string): BackupRepository {
  const repository = cluster.repositories.find((candidate) => candidate.name === name);
  if (!repository)
    throw new RecoveryError('BACKUP_UNKNOWN', `no backup repository ${name} in the configuration`, {
      field: 'to',
      objects: cluster.repositories.map((each) => each.name),
    });
  return repository;
}

function operationId(ports: Ports, run: BackupRun, ref: NodeRef, what: 'data' | 'manifest'): string {
  return `ch-recover-backup-${what}-${ports.sha256(`${run.cluster}/${run.repository}/${run.name}/${ref.shard}/${run.takenAt}`).slice(0, 20)}`;
}

/** Starts the operation unless the node knows it already, and waits for its end. Returns its size in bytes. */
async function runBackup(node: ClickHouseNode, statement: string, id: string, context: StepContext): Promise<number> {
  let lost = 0;
  for (let sent = false; ;) {
    const [operation] = await node.query<{ status: string; error: string; bytes: string }>(queries.OPERATION, {
      params: { id },
    });
    if (operation?.status === 'BACKUP_CREATED') return Number(operation.bytes);
    if (operation && operation.status !== 'CREATING_BACKUP')
      throw new RecoveryError(
        'BACKUP_FAILED',
        `${node.ref.name}: ${operation.status}: ${operation.error}`.slice(0, 500),
        { objects: [node.ref.name] },
      );
    if (!operation) {
      // Sent and unknown: the server restarted in between, and left half a backup at the destination.
      if (sent && ++lost > 25)
        throw new RecoveryError(
          'BACKUP_FAILED',
          `${node.ref.name} does not know the backup any more: it was restarted; take another with a new name`,
          { objects: [node.ref.name] },
        );
      if (!sent) {
        context.assertFresh();
        try {
          await node.execute(statement);
        } catch (error) {
          if (!(error instanceof ServerError)) throw error;
          if (error.code === 598)
            throw new RecoveryError(
              'BACKUP_FAILED',
              `${node.ref.name}: there is a backup with this name already; choose another`,
              { field: 'name' },
            );
          throw new RecoveryError('BACKUP_FAILED', `${node.ref.name}: ${error.message}`.slice(0, 500), {
            objects: [node.ref.name],
          });
        }
        sent = true;
      }
    }
    context.progress({ node: node.ref.name, bytes: Number(operation?.bytes ?? 0) });
    await pause(POLL_MS, context.signal);
  }
}

/** Rows of the tables that have no parts to count. */
async function countWhole(node: ClickHouseNode, tables: TableFacts[]): Promise<Map<string, number>> {
  const rows = new Map<string, number>();
  for (const { definition, kind } of tables)
    if (kind === 'other-data') rows.set(tableKey(definition), await countRows(node, definition));
  return rows;
}

/** What the backup really holds: its parts are read back from it, since merges and inserts go on while it is taken. */
async function describe(
  ports: Ports,
  node: ClickHouseNode,
  destination: string,
  before: TableFacts[],
  after: TableFacts[],
  /** Rows of Log-family tables that did not change meanwhile. */
  wholes: Map<string, number>,
): Promise<ManifestTable[]> {
  const digests = new Map<string, Map<string, { parts: PartsDigest; partitionIds: string[] }>>();
  for (const database of new Set(before.map((table) => table.definition.database))) {
    const found = await mounted(ports, node, database, destination, (mount) => mountedDigests(node, mount));
    if (found !== null && found !== 'unreadable') digests.set(database, found);
  }
  await unmountAll(node);
  return before.map((table) => {
    const { definition, kind, parts } = table;
    const view = isInner(table)
      ? before.find((each) => each.definition.createQuery.includes(`TO INNER UUID '${definition.uuid}'`))
      : undefined;
    const source = view
      ? { database: view.definition.database, table: view.definition.table }
      : { database: definition.database, table: definition.table };
    const inBackup = digests.get(definition.database)?.get(definition.table);
    const later = after.find((each) => tableKey(each.definition) === tableKey(definition));
    const still = later !== undefined && sameParts(later.parts, parts);
    const hasParts = kind === 'replicated' || kind === 'merge-tree';
    const rows = wholes.get(tableKey(definition));
    const whole = rows === undefined ? null : { parts: 0, rows, digest: '0' };
    return {
      ...definition,
      parts: hasParts ? (inBackup?.parts ?? (still ? parts : null)) : whole,
      partitionIds: inBackup?.partitionIds ?? [],
      source,
    };
  });
}

async function writeManifest(
  ports: Ports,
  node: ClickHouseNode,
  manifest: Manifest,
  destination: string,
  id: string,
  context: StepContext,
): Promise<void> {
  const table = { database: RECOVERY_DATABASE, table: `manifest ${id.slice(-20)}` };
  const target = `${quote(table.database)}.${quote(table.table)}`;
  const [known] = await node.query<{ status: string }>(queries.OPERATION, { params: { id } });
  if (!known) {
    await node.execute(`DROP TABLE IF EXISTS ${target} SYNC`);
    await node.execute(`CREATE TABLE ${target} (n UInt32, text String) ENGINE = MergeTree ORDER BY n`);
    const lines = encodeManifest(manifest, ports.sha256);
    for (let from = 0; from < lines.length; from += 100)
      await node.execute(
        `INSERT INTO ${target} SELECT n, text FROM (SELECT arrayJoin([${lines
          .slice(from, from + 100)
          .map((line, index) => `(toUInt32(${from + index}), ${literal(line)})`)
          .join(', ')}]) AS row, row.1 AS n, row.2 AS text)`,
      );
  }
  await runBackup(node, backupAs(table, MANIFEST_TABLE, destination, id), id, context);
  await node.execute(`DROP TABLE IF EXISTS ${target} SYNC`);
}

/** Enters the finished backup into the ledger of every node: `latest` finds it there, whichever shard is lost. */
export async function recordBackup(ports: Ports, run: BackupRun): Promise<void> {
  const cluster = ports.cluster(run.cluster);
  for (const { name } of cluster.topology.nodes) {
    const node = cluster.node(name);
    await ensureLedger(node);
    const detail = JSON.stringify({ repository: run.repository, name: run.name, takenAt: run.takenAt });
    if (!(await readLedger(node, 'backup')).some((row) => row.detail === detail))
      await writeLedger(node, { recovery: '', plan: '' }, 'backup', detail);
  }
}

/** Which node of each shard backs it up: the first one listed. */
export function backupNodes(cluster: ClusterPorts): NodeRef[] {
  const first = new Map<string, NodeRef>();
  for (const node of cluster.topology.nodes) if (!first.has(node.shard)) first.set(node.shard, node);
  return [...first.values()];
}
