import { definitionOf } from '../domain/clickhouse-backup.js';
import { absentKeeper } from '../domain/planner.js';
import {
  comparePartLists,
  missingParts,
  NO_PARTS,
  tableKind,
  type Capabilities,
  type KeeperReplicaFacts,
  type KeeperStateLine,
  type NodeFacts,
  type TableDefinition,
  type TableFacts,
} from '../domain/inventory.js';
import { quoteTable, tableKey, type TableName } from '../domain/names.js';
import { inLanes } from '../domain/lanes.js';
import type { NodeRef } from '../domain/topology.js';
import { ServerError, type ClickHouseNode, type ClusterPorts, type Keeper } from '../ports.js';
import { probe } from './capabilities.js';
import { clonesOn, copiesOf, namesOf } from './copies.js';
import { readLedger } from './ledger.js';
import { isOfHash, NO_NAMES, type NameHash, type Sha256 } from './name-hash.js';
import * as queries from './queries.js';
import { toDigest } from './unit.js';

/** Reads everything that the planner needs to know of a node. Sends reads only. */
export async function observeNode(cluster: ClusterPorts, ref: NodeRef, sha256: Sha256): Promise<NodeFacts> {
  const node = cluster.node(ref.name);
  const capabilities = await probe(node);
  const reads = queries.queriesFor(capabilities);
  const [[about], macros, paths, databases, pending, beside] = await Promise.all([
    node.query<{ version: string }>(queries.NODE),
    node.query<{ macro: string; substitution: string }>(queries.MACROS),
    node.query<{ name: string; value: string }>(reads.DEFAULT_PATHS),
    node.query<{ name: string; engine: string }>(queries.DATABASES),
    node.query<{ uuid: string }>(reads.PENDING_DROPS),
    node.query<{ path: string }>(queries.BESIDE),
  ]);
  const defaults = Object.fromEntries(paths.map(({ name, value }) => [name, value]));
  const params = { databases: databases.map((database) => database.name) };
  const [hasPort, unfinished, state] = await Promise.all([
    hasInterserverPort(node),
    unfinishedRecovery(node),
    keeperState(node, ref, databases),
  ]);
  const facts: NodeFacts = {
    node: ref,
    version: about?.version ?? '',
    embedded: !hasPort,
    capabilities,
    macros: Object.fromEntries(macros.map(({ macro, substitution }) => [macro, substitution])),
    defaultReplicaPath: defaults['default_replica_path'] ?? '/clickhouse/tables/{uuid}/{shard}',
    defaultReplicaName: defaults['default_replica_name'] ?? '{replica}',
    databases,
    pendingDropUuids: pending.map((row) => row.uuid),
    beside: beside.map((row) => row.path),
    unfinishedRecovery: unfinished,
    keeperState: state,
    tables: await observeTables({ keeper: cluster.keeper, sha256 }, node, capabilities, databases, params),
  };
  return { ...facts, tables: await withLeftOut(cluster.keeper, node, facts) };
}

/**
 * Tables that an unfinished recovery took out and did not put back. Some no `system.tables` has, only their clones in
 * `_recovery`; others stand as the plain tables that they were on their way. Their definitions are in the ledger.
 * Without them a new plan would call a cluster whole that lacks tables, or has them without replication.
 */
async function withLeftOut(keeper: Keeper, node: ClickHouseNode, facts: NodeFacts): Promise<TableFacts[]> {
  if (facts.unfinishedRecovery === '' || facts.unfinishedRecovery === 'unknown') return facts.tables;
  const reads = queries.queriesFor(facts.capabilities);
  const clones = await clonesOn(node, reads);
  const tables = new Map(facts.tables.map((table) => [tableKey(table.definition), table]));
  // Of all recoveries since one was finished, the first saw the tables as they were.
  const finished = (await readLedger(node, 'finished')).at(-1)?.at ?? '';
  const seen = new Set<string>();
  for (const row of await readLedger(node, 'ddl')) {
    const { database, table, detail } = row;
    const key = tableKey(row);
    if (row.at <= finished || seen.has(key)) continue;
    seen.add(key);
    const standing = tables.get(key);
    const { clone, held } = copiesOf(row, clones);
    if (standing ? standing.kind !== 'merge-tree' : !clone) continue;
    const uuid = / UUID '([0-9a-f-]{36})'/.exec(detail)?.[1] ?? '';
    const definition = definitionOf({ database, table, uuid, query: detail, bytes: null, mutations: [] });
    if (standing && tableKind(definition.engine) !== 'replicated') continue;
    const where = absentKeeper(definition, facts);
    tables.set(key, {
      ...(standing ?? { ...LEFT_OUT, identity: clone?.digest ?? '0' }),
      ...namesOf(row, facts.capabilities, { standing: standing ?? null, clone, held }),
      definition,
      kind: tableKind(definition.engine),
      readonly: true,
      keeper: where && neverAgreeing(await keeperFacts(keeper, where.tablePath, where.replicaName, async () => [])),
      clone,
    });
  }
  return [...tables.values()];
}

