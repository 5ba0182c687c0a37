import { execFileSync } from 'node:child_process';
import { createClient, type ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDataset } from '../support/dataset.js';
import { startEmbeddedCluster, type EmbeddedCluster } from '../support/embedded-cluster.js';
import { compareSnapshots, takeSnapshot, type JudgedCluster, type Snapshot } from '../support/oracle.js';
import { scratchDir, type ScratchDir } from '../support/processes.js';
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
