/**
 * As arena.ts, on ClickHouse servers that replicate, two replicas a shard: what they and ZooKeeper had on their disks is
 * put back, and then ZooKeeper is lost under the running servers, since 18.16.1 does not start without its metadata.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { quote } from '../../src/domain/names.js';
import { waitFor } from '../../test/support/processes.js';
import { startServersRig, type ServersRig } from '../../test/support/recovery-rig.js';
import { copy, POLICIES, type Arena, type ArenaOptions } from './arena.js';
import { inLanes, openBare, type Bare } from './bare.js';
import { DATABASE, expectedOf, mustHold, tableName, UNMERGEABLE, type TablesOptions } from './tables.js';

export const REPLICAS = 2;
const LANES = 4;
const SETTLE_MS = 300_000;

export type ServersArena = Omit<Arena, 'rig' | 'empty'> & {
  rig: ServersRig;
  /** Every node and ZooKeeper without anything, but for the backup that was taken of the first replica of its shard. */
  emptyButBackups(tables: TablesOptions): Promise<void>;
};

export type ServersArenaOptions = ArenaOptions & {
  /** Once the tables are filled, and all is well. */
  backUp(rig: ServersRig): Promise<void>;
};

export async function startServersArena({ policies = {}, ...options }: ServersArenaOptions): Promise<ServersArena> {
  const rig = await startServersRig({ ...options, policies: { ...POLICIES, ...policies } });
  const connection = await Connection.connect({ address: rig.temporal.address });
  const places = [
    ...rig.cluster.nodes.map(({ name, dir }) => ({ name, path: join(dir, 'data') })),
    ...rig.ensemble.servers.map(({ dataDir }, i) => ({ name: `keeper-${i}`, path: join(dataDir, 'version-2') })),
  ];
  const kept = (key: string) => join(options.dir, 'kept', key);
  const stopAll = async () => {
    await rig.cluster.killAll();
    await rig.ensemble.stop();
  };
  const startAll = async () => {
    await rig.ensemble.start();
    await rig.cluster.startAll();
  };
  const wipe = () => {
    for (const { path } of places) rmSync(path, { recursive: true, force: true });
    for (const { dir } of rig.cluster.nodes) mkdirSync(join(dir, 'data'));
  };
  const fill = async (key: string, tables: TablesOptions) => {
    await stopAll();
    wipe();
    await startAll();
    await fillServers(rig, tables);
    await options.backUp(rig);
    await rig.cluster.stopAll();
    await rig.ensemble.stop();
    mkdirSync(kept(key), { recursive: true });
    for (const { name, path } of places) copy(path, join(kept(key), name));
  };
  const keyOf = async (tables: TablesOptions) => {
    const key = JSON.stringify(tables).replace(/\W+/g, '-');
    if (!existsSync(kept(key))) await fill(key, tables);
    return key;
  };
  return {
    rig,
    client: new Client({ connection }),
    lanes: { ...POLICIES, ...policies }.lanesPerNode,
    reset: async (tables) => {
      const key = await keyOf(tables);
      await stopAll();
      for (const { name, path } of places) copy(join(kept(key), name), path);
      execFileSync('sync', ['-f', options.dir]);
      await startAll();
      await untilAll(rig, expectedOf(tables).tables, 0);
      await rig.ensemble.stop();
      rig.ensemble.wipe();
      await rig.ensemble.start();
      await untilAll(rig, expectedOf(tables).tables, 1);
    },
    emptyButBackups: async (tables) => {
      const key = await keyOf(tables);
      await stopAll();
      wipe();
      rig.cluster.nodes.forEach(({ dir }, index) => {
        const first = rig.cluster.nodes[index - (index % REPLICAS)]!;
        copy(join(kept(key), first.name, 'backup'), join(dir, 'data/backup'));
      });
      execFileSync('sync', ['-f', options.dir]);
      await startAll();
    },
    stop: async () => {
      await connection.close();
      await rig.stop();
    },
  };
}

/** Until so many tables of every node are read-only, or writable. Only columns for which ZooKeeper is not asked. */
async function untilAll({ cluster }: ServersRig, tables: number, readonly: 0 | 1): Promise<void> {
  for (const node of cluster.nodes) {
    const bare = openBare(node, 1);
    const sql = `SELECT count() AS found FROM system.replicas WHERE is_readonly = ${readonly} AND is_session_expired = 0`;
    const look = async () => Number((await bare.rows<{ found: string }>(sql))[0]?.found) === tables;
    await waitFor(look, {
      what: `${tables} tables of ${node.name} with is_readonly = ${readonly}`,
      deadlineMs: SETTLE_MS,
    });
    await bare.close();
  }
}

/** The one partition that all rows are in. */
export const PARTITION = '202601';
const ROWS_IN_PART = 1_000;

async function fillServers(rig: ServersRig, options: TablesOptions): Promise<void> {
  const { tables, parts = 2 } = options;
  const shards = rig.cluster.nodes.length / REPLICAS;
  await Promise.all(
    Array.from({ length: shards }, async (_, shard) => {
      const nodes = rig.cluster.shardNodes(shard).map((index) => openBare(rig.cluster.nodes[index]!, LANES));
      for (const node of nodes) await node.run(`CREATE DATABASE ${quote(DATABASE)}`);
      const indexes = Array.from({ length: tables }, (_, i) => i);
      await inLanes(indexes, LANES, (index) => fillTable(nodes, index, parts));
      for (const node of nodes) await node.close();
    }),
  );
  await waitFor(() => mustHold(rig.cluster.nodes, expectedOf(options)).then(() => true), {
    ...{ what: 'all replicas to have all parts', deadlineMs: SETTLE_MS },
  });
}

async function fillTable(replicas: Bare[], index: number, parts: number): Promise<void> {
  const table = tableName(index);
  const path = `/clickhouse/tables/{shard}/${DATABASE}/${index}`;
  for (const node of replicas)
    await node.run(
      `CREATE TABLE ${table} (id UInt64, at DateTime, text String) ENGINE = ReplicatedMergeTree('${path}', '{replica}') PARTITION BY toYYYYMM(at) ORDER BY id SETTINGS ${UNMERGEABLE}`,
    );
  for (let part = 0; part < parts; part++)
    await replicas[0]!.run(
      `INSERT INTO ${table} SELECT number + ${part * ROWS_IN_PART}, toDateTime('2026-01-01 00:00:00') + number, toString(cityHash64(number)) FROM numbers(${ROWS_IN_PART})`,
    );
}
