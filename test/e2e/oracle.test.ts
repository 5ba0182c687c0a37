import { execFileSync } from 'node:child_process';
import { createClient, type ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDataset } from '../support/dataset.js';
import { createLiveDataset } from '../support/live-dataset.js';
import { startEmbeddedCluster, type EmbeddedCluster } from '../support/embedded-cluster.js';
import { compareSnapshots, takeSnapshot, type JudgedCluster, type Snapshot } from '../support/oracle.js';
import { scratchDir, waitFor, type ScratchDir } from '../support/processes.js';
import { startServerCluster, type ServerCluster } from '../support/server-cluster.js';
import { repoRoot } from '../support/tools.js';
import { startEnsemble, type Ensemble } from '../support/zookeeper-ensemble.js';

/** In a process of its own: the npm client must not stay open in one that spawns children. */
const DELETE_ZNODE = `
  const ZooKeeper = require('zookeeper');
  const [connect, path] = process.argv.slice(1);
  const client = new ZooKeeper({ connect, timeout: 10000, debug_level: 1 });
  client.connect({}, () => client.a_delete_(path, -1, (code) => process.exit(code === 0 ? 0 : 1)));
  setTimeout(() => process.exit(2), 20000);
`;

describe('the oracle', () => {
  let dir: ScratchDir;
  let ensemble: Ensemble;
  let cluster: EmbeddedCluster;
  let client: ClickHouseClient;
  let judged: JudgedCluster;

  beforeAll(async () => {
    dir = scratchDir('tcr-oracle');
    ensemble = await startEnsemble({ dir: dir.path, size: 1 });
    cluster = await startEmbeddedCluster({ dir: dir.path, keeperHosts: ensemble.hosts, shards: 1 });
    const nodes = cluster.nodes.map(({ name, url }) => ({ name, url }));
    judged = { nodes, keeperHosts: ensemble.hosts };
    client = createClient({ url: nodes[0]!.url });
    await createDataset(nodes, 'small');
  });
  afterAll(async () => {
    await client?.close();
    await cluster?.stopAll();
    await ensemble?.stop();
    dir.remove();
  });

  const run = (query: string) => client.command({ query });
  /** What the oracle says of what `change` did. */
  const findings = async (change: () => Promise<unknown>): Promise<string[]> => {
    const before: Snapshot = await takeSnapshot(judged);
    await change();
    return compareSnapshots(before, await takeSnapshot(judged));
  };

  it('sees the dataset as it was meant, and no difference where there is none', async () => {
    const snapshot = await takeSnapshot(judged);
    expect(compareSnapshots(snapshot, await takeSnapshot(judged))).toEqual([]);
    const replicated = [...snapshot.values()].filter(({ keeper }) => keeper !== null);
    expect(replicated.map(({ keeper }) => keeper)).toEqual(Array(5).fill('agrees'));
    const twins = snapshot.get('node1 `shop`.`twins`')?.parts;
    expect(twins).toHaveLength(3);
    expect(new Set(twins).size).toBe(1);
  });

  it('sees a doubled row in a plain table', async () => {
    const doubled = await findings(() => run('INSERT INTO shop.local SELECT n FROM shop.local LIMIT 1'));
    expect(doubled).toEqual([
      'node1 `shop`.`local`: rows was 100, is 101',
      expect.stringMatching(/^node1 `shop`.`local`: content was/),
    ]);
  });

  it('sees a lost row alone', async () => {
    // Not by ALTER … DELETE: merges are stopped there, and mutations with them.
    await run('CREATE TABLE shop.kept AS shop.local');
    await run('INSERT INTO shop.kept SELECT n FROM shop.local WHERE n != 7');
    const lost = await findings(() => run("ALTER TABLE shop.local REPLACE PARTITION ID 'all' FROM shop.kept"));
    expect(lost).toEqual([
      'node1 `shop`.`local`: rows was 101, is 100',
      expect.stringMatching(/^node1 `shop`.`local`: content was/),
    ]);
  });

  it('sees a part swapped for another with the same row count', async () => {
    await run('CREATE TABLE shop.swap (n UInt64, v UInt64) ENGINE = MergeTree PARTITION BY n ORDER BY v');
    await run('INSERT INTO shop.swap SELECT number % 2, number FROM numbers(20)');
    await run('CREATE TABLE shop.other AS shop.swap');
    await run('INSERT INTO shop.other SELECT 1, number + 1000 FROM numbers(10)');
    const swapped = await findings(() => run("ALTER TABLE shop.swap REPLACE PARTITION ID '1' FROM shop.other"));
    expect(swapped).toEqual([expect.stringMatching(/^node1 `shop`.`swap`: content was/)]);
  });

  it('sees a value that changed in a row with a NULL, and NULL that became a value', async () => {
    await run('CREATE TABLE shop.gaps (n UInt64, v Nullable(Int64)) ENGINE = MergeTree ORDER BY n');
    const refill = (row: string) => async () => {
      await run('TRUNCATE TABLE shop.gaps');
      await run(`INSERT INTO shop.gaps VALUES ${row}`);
    };
    await refill('(1, NULL)')();
    expect(await findings(refill('(2, NULL)'))).toEqual([expect.stringContaining('`gaps`: content was')]);
    expect(await findings(refill('(2, 0)'))).toEqual([expect.stringContaining('`gaps`: content was')]);
    expect(await findings(refill('(2, 0)'))).toEqual([]);
  });

  it('sees a view that cannot be read', async () => {
    await run('CREATE TABLE shop.base (n UInt64) ENGINE = Log');
    await run('CREATE VIEW shop.on_base AS SELECT n FROM shop.base');
    const unreadable = await findings(() => run('DROP TABLE shop.base SYNC'));
    expect(unreadable).toContain('node1 `shop`.`base` is missing');
    expect(unreadable).toContainEqual(expect.stringContaining('node1 `shop`.`on_base` cannot be read:'));
    await run('DROP VIEW shop.on_base');
  });

  it("sees that a part's znode was deleted", async () => {
    const answer = await client.query({
      query: `SELECT concat(r.replica_path, '/parts/', p.name) AS path FROM system.replicas AS r
        JOIN system.parts AS p ON p.database = r.database AND p.table = r.table
        WHERE r.table = 'parts' AND p.active LIMIT 1`,
      format: 'JSONEachRow',
    });
    const [{ path } = { path: '' }] = await answer.json<{ path: string }>();
    const remove = async () =>
      execFileSync(process.execPath, ['-e', DELETE_ZNODE, ensemble.connectString, path], { cwd: repoRoot });
    expect(await findings(remove)).toEqual(['node1 `shop`.`parts`: ZooKeeper lists other parts']);
  });

  it('sees a dropped table, and one that is new', async () => {
    const seen = await findings(async () => {
      await run('DROP TABLE shop.twins SYNC');
      await run('CREATE TABLE shop.newcomer (n UInt64) ENGINE = Log');
    });
    expect(seen).toContain('node1 `shop`.`twins` is missing');
    expect(seen).toContain('node1 `shop`.`newcomer` was not there before');
  });
});

