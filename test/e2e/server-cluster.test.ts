import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { stringify } from 'yaml';
import { probeCapabilities } from '../support/capabilities.js';
import { startEmbeddedCluster } from '../support/embedded-cluster.js';
import { connectExternalCluster } from '../support/external-cluster.js';
import { createLiveDataset, LIVE_REPLICATED_TABLES } from '../support/live-dataset.js';
import { compareSnapshots, takeSnapshot, type JudgedCluster } from '../support/oracle.js';
import { scratchDir, waitFor, type ScratchDir } from '../support/processes.js';
import { startServerCluster, type ServerCluster } from '../support/server-cluster.js';
import { createWriterTables, judge, startWriter, type WriterLog } from '../support/writer.js';
import { startEnsemble, type Ensemble } from '../support/zookeeper-ensemble.js';

const isAlive = (pid: number) =>
  existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));

/** A table whose ZooKeeper session expired looks for a new one every 10 s. */
const SETTLE_MS = 60_000;

describe('ClickHouse servers, 2 shards x 2 replicas', () => {
  let dir: ScratchDir;
  let ensemble: Ensemble;
  let cluster: ServerCluster;
  let judged: JudgedCluster;

  beforeEach(async () => {
    dir = scratchDir('tcr-servers');
    ensemble = await startEnsemble({ dir: dir.path, size: 1 });
    cluster = await startServerCluster({ dir: dir.path, keeperHosts: ensemble.hosts });
    judged = { nodes: cluster.nodes, keeperHosts: ensemble.hosts, live: true };
  });

  afterEach(async () => {
    const pids = [...(cluster?.nodes ?? []), ...(ensemble?.servers ?? [])].map(({ pid }) => pid);
    await cluster?.killAll();
    await ensemble?.stop();
    for (const pid of pids) if (pid !== undefined) expect(isAlive(pid)).toBe(false);
    dir.remove();
    expect(existsSync(dir.path)).toBe(false);
  });

  async function ask(index: number, sql: string): Promise<string> {
    const response = await fetch(cluster.nodes[index]!.url, { method: 'POST', body: sql });
    const text = await response.text();
    if (!response.ok) throw new Error(text.slice(0, 300));
    return text.trim();
  }
  const everyNode = (sql: string) => Promise.all(cluster.nodes.map((_, index) => ask(index, sql)));
  const dataset = () => createLiveDataset(cluster.nodes, { clusterName: cluster.clusterName });
  const wipeKeeper = async () => {
    await ensemble.stop();
    ensemble.wipe();
    await ensemble.start();
  };
  const settled = (before: Awaited<ReturnType<typeof takeSnapshot>>) =>
    waitFor(
      async () => {
        const differences = compareSnapshots(before, await takeSnapshot(judged));
        if (differences.length > 0) throw new Error(differences.join('\n'));
        return true;
      },
      { what: 'the cluster to be as it was', deadlineMs: SETTLE_MS, everyMs: 500 },
    );
  /** Of `is_readonly, is_session_expired` of all replicated tables, the different pairs on each node. */
  const states = (pair: string) =>
    waitFor(
      async () => {
        const seen = await everyNode(`SELECT DISTINCT is_readonly, is_session_expired FROM system.replicas FORMAT CSV`);
        if (seen.some((each) => each !== pair)) throw new Error(seen.join(' '));
        return true;
      },
      { what: `all tables to be ${pair}`, deadlineMs: SETTLE_MS },
    );

  it('replicate, answer distributed queries, and describe themselves', async () => {
    expect(cluster.nodes.map(({ name, shard, replica }) => [name, shard, replica])).toEqual([
      ['s01r1', '01', 'r1'],
      ['s01r2', '01', 'r2'],
      ['s02r1', '02', 'r1'],
      ['s02r2', '02', 'r2'],
    ]);
    expect(cluster.capabilities).toContain('liveReplication');
    expect(Object.keys(cluster.config.clusters)).toEqual(['servers']);
    await dataset();
    const snapshot = await takeSnapshot(judged);
    await settled(snapshot);
    const replicated = [...snapshot.values()].filter(({ keeper }) => keeper !== null);
    expect(replicated).toHaveLength(4 * (LIVE_REPLICATED_TABLES.length + 1));
    for (const { keeper, error, unlike } of replicated)
      expect({ keeper, error, unlike }).toEqual({ keeper: 'agrees', error: null, unlike: [] });
    expect(snapshot.get('s02r2 `shop`.`many parts`')?.parts).toHaveLength(64);
    expect(await everyNode('SELECT count() FROM shop.orders_all')).toEqual(Array(4).fill('4000'));
  });

  it('lose no acknowledged row when a server is killed and started again', async () => {
    await dataset();
    const before = await takeSnapshot(judged);
    const tables = await createWriterTables(cluster.nodes, 2);
    const writer = startWriter({ nodes: cluster.nodes, tables, everyMs: 5 });
    const written = (least: number) =>
      waitFor(() => writer.log.acknowledged.length >= least, { what: `${least} rows`, deadlineMs: 30_000 });
    await written(40);
    await cluster.killNode(1);
    const known = writer.log.acknowledged.length;
    await written(known + 40);
    await cluster.startNode(1);
    await waitFor(() => writer.log.acknowledged.slice(known).some(({ node }) => node === 's01r2'), {
      what: 'the restarted server to take rows',
      deadlineMs: 30_000,
    });
    const log = await writer.stop();
    expect(log.unknown.length).toBeGreaterThan(0);
    for (const table of tables) await everyNode(`SYSTEM SYNC REPLICA ${table}`);
    expect(await judge({ nodes: cluster.nodes, log })).toEqual([]);

    const isOld = ([key]: [string, unknown]) => !key.includes(' `live`.');
    const after = new Map([...(await takeSnapshot(judged))].filter(isOld));
    expect(compareSnapshots(before, after)).toEqual([]);

    // The judge is no rubber stamp.
    const [lost] = log.acknowledged;
    const forged: WriterLog = {
      ...log,
      acknowledged: [...log.acknowledged.slice(1), { ...lost!, id: 9_999_999 }],
      refused: [{ ...lost!, error: 'made up' }],
    };
    const findings = (await judge({ nodes: cluster.nodes, log: forged })).join('\n');
    expect(findings).toContain('row 9999999 was acknowledged and is missing');
    expect(findings).toContain(`row ${lost!.id} was refused and is there`);
  });

  it('have read-only tables while ZooKeeper is away, and recover when it is back with its data', async () => {
    await dataset();
    const before = await takeSnapshot(judged);
    await ensemble.stop();
    await states('1,1');
    await ensemble.start();
    await states('0,0');
    await settled(before);
  });

  it('stay read-only with a session when ZooKeeper was wiped, refuse inserts, and keep their rows', async () => {
    await dataset();
    const tables = await createWriterTables(cluster.nodes);
    const before = await takeSnapshot(judged);
    await wipeKeeper();
    await states('1,0');
    const writer = startWriter({ nodes: cluster.nodes, tables });
    await waitFor(() => writer.log.refused.length >= 8, { what: 'refusals', deadlineMs: 10_000 });
    const log = await writer.stop();
    expect(log.acknowledged).toEqual([]);
    for (const { error } of log.refused) expect(error).toContain('Code: 242');
    expect(await judge({ nodes: cluster.nodes, log })).toEqual([]);

    const differences = compareSnapshots(before, await takeSnapshot(judged));
    const of = (table: string) => differences.filter((line) => line.startsWith(`s01r1 ${table}:`));
    expect(of('`shop`.`orders`')).toEqual([
      's01r1 `shop`.`orders`: ZooKeeper does not have its replica',
      's01r1 `shop`.`orders`: is read-only',
      's01r1 `shop`.`orders`: none of unknown replicas are active',
    ]);
    expect(of('`shop`.`local`')).toEqual([]);
    expect(differences.filter((line) => /rows|content|other parts|missing/.test(line))).toEqual([]);

    // Started without ZooKeeper in its configuration, 18.16 has its tables; with it, it would have them by chance.
    await cluster.killNode(0);
    await cluster.startNode(0, { withoutKeeper: true });
    expect(await ask(0, 'SELECT count() FROM system.replicas WHERE is_readonly')).toBe('11');
    expect(await ask(0, 'SELECT count() FROM shop.orders')).toBe('2000');
  });

  it('diverge when neither fetches, and one that lost its disk has no tables', async () => {
    await everyNode('CREATE DATABASE shop');
    await everyNode(
      `CREATE TABLE shop.t (id UInt64) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/t', '{replica}') ORDER BY id`,
    );
    await ask(0, 'INSERT INTO shop.t VALUES (1)');
    await ask(1, 'SYSTEM SYNC REPLICA shop.t');
    await everyNode('SYSTEM STOP FETCHES shop.t');
    await ask(0, 'INSERT INTO shop.t VALUES (2)');
    await ask(1, 'INSERT INTO shop.t VALUES (3), (4)');
    await wipeKeeper();
    await states('1,0');
    expect(await ask(0, 'SELECT groupArray(id) FROM (SELECT id FROM shop.t ORDER BY id)')).toBe('[1,2]');
    expect(await ask(1, 'SELECT groupArray(id) FROM (SELECT id FROM shop.t ORDER BY id)')).toBe('[1,3,4]');
    const snapshot = await takeSnapshot(judged);
    expect(snapshot.get('s01r1 `shop`.`t`')?.unlike).toEqual(['s01r2']);
    expect(snapshot.get('s02r1 `shop`.`t`')?.unlike).toEqual([]);

    expect(() => cluster.wipeNodeData(3)).toThrow('s02r2 is running');
    await cluster.killNode(3);
    cluster.wipeNodeData(3);
    await cluster.startNode(3);
    expect(await ask(3, `SELECT count() FROM system.tables WHERE database = 'shop'`)).toBe('0');
  });
});

