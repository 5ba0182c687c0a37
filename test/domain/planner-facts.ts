import {
  tableKind,
  type Capabilities,
  type KeeperReplicaFacts,
  type NodeFacts,
  type PartsDigest,
  type TableDefinition,
  type TableFacts,
} from '../../src/domain/inventory.js';
import type { BackupContents, ManifestTable } from '../../src/domain/manifest.js';
import { quoteTable } from '../../src/domain/names.js';
import type { PlanInput } from '../../src/domain/plan-input.js';
import { makePlan } from '../../src/domain/planner.js';

/** What a planner is told of servers, tables and backups; healthy but for what a test changes. */

export const DEFAULT_PATH = '/clickhouse/tables/{uuid}/{shard}';
export const full: PartsDigest = { parts: 2, rows: 20, digest: '22' };
export const less: PartsDigest = { parts: 1, rows: 10, digest: '11' };

function uuidOf(text: string): string {
  const hex = [...text]
    .map((char) => (char.codePointAt(0) ?? 0).toString(16))
    .join('')
    .slice(0, 12)
    .padStart(12, '0');
  return `3f2504e0-4f89-41d3-9a0c-${hex}`;
}

export function definition(
  database: string,
  table: string,
  engineFull = `ReplicatedMergeTree('${DEFAULT_PATH}', '{replica}') ORDER BY a`,
): TableDefinition {
  const uuid = uuidOf(table);
  const name = { database, table };
  return {
    ...{ database, table, uuid, engine: /^\w+/.exec(engineFull)?.[0] ?? '', engineFull },
    ...{ partitionKey: '', sortingKey: 'a', primaryKey: 'a', samplingKey: '' },
    createQuery: `CREATE TABLE ${quoteTable(name)} UUID '${uuid}' (\`a\` Int32) ENGINE = ${engineFull}`,
  };
}

export function facts(
  of: TableDefinition,
  change: Partial<Omit<TableFacts, 'keeper'>> & { keeper?: Partial<KeeperReplicaFacts> | null } = {},
): TableFacts {
  const kind = tableKind(of.engine);
  return {
    ...{ definition: of, kind, parts: full, partitions: 1, detachedParts: 0, attachingParts: 0, putAside: 0 },
    ...{ identity: (change.parts ?? full).digest, readonly: true, sessionExpired: false, unsupported: '', clone: null },
    namedIn: change.clone ? null : { database: of.database, table: of.table },
    ...change,
    keeper:
      kind !== 'replicated' || change.keeper === null
        ? null
        : {
            ...{
              tablePath: `/clickhouse/tables/${of.uuid}/01`,
              replicaName: 'r1',
              tablePathExists: true,
              replicaPathExists: true,
            },
            ...{
              replicas: ['r1'],
              activeReplicas: [],
              partsInKeeper: 2,
              partsAgree: true,
              missingLocally: 0,
              notListed: 0,
            },
            ...change.keeper,
          },
  };
}
export const GONE: Partial<KeeperReplicaFacts> = {
  tablePathExists: false,
  replicaPathExists: false,
  replicas: [],
  partsInKeeper: null,
  partsAgree: null,
};

/** 26.7 */
const MODERN: Capabilities = {
  ...{ restoreReplica: true, dropReplica: true, attachAs: true, cloneAs: true },
  ...{ nativeBackup: true, partHashes: true, lacks: [] },
};

export function node(
  name: string,
  shard: string,
  replica: string,
  tables: TableFacts[],
  change: Partial<NodeFacts> = {},
): NodeFacts {
  return {
    ...{ node: { name, shard, replica }, version: '26.7', embedded: true, macros: { shard, replica } },
    capabilities: MODERN,
    ...{
      defaultReplicaPath: DEFAULT_PATH,
      defaultReplicaName: '{replica}',
      databases: [{ name: 'db', engine: 'Atomic' }],
    },
    ...{ pendingDropUuids: [], beside: [], unfinishedRecovery: '', keeperState: [], tables },
    ...change,
  };
}

/** A server in shard 01 of which a replica becomes active. */
export const live = (name: string, replica: string, tables: TableFacts[], change: Partial<NodeFacts> = {}) =>
  node(name, '01', replica, tables, { embedded: false, ...change });
/** On a live server: registered, and active. */
export const ACTIVE = { readonly: false, keeper: { activeReplicas: ['r1'] } };

export function saved(of: TableDefinition, parts: PartsDigest | null = full): ManifestTable {
  return { ...of, parts, partitionIds: ['all'], source: { database: of.database, table: of.table } };
}

export function contents(tables: ManifestTable[], change: Partial<BackupContents> = {}): BackupContents {
  return {
    ...{
      evidence: 'manifest',
      repository: 'nightly',
      name: '1',
      node: null,
      destination: "Disk('backups', 'prod/01/1')",
      takenAt: '2026-11-24T10:00:00Z',
    },
    ...{ tables, databases: [{ name: 'db', engine: 'Atomic' }], unfinishedMutations: [], keeperState: [] },
    ...change,
  };
}

export function planOf(nodes: NodeFacts[], change: Partial<PlanInput> = {}) {
  return makePlan({
    request: { cluster: 'prod' },
    nodes,
    backups: new Map(),
    partLists: new Map(),
    absentPaths: new Map(),
    keepAside: true,
    ...change,
  });
}