describe('the oracle on live servers', () => {
  let dir: ScratchDir;
  let ensemble: Ensemble;
  let cluster: ServerCluster;
  let judged: JudgedCluster;

  beforeAll(async () => {
    dir = scratchDir('tcr-oracle-live');
    ensemble = await startEnsemble({ dir: dir.path, size: 1 });
    cluster = await startServerCluster({ dir: dir.path, keeperHosts: ensemble.hosts, shards: 1 });
    judged = { nodes: cluster.nodes, keeperHosts: ensemble.hosts, live: true };
    await createLiveDataset(cluster.nodes, { clusterName: cluster.clusterName });
  });
  afterAll(async () => {
    await cluster?.killAll();
    await ensemble?.stop();
    dir.remove();
  });

  const run = async (index: number, sql: string) => {
    const response = await fetch(cluster.nodes[index]!.url, { method: 'POST', body: sql });
    const text = await response.text();
    if (!response.ok) throw new Error(text.slice(0, 300));
    return text.trim();
  };
  /** What the oracle says of what `change` did, when both replicas have done it. */
  const findings = async (change: () => Promise<unknown>, table?: string): Promise<string[]> => {
    const before = await takeSnapshot(judged);
    await change();
    if (table) for (const index of [0, 1]) await run(index, `SYSTEM SYNC REPLICA ${table}`);
    return compareSnapshots(before, await takeSnapshot(judged));
  };
  const onBoth = (finding: string) =>
    ['s01r1', 's01r2'].map((node): unknown => expect.stringContaining(`${node} ${finding}`));

  it('sees no difference where there is none', async () => {
    expect(await findings(async () => undefined)).toEqual([]);
    for (const [key, { content, error, engine }] of await takeSnapshot(judged)) {
      expect([key, error]).toEqual([key, null]);
      if (engine !== 'View') expect([key, content]).toEqual([key, expect.stringMatching(/^\d+\/\d+$/)]);
    }
  });

  it('sees a part swapped for another with the same row count, by its content', async () => {
    await run(
      0,
      'CREATE TABLE shop.other (k UInt64, u AggregateFunction(uniq, UInt64), s AggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree PARTITION BY k % 2 ORDER BY k',
    );
    // Both parts of the partition in one insert: what 18.16 compares besides the content is their rows.
    const rows = (i: number, seed: number) =>
      `SELECT number % 50 AS k, uniqState(number + ${i}), sumState(number * ${seed}) FROM numbers(500) GROUP BY k`;
    for (const i of [0, 1, 2]) await run(0, `INSERT INTO shop.other ${rows(i, i === 2 ? 9 : 1)}`);
    const swapped = await findings(
      () => run(0, `ALTER TABLE shop.states REPLACE PARTITION ID '1' FROM shop.other`),
      'shop.states',
    );
    expect(swapped).toEqual(onBoth('`shop`.`states`: content was'));
    await run(0, 'DROP TABLE shop.other');
  });

  it('sees that a replica holds other rows than its peer, and that it is not active', async () => {
    await run(1, 'SYSTEM STOP FETCHES shop.stock');
    const behind = await findings(() => run(0, 'INSERT INTO shop.stock VALUES (1, 1)'));
    expect(behind).toContain('s01r1 `shop`.`stock`: holds other rows or parts than s01r2');
    expect(behind).toContain('s01r2 `shop`.`stock`: has 1 entries in its queue');
    await run(1, 'SYSTEM START FETCHES shop.stock');
    await run(1, 'SYSTEM SYNC REPLICA shop.stock');

    const before = await takeSnapshot(judged);
    await cluster.killNode(1);
    const alone = { ...judged, nodes: judged.nodes.slice(0, 1) };
    const isGone = async () =>
      (await run(0, `SELECT active_replicas FROM system.replicas WHERE table = 'stock'`)) === '1';
    await waitFor(isGone, { what: "the killed replica's session to end", deadlineMs: 30_000 });
    expect(compareSnapshots(before, await takeSnapshot(alone))).toContain(
      's01r1 `shop`.`stock`: 1 of 2 replicas are active',
    );
    await cluster.startNode(1);
    const noDifference = async () => compareSnapshots(before, await takeSnapshot(judged)).length === 0;
    await waitFor(noDifference, { what: 'both replicas to be active', deadlineMs: 60_000 });
  });

  it('sees a merge that changed rows', async () => {
    const merged = await findings(() => run(0, 'OPTIMIZE TABLE shop.customers FINAL'), 'shop.customers');
    expect(merged).toEqual(expect.arrayContaining(onBoth('`shop`.`customers`: rows was 1200, is 400')));
  });

  it('sees a lost row alone', async () => {
    const lost = await findings(async () => {
      await run(0, 'ALTER TABLE shop.orders DELETE WHERE id = 7');
      const isDone = async () =>
        (await Promise.all([0, 1].map((index) => run(index, `SELECT count() FROM shop.orders WHERE id = 7`)))).every(
          (count) => count === '0',
        );
      await waitFor(isDone, { what: 'the mutation', deadlineMs: 30_000 });
    }, 'shop.orders');
    expect(lost).toEqual(expect.arrayContaining(onBoth('`shop`.`orders`: rows was 2000, is 1999')));
  });
});
