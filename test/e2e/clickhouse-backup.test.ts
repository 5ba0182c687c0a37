import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClickHouseBackupRepository } from '../../src/adapters/backups/clickhouse-backup.js';
import { createNode, type ClosableNode } from '../../src/adapters/clickhouse/client.js';
import { restoreNames } from '../../src/domain/clickhouse-backup-names.js';
import { toBackupContents } from '../../src/domain/clickhouse-backup.js';
import { parseReplicatedEngine } from '../../src/domain/ddl.js';
import { cloneName, quoteTable, type TableName } from '../../src/domain/names.js';
import type { BackupOperation, ClickHouseBackup, ClickHouseBackupManifest } from '../../src/ports.js';
import { startBackupServer, type BackupServer } from '../support/clickhouse-backup.js';
import { waitFor } from '../support/processes.js';
import { startServerCluster, type ServerCluster } from '../support/server-cluster.js';
import { startEnsemble, type Ensemble } from '../support/zookeeper-ensemble.js';

const CANARY = 'canary-7f3a';
const PARTS = 800;

let dir: string;
let ensemble: Ensemble;
let cluster: ServerCluster;
let server: BackupServer;
let node: ClosableNode;
let api: ClickHouseBackup;
let manifest: ClickHouseBackupManifest;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tcr-cb-'));
  ensemble = await startEnsemble({ dir, size: 1 });
  cluster = await startServerCluster({ dir, keeperHosts: ensemble.hosts, shards: 1, replicas: 1 });
  const { name, url, dir: nodeDir, tcpPort } = cluster.nodes[0]!;
  node = createNode({ name, shard: '01', replica: 'r1' }, { url });
  server = await startBackupServer({ dir: join(dir, 'cb'), tcpPort, user: 'ops', password: CANARY });
  const metadata = join(nodeDir, 'data/backup');
  const connection = { node: name, url: server.url, user: 'ops', password: () => CANARY, metadata };
  api = createClickHouseBackupRepository('cb', [connection]).on(name);
  for (const statement of DATA) await node.execute(statement);
  await server.create('b1', 'db.*');
  manifest = (await api.manifest('b1'))!;
}, 120_000);

afterAll(async () => {
  await node?.close();
  await server?.stop();
  await cluster?.killAll();
  await ensemble?.stop();
  rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
});

const DATA = [
  'CREATE DATABASE db',
  'CREATE DATABASE _recovery',
  "CREATE TABLE db.old (d Date, k UInt64, v String) ENGINE = ReplicatedMergeTree('/ch/{shard}/old', '{replica}', d, (k), 8192)",
  "INSERT INTO db.old SELECT toDate('2024-01-01') + 31 * (number % 3), number, toString(number) FROM system.numbers LIMIT 300",
  "INSERT INTO db.old SELECT toDate('2024-01-02'), number, 'twin' FROM system.numbers LIMIT 10",
  "CREATE TABLE db.big (p UInt32, v UInt64) ENGINE = ReplicatedMergeTree('/ch/{shard}/big', '{replica}') PARTITION BY p ORDER BY (v, p)",
  `INSERT INTO db.big SELECT number % ${PARTS}, number FROM system.numbers LIMIT ${PARTS * 10}`,
  "CREATE TABLE db.`we?rd é.1` (a UInt32) ENGINE = ReplicatedReplacingMergeTree('/ch/{shard}/weird', '{replica}') ORDER BY a",
  'INSERT INTO db.`we?rd é.1` SELECT number FROM system.numbers LIMIT 7',
  'CREATE TABLE db.log (a UInt32) ENGINE = TinyLog',
  'INSERT INTO db.log VALUES (1)',
  'CREATE MATERIALIZED VIEW db.mv ENGINE = SummingMergeTree ORDER BY a AS SELECT a, count() AS n FROM db.`we?rd é.1` GROUP BY a',
];

const contents = () => toBackupContents(manifest, { repository: 'cb', node: 'a', destination: 'b1' });
const tableOf = (table: string) => contents().tables.find((each) => each.table === table)!;

/** Makes the plain twin that the data goes into. */
async function makeTwin(table: string): Promise<{ names: ReturnType<typeof restoreNames>; target: string }> {
  const definition = tableOf(table);
  const source = { database: 'db', table };
  const names = restoreNames(source, cloneName('staging', source).table, manifest.tables);
  const target = quoteTable(names.target);
  const columns = definition.createQuery.slice(
    definition.createQuery.indexOf('('),
    definition.createQuery.indexOf(' ENGINE = '),
  );
  await node.execute(`DROP TABLE IF EXISTS ${target}`);
  await node.execute(
    `CREATE TABLE ${target} ${columns} ENGINE = ${parseReplicatedEngine(definition.engineFull).plain}`,
  );
  return { names, target };
}

