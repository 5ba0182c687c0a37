/**
 * A node that answers what a plan asks with a generated inventory: more tables than this machine could hold. Each
 * answer is what a real one gives, row by row, and counted.
 */
import { LATE_READS } from '../../src/domain/inventory.js';
import type { NodeRef } from '../../src/domain/topology.js';
import * as queries from '../../src/activities/queries.js';
import { ServerError, type ClickHouseNode, type Keeper } from '../../src/ports.js';

export interface GeneratedNode extends ClickHouseNode {
  /** Statements sent to it, reads among them. */
  readonly asked: number;
}

const DATABASES = 10;

interface Place {
  database: string;
  table: string;
}

function placeOf(index: number): Place {
  return { database: `db${index % DATABASES}`, table: `events_${String(index).padStart(5, '0')}` };
}

const COLUMNS =
  "`id` UInt64, `at` DateTime, `tenant` LowCardinality(String), `kind` Enum8('a' = 1, 'b' = 2), `payload` String CODEC(ZSTD(3)), `amount` Decimal(18, 4)";
const LAYOUT = 'PARTITION BY toYYYYMM(at) ORDER BY (tenant, at, id) SETTINGS index_granularity = 8192';

/** The same on all replicas and shards, as ON CLUSTER makes them. */
const uuidOf = (index: number) => `5c0ffee0-0000-4000-8000-${String(index).padStart(12, '0')}`;

function definitionOf(index: number) {
  const { database, table } = placeOf(index);
  const uuid = uuidOf(index);
  const engineFull = `ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}') ${LAYOUT}`;
  return {
    ...{ database, table, uuid, engine: 'ReplicatedMergeTree', engineFull },
    ...{ partitionKey: 'toYYYYMM(at)', sortingKey: 'tenant, at, id', primaryKey: 'tenant, at, id', samplingKey: '' },
    createQuery: `CREATE TABLE ${database}.${table} UUID '${uuid}' (${COLUMNS}) ENGINE = ${engineFull}`,
  };
}

const PARTS = 24;

/** ZooKeeper has lost all of it: the tables are read-only. */
export function generatedNode(ref: NodeRef, tables: number): GeneratedNode {
  let asked = 0;
  const indexes = Array.from({ length: tables }, (_, index) => index);
  const reads = queries.queriesFor({ partHashes: true, lacks: [] });
  const answers = new Map<string, () => object[]>([
    [queries.NODE, () => [{ version: '26.7.1.1', boot: '1700000000' }]],
    [
      queries.MACROS,
      () =>
        Object.entries({ shard: ref.shard, replica: ref.replica }).map(([macro, substitution]) => ({
          macro,
          substitution,
        })),
    ],
    [queries.INTERSERVER_PORT, () => [{ port: 9009 }]],
    [queries.DATABASES, () => Array.from({ length: DATABASES }, (_, i) => ({ name: `db${i}`, engine: 'Atomic' }))],
    [reads.TABLES, () => indexes.map(definitionOf)],
    [
      reads.PART_DIGESTS,
      () =>
        indexes.map((index) => ({
          ...placeOf(index),
          ...{
            parts: String(PARTS),
            rows: String(PARTS * 8192),
            digest: `1844674407370955${index}`,
            partitions: '12',
            bytes: '1048576',
          },
        })),
    ],
    [
      queries.REPLICAS,
      () =>
        indexes.map((index) => ({
          ...placeOf(index),
          ...{ readonly: 1, sessionExpired: 0, replicaName: ref.replica },
          tablePath: `/clickhouse/tables/${uuidOf(index)}/${ref.shard}`,
        })),
    ],
  ]);
  return {
    ref,
    get asked() {
      return asked;
    },
    query: async <Row>(sql: string) => {
      asked++;
      if (sql.includes("concat(table, '.', name) AS column"))
        return ['parts.hash_of_all_files', 'backups.id', ...LATE_READS].map((column) => ({ column })) as Row[];
      return (answers.get(sql)?.() ?? []) as Row[];
    },
    execute: async (sql) => {
      asked++;
      if (!sql.startsWith('EXPLAIN AST ')) throw new ServerError(497, 'a plan changes nothing', ref.name);
    },
  };
}

/** It is there, and empty. */
export function emptyKeeper(): Keeper & { readonly asked: number } {
  let asked = 0;
  const answer = <T>(value: T) => {
    asked++;
    return Promise.resolve(value);
  };
  return {
    get asked() {
      return asked;
    },
    exists: (path) => answer(path === '/'),
    children: () => answer(null),
    get: () => answer(null),
    stamp: () => answer(null),
    deleteStale: () => Promise.reject(new Error('a plan deletes nothing')),
  };
}
