import { describe, expect } from 'vitest';
import { waitFor } from '../support/processes.js';
import { CLUSTER } from '../support/recovery-rig.js';
import { failedTables, type Scene } from '../support/scene.js';
import { scenario } from '../support/scenarios.js';
import { runZooKeeper } from '../support/zookeeper-write.js';

/** What is the same on every kind of cluster. Shard 0 is lost, the others show that they are left alone. */
describe('situations', () => {
  const BACKUPS = { needs: ['backups'] } as const;
  const NOTHING_DONE = { exitCode: 0, outcome: 'nothing-to-do', fence: 'never-raised' };

  const readOnly = (scene: Scene, table: string) =>
    waitFor(
      async () =>
        (await scene.ask(0, `SELECT min(is_readonly) FROM system.replicas WHERE table LIKE '${table}'`)) === '1',
      { what: `${table} to be read-only`, deadlineMs: 60_000 },
    );

  /** Names that match in `_recovery` or, without a table, of the database itself. */
  const inRecovery = async (scene: Scene, condition: string) => {
    const query = `SELECT name FROM system.tables WHERE database = '_recovery' AND ${condition}`;
    return (await Promise.all(scene.nodes.map((_, node) => scene.ask(node, query)))).join('');
  };

  scenario('healthy: nothing is done, and only reads are sent', {}, async (scene) => {
    await scene.setUp();
    const since = await scene.ask(0, 'SELECT toUInt32(now())');
    const { exitCode, report } = await scene.recover();
    expect({ exitCode, outcome: report.outcome, fence: report.fence }).toEqual(NOTHING_DONE);
    const doctor = await scene.rig.cli('doctor', '--cluster', CLUSTER);
    expect(doctor.exitCode, doctor.stdout).toBe(0);
    for (const node of scene.nodes.keys()) {
      expect(await scene.ask(node, "SELECT name FROM system.databases WHERE name = '_recovery'")).toBe('');
      if ((await scene.ask(node, 'EXISTS TABLE system.query_log')) === '0') continue; // an embedded node has none
      await scene.ask(node, 'SYSTEM FLUSH LOGS');
      const others = `SELECT query FROM system.query_log WHERE toUInt32(event_time) >= ${since} AND is_initial_query AND NOT match(query, '^(SELECT|EXPLAIN|EXISTS|SYSTEM FLUSH LOGS)')`;
      expect(await scene.ask(node, others)).toBe('');
    }
    expect(await scene.differences()).toEqual([]);
  });

  scenario('Keeper down: waits to the deadline, then says so and touches nothing', {}, async (scene) => {
    await scene.setUp({ shards: 1, policies: { unavailableDeadlineSeconds: 4 } });
    await scene.stopKeeper();
    const { exitCode, report } = await scene.recover();
    expect({ exitCode, code: report.problem?.code, fence: report.fence }).toEqual({
      exitCode: 1,
      code: 'KEEPER_UNAVAILABLE',
      fence: 'never-raised',
    });
    await scene.resumeKeeper();
    await scene.expectAsBefore();
  });

  scenario('the quorum of Keeper is lost and comes back: waits, and nothing is done', {}, async (scene) => {
    await scene.setUp({ shards: 1, keepers: 3 });
    await scene.stopKeeper();
    const run = scene.recover();
    await readOnly(scene, '%');
    await scene.resumeKeeper();
    const { report } = await run;
    expect([report.outcome, report.problem?.message, ...failedTables(report)]).toEqual(['nothing-to-do', undefined]);
    await scene.expectAsBefore();
  });

  scenario(
    'Keeper metadata lost, tables of all kinds: all are back, clones go as the policy says',
    {},
    async (scene) => {
      await scene.setUp({ size: 'full', policies: { keepAside: false } });
      await scene.loseKeeper();
      const { exitCode, report } = await scene.recover();
      expect(failedTables(report)).toEqual([]);
      expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted', rpo: null });
      expect(exitCode).toBe(0);
      expect(await scene.differences()).toEqual([]);
      expect(await inRecovery(scene, "name != 'ledger'")).toBe('');
      expect((await scene.recover()).report.outcome).toBe('nothing-to-do');
    },
  );

  scenario('a live replica on the path: refused, nothing changed; without it, recovered', {}, async (scene) => {
    await scene.setUp();
    await scene.loseKeeper();
    const replica = await scene.ask(
      0,
      "SELECT replica_path FROM system.replicas WHERE database = 'shop' AND table = 'orders' FORMAT TSVRaw",
    );
    const rows = await scene.ask(0, 'SELECT count() FROM shop.orders');
    await runZooKeeper(scene.rig.ensemble.hosts, [{ create: `${replica}/is_active` }]);
    await readOnly(scene, 'orders');
    const { exitCode, report } = await scene.recover('--tables', 'shop.orders');
    expect([exitCode, ...failedTables(report)]).toContain(3);
    const ofShard = (shard: number) =>
      report.tables.filter((table) => table.shard === scene.nodes[scene.shard(shard)[0]!]!.shard);
    expect(ofShard(0).map(({ problem }) => problem?.code)).toContain('REPLICA_ACTIVE');
    expect(new Set(ofShard(1).map(({ outcome }) => outcome))).toEqual(new Set(['recovered']));
    expect(await scene.ask(0, 'SELECT count() FROM shop.orders')).toBe(rows);
    await runZooKeeper(scene.rig.ensemble.hosts, [{ remove: replica }]);
    await scene.rig.cli('unfence', '--cluster', CLUSTER);
    const again = await scene.recover('--adopt', '--tables', 'shop.*');
    expect(failedTables(again.report)).toEqual([]);
    expect(again.report.outcome).toBe('succeeded');
    await scene.expectAsBefore();
  });

  scenario(
    'a table lost on all replicas: that table is restored, the others stay as they are',
    BACKUPS,
    async (scene) => {
      await scene.setUp({ shards: 1, backups: true });
      const backup = await scene.backUp('b1');
      await scene.loseTable(0, 'shop.orders');
      const { report } = await scene.recover('--backup', backup);
      expect(failedTables(report)).toEqual([]);
      expect(report.outcome).toBe('succeeded');
      const recovered = report.tables.filter(({ outcome }) => outcome === 'recovered');
      expect(recovered.map(({ table }) => table)).toEqual(scene.shard(0).map(() => 'orders'));
      // To the replica that fetches from the first, it is its own loss.
      expect(recovered.map(({ situation }) => situation)).toContain('table-lost');
      expect(await scene.differences()).toEqual([]);
    },
  );

  scenario('a whole shard lost, its stale paths still in Keeper: restored from the backup', BACKUPS, async (scene) => {
    await scene.setUp({ backups: true });
    const backup = await scene.backUp('b1');
    for (const node of scene.shard(1)) await scene.loseDisk(node);
    const { report } = await scene.recover('--backup', backup);
    expect(failedTables(report)).toEqual([]);
    // With what it warns of: why a fence is not lifted, for one.
    expect([report.outcome, report.fence, report.fence === 'lifted' ? [] : report.warnings]).toEqual([
      'succeeded',
      'lifted',
      [],
    ]);
    const lost = scene.nodes[scene.shard(1)[0]!]!.shard;
    const others = report.tables.filter(({ shard }) => shard !== lost);
    expect(others.length).toBeGreaterThan(0);
    expect(new Set(others.map(({ outcome }) => outcome))).toEqual(new Set(['unchanged']));
    const restored = report.tables.filter(({ shard, action }) => shard === lost && action === 'restore-from-backup');
    expect(restored.length).toBeGreaterThanOrEqual(3);
    if (scene.provider === 'servers')
      expect(restored.map(({ evidence }) => evidence)).toEqual(Array(3).fill('number of parts in the backup'));
    expect(await scene.differences()).toEqual([]);
  });

  scenario('wrong macros: refused before the fence, with the nodes', {}, async (scene) => {
    await scene.setUp({ worker: false });
    await scene.loseKeeper();
    // The file says of the first nodes of two shards that each is the other.
    const [a, b] = [scene.shard(0)[0]!, scene.shard(1)[0]!];
    const { nodes } = scene.rig.cluster.config.clusters[scene.rig.cluster.clusterName]!;
    const swapped = nodes.map((node, i) =>
      i === a || i === b ? { ...node, shard: nodes[i === a ? b : a]!.shard } : node,
    );
    scene.rig.configure({ nodes: swapped, ...(scene.provider === 'servers' ? { backups: {} } : {}) });
    await scene.rig.startWorker();
    const { exitCode, report } = await scene.recover();
    expect({ exitCode, outcome: report.outcome, code: report.problem?.code, fence: report.fence }).toEqual({
      exitCode: 3,
      outcome: 'needs-operator',
      code: 'WRONG_MACROS',
      fence: 'never-raised',
    });
    expect(report.problem?.message).toContain(nodes[a]!.name);
    expect(await inRecovery(scene, '1')).toBe('');
  });
});