async function ended(id: string): Promise<BackupOperation> {
  return waitFor(
    async () => {
      const operation = await api.restore(id);
      return operation.state !== 'running' && operation;
    },
    { what: `the restore ${id}`, deadlineMs: 60_000 },
  );
}

async function contentOf(table: string, columns: string): Promise<string> {
  const [row] = await node.query<{ text: string }>(
    `SELECT concat(toString(count()), '/', toString(sum(cityHash64(${columns})))) AS text FROM ${table}`,
  );
  return row!.text;
}

async function partsOf({ database, table }: TableName): Promise<number> {
  const [row] = await node.query<{ parts: string }>(
    `SELECT count() AS parts FROM system.parts WHERE active AND database = {database:String} AND table = {table:String}`,
    { params: { database, table } },
  );
  return Number(row!.parts);
}

async function bytesOf({ database, table }: TableName): Promise<number> {
  const [row] = await node.query<{ bytes: string }>(
    `SELECT sum(bytes_on_disk) AS bytes FROM system.parts WHERE active AND database = {database:String} AND table = {table:String}`,
    { params: { database, table } },
  );
  return Number(row!.bytes);
}

let orders = 0;
const newId = () => `test_order_${++orders}`;

describe('a real clickhouse-backup beside an old server', () => {
  it('lists the backup', async () => {
    const [backup] = await api.list();
    expect(backup).toMatchObject({ name: 'b1', location: 'local', broken: null, required: null });
    expect(backup!.bytes).toBeGreaterThan(1_000);
  });

  it('shows its contents: definitions, parts, bytes, and what it does not hold', () => {
    expect(tableOf('old')).toMatchObject({
      engine: 'ReplicatedMergeTree',
      partitionKey: 'toYYYYMM(d)',
      sortingKey: 'k',
      partitionIds: ['202401', '202402', '202403'],
      parts: null,
      counted: { parts: 4, rows: null },
    });
    expect(tableOf('old').counted!.bytes).toBeGreaterThan(1_000);
    expect(tableOf('big')).toMatchObject({ sortingKey: 'v, p', counted: { parts: PARTS } });
    expect(tableOf('log')).toMatchObject({ engine: 'TinyLog', definitionOnly: true });
    expect(tableOf('mv')).toMatchObject({ engine: 'MaterializedView', parts: null });
    expect(tableOf('mv').createQuery).toMatch(/^CREATE MATERIALIZED VIEW/);
    expect(contents().databases).toContainEqual({ name: 'db', engine: 'Ordinary' });
  });

  it('has the definition as the server gives it', async () => {
    const [row] = await node.query<{ q: string }>(
      "SELECT create_table_query AS q FROM system.tables WHERE database = 'db' AND name = 'big'",
    );
    expect(tableOf('big').createQuery).toBe(row!.q);
  });

  it.each([
    ['old', 'd, k, v', 4],
    ['big', 'p, v', PARTS],
    ['we?rd é.1', 'a', 1],
  ])('restores %s into a twin, and touches nothing else', async (table, columns, parts) => {
    const source = quoteTable({ database: 'db', table });
    const { names, target } = await makeTwin(table);
    const tables =
      'SELECT database, name, engine FROM system.tables WHERE database != {s:String} ORDER BY database, name';
    const before = await node.query(tables, { params: { s: 'system' } });
    const id = newId();
    await api.startRestore({ id, backup: 'b1', names });
    expect(await ended(id)).toEqual({ state: 'success', error: '', cancelled: false });
    expect(await contentOf(target, columns)).toBe(await contentOf(source, columns));
    expect(await partsOf(names.target)).toBe(parts);
    expect(await bytesOf(names.target)).toBe(tableOf(table).counted!.bytes);
    expect(await node.query(tables, { params: { s: 'system' } })).toEqual(before);
    // The same order again is the one that is known, not a second copy of the rows.
    await api.startRestore({ id, backup: 'b1', names });
    expect(await contentOf(target, columns)).toBe(await contentOf(source, columns));
  });

  it('restores while ZooKeeper is down and the original is gone', async () => {
    const expected = await contentOf('db.old', 'd, k, v');
    await node.execute('DROP TABLE db.old');
    await ensemble.stop();
    try {
      const { names, target } = await makeTwin('old');
      const id = newId();
      await api.startRestore({ id, backup: 'b1', names });
      expect(await ended(id)).toMatchObject({ state: 'success' });
      expect(await contentOf(target, 'd, k, v')).toBe(expected);
    } finally {
      await ensemble.start();
    }
  });

  it('says why a restore failed, and attached nothing', async () => {
    const { names, target } = await makeTwin('big');
    await node.execute(`DROP TABLE ${target}`);
    const id = newId();
    await api.startRestore({ id, backup: 'b1', names });
    expect(await ended(id)).toMatchObject({
      state: 'error',
      error: expect.stringContaining('is not created') as string,
    });
  });

  it('waits while another operation runs, and says so when it takes too long', async () => {
    const first = await makeTwin('big');
    const id = newId();
    await api.startRestore({ id, backup: 'b1', names: first.names });
    const second = await makeTwin('we?rd é.1');
    const other = { id: newId(), backup: 'b1', names: second.names };
    await expect(api.startRestore(other, { busyDeadlineMs: 0 })).rejects.toMatchObject({ code: 'BACKUP_BUSY' });
    await api.startRestore(other);
    expect(await ended(id)).toMatchObject({ state: 'success' });
    expect(await ended(other.id)).toMatchObject({ state: 'success' });
    expect(await contentOf(second.target, 'a')).toBe(
      await contentOf(quoteTable({ database: 'db', table: 'we?rd é.1' }), 'a'),
    );
  });

  it('does not know an operation after a crash in the middle; a new target has every row once', async () => {
    const { names, target } = await makeTwin('big');
    const id = newId();
    await api.startRestore({ id, backup: 'b1', names });
    await waitFor(async () => (await partsOf(names.target)) > 20, {
      what: 'a part of the restore',
      deadlineMs: 20_000,
      everyMs: 5,
    });
    await server.kill();
    await expect(api.restore(id)).rejects.toMatchObject({ code: 'NODE_UNAVAILABLE' });
    await server.start();
    expect(await api.restore(id)).toEqual({ state: 'unknown', error: '', cancelled: false });
    expect(await partsOf(names.target)).toBeLessThan(PARTS);

    await makeTwin('big');
    const again = newId();
    await api.startRestore({ id: again, backup: 'b1', names });
    expect(await ended(again)).toMatchObject({ state: 'success' });
    expect(await contentOf(target, 'p, v')).toBe(await contentOf('db.big', 'p, v'));
    expect(await partsOf(names.target)).toBe(PARTS);
  });

  it('knows that a reload cancelled nothing: the restore goes on, its outcome is unknown', async () => {
    const { names } = await makeTwin('big');
    const id = newId();
    await api.startRestore({ id, backup: 'b1', names });
    await waitFor(async () => (await partsOf(names.target)) > 20, {
      what: 'a part of the restore',
      deadlineMs: 20_000,
      everyMs: 5,
    });
    await server.call('POST', '/restart');
    const state = await waitFor(async () => api.restore(id).catch(() => undefined), {
      what: 'the API to answer again',
      deadlineMs: 10_000,
    });
    expect(state).toMatchObject({ state: 'unknown', cancelled: true });
    // Not sent again, though its outcome is unknown.
    await api.startRestore({ id, backup: 'b1', names });
    await waitFor(async () => (await partsOf(names.target)) === PARTS, { what: 'the rest', deadlineMs: 20_000 });
  });

  it('sent to the server nothing but ATTACH PART into our tables, and reads', async () => {
    await node.execute('SYSTEM FLUSH LOGS');
    // The native protocol: only clickhouse-backup uses it here. Until the backup was taken it also froze parts.
    const rows = await node.query<{ statement: string }>(
      "SELECT DISTINCT replaceRegexpOne(query, ' PART .*', '') AS statement FROM system.query_log WHERE type = 1 AND interface = 1",
    );
    const changes = rows
      .map(({ statement }) => statement.trim())
      .filter((statement) => !/^(SELECT|SHOW) /i.test(statement) && !/ FREEZE /.test(statement));
    expect(changes.length).toBeGreaterThan(0);
    for (const change of changes) expect(change).toMatch(/^ALTER TABLE `_recovery`\.`.*` ATTACH$/);
  });

  it('refuses our credentials without telling them', async () => {
    const bad = { node: 'a', url: server.url, user: 'ops', password: () => `${CANARY}-wrong` };
    const other = createClickHouseBackupRepository('cb', [bad]).on('a');
    const error: unknown = await other.list().catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'CREDENTIALS_REFUSED' });
    expect(String(error)).not.toContain(CANARY);
  });
});