describe('a cluster that somebody else runs', () => {
  it('is asked with its account, and broken by its commands', async () => {
    const dir = scratchDir('tcr-external');
    const ensemble = await startEnsemble({ dir: dir.path, size: 1 });
    vi.stubEnv('TCR_TEST_PASSWORD', `p<&"'`);
    const account = { user: 'recovery', password: `p<&"'`, passwordEnv: 'TCR_TEST_PASSWORD' };
    const servers = await startServerCluster({
      dir: dir.path,
      keeperHosts: ensemble.hosts,
      shards: 1,
      clusterName: 'theirs',
      ...account,
    });
    try {
      const recoveryYaml = join(dir.path, 'recovery.yaml');
      writeFileSync(recoveryYaml, stringify(servers.config));
      const commandsYaml = join(dir.path, 'commands.yaml');
      const pids = Object.fromEntries(servers.nodes.map(({ name, pid }) => [name, { kill: `kill -9 ${pid}` }]));
      // Started again by this test: a child of the command would outlive it.
      writeFileSync(commandsYaml, stringify({ nodes: pids, commands: { start: 'echo {node} >> started' } }));
      const cluster = await connectExternalCluster({ recoveryYaml, commandsYaml });
      expect(cluster).toMatchObject({ provider: 'external', clusterName: 'theirs', keeperHosts: ensemble.hosts });
      expect(cluster.capabilities).toEqual(servers.capabilities);

      await createLiveDataset(cluster.nodes, { clusterName: cluster.clusterName });
      const judged = { nodes: cluster.nodes, keeperHosts: cluster.keeperHosts, live: true };
      const before = await takeSnapshot(judged);
      expect(compareSnapshots(before, before)).toEqual([]);
      await expect(cluster.wipeNodeData(1)).rejects.toThrow('s01r2 is running');
      await cluster.killNode(1);
      await waitFor(() => !servers.nodes[1]!.running, { what: 'the node to end', deadlineMs: 10_000 });
      await expect(cluster.stopNode(1)).rejects.toThrow('does not say how to stop s01r2');
      const started = cluster.startNode(1);
      const wasAsked = () => existsSync(join(dir.path, 'started'));
      await waitFor(wasAsked, { what: 'the command', deadlineMs: 10_000 });
      expect(readFileSync(join(dir.path, 'started'), 'utf8')).toBe('s01r2\n');
      await servers.startNode(1);
      await started;
    } finally {
      vi.unstubAllEnvs();
      await servers.killAll();
      await ensemble.stop();
      dir.remove();
    }
  });
});

describe('the probe', () => {
  it('finds the modern statements where they are', async () => {
    const dir = scratchDir('tcr-probe');
    const embedded = await startEmbeddedCluster({ dir: dir.path, keeperHosts: [], shards: 1 });
    try {
      const probed = await probeCapabilities(embedded.nodes);
      for (const capability of embedded.capabilities) expect(probed).toContain(capability);
      expect(embedded.capabilities).not.toContain('liveReplication');
    } finally {
      await embedded.killAll();
      dir.remove();
    }
  });
});