/** It is not in its place, so whatever is registered for it is not what it should be. */
const neverAgreeing = (facts: KeeperReplicaFacts): KeeperReplicaFacts => ({
  ...facts,
  partsAgree: facts.replicaPathExists ? false : null,
});

const LEFT_OUT = {
  parts: NO_PARTS,
  partitions: 0,
  detachedParts: 0,
  attachingParts: 0,
  putAside: 0,
  sessionExpired: false,
  unsupported: '',
};

export async function countRows(node: ClickHouseNode, name: { database: string; table: string }): Promise<number> {
  const [row] = await node.query<{ n: string }>(`SELECT count() AS n FROM ${quoteTable(name)}`);
  return Number(row?.n ?? 0);
}

/** Without an interserver port a replica never becomes active (ClickHouse issue 78632): an embedded node. */
export async function hasInterserverPort(node: ClickHouseNode): Promise<boolean> {
  try {
    await node.query(queries.INTERSERVER_PORT);
    return true;
  } catch (error) {
    if (error instanceof ServerError && error.code === 701) return false;
    // 46, no such function: an old server, which is no embedded one.
    if (error instanceof ServerError && error.code === 46) return true;
    throw error;
  }
}

async function unfinishedRecovery(node: ClickHouseNode): Promise<string> {
  const left = await node.query<{ name: string }>(queries.RECOVERY_TABLES);
  if (left.length === 0) return '';
  const [ledger] = await node.query<{ found: string }>(queries.HAS_LEDGER);
  if (Number(ledger?.found) === 0) return 'unknown';
  const begun = await node.query<{ recovery: string }>(queries.LEDGER_OF_KIND, { params: { kind: 'begun' } });
  return begun.at(-1)?.recovery ?? 'unknown';
}

async function observeTables(
  { keeper, sha256 }: { keeper: Keeper; sha256: Sha256 },
  node: ClickHouseNode,
  can: Capabilities,
  databases: { name: string; engine: string }[],
  params: { databases: string[] },
): Promise<TableFacts[]> {
  if (databases.length === 0) return [];
  const reads = queries.queriesFor(can);
  const settings = can.partHashes ? queries.WITH_UUID : {};
  const definitions = await node.query<TableDefinition>(reads.TABLES, { params, settings });
  const byTable = <Row extends { database: string; table: string }>(rows: Row[]) =>
    new Map(rows.map((row) => [tableKey(row), row]));
  const digests = byTable(
    await node.query<{
      database: string;
      table: string;
      parts: string;
      rows: string;
      digest: string;
      partitions: string;
      identity?: string;
    }>(reads.PART_DIGESTS, { params }),
  );
  const detached = byTable(
    await node.query<{ database: string; table: string; plain: string; attaching: string; aside: string[] }>(
      reads.DETACHED_PARTS,
      {
        params,
      },
    ),
  );
  const replicas = byTable(await node.query<ReplicaRow>(queries.REPLICAS, { params }));
  const nameHashes = byTable(await node.query<NameHash & TableName>(queries.PART_NAME_HASHES, { params }));
  const clones = await clonesOn(node, reads);
  const replicatedDatabases = new Set(
    databases.filter((database) => database.engine === 'Replicated').map((database) => database.name),
  );
  return inLanes(definitions, 16, async (definition) => {
    const key = tableKey(definition);
    const replica = replicas.get(key);
    const parts = toDigest(digests.get(key));
    const { clone, held } = copiesOf(definition, clones);
    const left = detached.get(key);
    return {
      definition,
      kind: tableKind(definition.engine),
      parts,
      identity: digests.get(key)?.identity ?? digests.get(key)?.digest ?? '0',
      ...namesOf(definition, can, { standing: { parts }, clone, held }),
      partitions: Number(digests.get(key)?.partitions ?? 0),
      detachedParts: Number(left?.plain ?? 0),
      attachingParts: Number(left?.attaching ?? 0),
      putAside: await uncovered(left?.aside ?? [], () => partNames(node, definition)),
      readonly: Number(replica?.readonly ?? 0) === 1,
      sessionExpired: Number(replica?.sessionExpired ?? 0) === 1,
      unsupported: unsupported(definition, replicatedDatabases),
      keeper: replica
        ? await keeperFacts(keeper, replica.tablePath, replica.replicaName, () => partNames(node, definition), {
            hash: nameHashes.get(key) ?? NO_NAMES,
            sha256,
          })
        : null,
      clone,
    };
  });
}

interface ReplicaRow {
  database: string;
  table: string;
  readonly: number;
  sessionExpired: number;
  tablePath: string;
  replicaName: string;
}

function unsupported(definition: TableDefinition, replicatedDatabases: Set<string>): string {
  if (/allow_remote_fs_zero_copy_replication = (1|true)/.test(definition.engineFull))
    return 'zero-copy replication (ClickHouse issues 62492, 72933)';
  if (definition.engine.startsWith('Shared'))
    return `engine ${definition.engine} keeps its parts in ClickHouse Cloud’s Keeper`;
  if (replicatedDatabases.has(definition.database))
    return 'its database has the engine Replicated: run SYSTEM RESTORE DATABASE REPLICA first (ClickHouse issue 84705)';
  return '';
}

async function partNames(node: ClickHouseNode, name: { database: string; table: string }): Promise<string[]> {
  const rows = await node.query<{ name: string }>(queries.PART_NAMES, {
    params: { database: name.database, table: name.table },
  });
  return rows.map((row) => row.name);
}

/** Of parts with a prefix such as `ignored_`: how many no active part covers. */
async function uncovered(aside: string[], localParts: () => Promise<string[]>): Promise<number> {
  if (aside.length === 0) return 0;
  const names = aside.map((name) => name.slice(name.indexOf('_') + 1));
  return missingParts(names, await localParts()).length;
}

/**
 * What the Keeper says of one replica. `localParts` is asked for only where there is something to compare it with, and
 * the hash of the names does not say that they are the same.
 */
export async function keeperFacts(
  keeper: Keeper,
  tablePath: string,
  replicaName: string,
  localParts: () => Promise<string[]>,
  known?: { hash: NameHash; sha256: Sha256 },
): Promise<KeeperReplicaFacts> {
  const replicas = await keeper.children(`${tablePath}/replicas`);
  const facts: KeeperReplicaFacts = {
    tablePath,
    replicaName,
    tablePathExists: replicas !== null || (await keeper.exists(tablePath)),
    replicaPathExists: replicas?.includes(replicaName) ?? false,
    replicas: replicas ?? [],
    activeReplicas: [],
    partsInKeeper: null,
    partsAgree: null,
    missingLocally: 0,
    notListed: 0,
  };
  for (const replica of replicas ?? [])
    if (await keeper.exists(`${tablePath}/replicas/${replica}/is_active`)) facts.activeReplicas.push(replica);
  if (!facts.replicaPathExists) return facts;
  const inKeeper = async () => (await keeper.children(`${tablePath}/replicas/${replicaName}/parts`)) ?? [];
  const first = await inKeeper();
  if (known && isOfHash(first, known.hash, known.sha256))
    return { ...facts, partsInKeeper: first.length, partsAgree: true };
  const before = await localParts();
  const listed = await inKeeper();
  const compared = comparePartLists(before, listed, before);
  return {
    ...facts,
    partsInKeeper: listed.length,
    ...(compared.partsAgree ? compared : comparePartLists(before, listed, await localParts())),
  };
}

/** What lived in Keeper beside the tables. A query that the server does not know tells nothing, so it adds no line. */
async function keeperState(
  node: ClickHouseNode,
  ref: NodeRef,
  databases: { name: string; engine: string }[],
): Promise<KeeperStateLine[]> {
  const lines: KeeperStateLine[] = [];
  const add = async (what: string, verdict: KeeperStateLine['verdict'], sql: string) => {
    try {
      const rows = await node.query<{ detail: string }>(sql, {
        params: { databases: databases.map((database) => database.name) },
      });
      for (const row of rows) lines.push({ what, detail: `${ref.name}: ${row.detail}`.slice(0, 300), verdict });
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
    }
  };
  for (const database of databases.filter((each) => each.engine === 'Replicated'))
    lines.push({
      what: 'Replicated database',
      detail: `${ref.name}: ${database.name}: run SYSTEM RESTORE DATABASE REPLICA`,
      verdict: 'unrecoverable',
    });
  await add(
    'users and roles in Keeper',
    'unrecoverable',
    `SELECT name AS detail FROM system.user_directories WHERE type = 'replicated'`,
  );
  await add(
    'SQL functions in Keeper',
    'unrecoverable',
    `SELECT value AS detail FROM system.server_settings WHERE name = 'user_defined_zookeeper_path' AND value != ''`,
  );
  await add(
    'KeeperMap table',
    'unrecoverable',
    `SELECT concat(database, '.', name) AS detail FROM system.tables WHERE engine = 'KeeperMap' AND database IN {databases:Array(String)}`,
  );
  await add(
    'S3Queue or AzureQueue registry',
    'unrecoverable',
    `SELECT concat(database, '.', name, ': files may be read again (ClickHouse issue 112041)') AS detail FROM system.tables WHERE engine IN ('S3Queue', 'AzureQueue') AND database IN {databases:Array(String)}`,
  );
  await add(
    'Kafka offsets in Keeper',
    'unrecoverable',
    `SELECT concat(database, '.', name) AS detail FROM system.tables WHERE engine = 'Kafka' AND position(engine_full, 'kafka_keeper_path') > 0 AND database IN {databases:Array(String)}`,
  );
  await add(
    'unfinished mutation',
    'unrecoverable',
    `SELECT concat(database, '.', table, ': ', command, ' — issue it again') AS detail FROM system.mutations WHERE NOT is_done AND database IN {databases:Array(String)}`,
  );
  return lines;
}
