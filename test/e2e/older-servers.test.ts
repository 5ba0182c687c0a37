import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Plan } from '../../src/domain/plan.js';
import type { Report } from '../../src/domain/report.js';
import { createDataset } from '../support/dataset.js';
import { betweenTheYears } from '../support/older-server.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { scratchDir, waitFor, stop } from '../support/processes.js';
import { startRecordingProxy, type RecordingProxy } from '../support/recording-proxy.js';
import { CLUSTER, startRig, type Rig } from '../support/recovery-rig.js';
import { failedTables } from '../support/scene.js';
import { describeOn } from '../support/scenarios.js';
import { runZooKeeper } from '../support/zookeeper-write.js';

/** No server of those years is in reach: today's engine, with what it knows since then taken from it. */
describeOn(
  'embedded',
  'a server that knows SYSTEM RESTORE REPLICA, and not what came later',
  { needs: ['restoreReplica'] },
  () => {
    let scratch: ReturnType<typeof scratchDir>;
    let rig: Rig;
    let proxies: RecordingProxy[];
    let before: Snapshot;

    beforeEach(() => {
      scratch = scratchDir('older');
      proxies = [];
    });
    afterEach(async () => {
      await rig.stop();
      await Promise.all(proxies.map((proxy) => proxy.stop()));
      scratch.remove();
    });

    async function ask(node: number, sql: string): Promise<string> {
      const answer = await fetch(rig.nodes[node]!.url, { method: 'POST', body: sql });
      const text = (await answer.text()).trim();
      if (!answer.ok) throw new Error(text.slice(0, 300));
      return text;
    }
    const snapshot = () => takeSnapshot({ nodes: rig.nodes, keeperHosts: rig.ensemble.hosts });

    /** The last shard's server does not know SYSTEM DROP REPLICA either. */
    async function setUp(size: 'small' | 'demo', shards: number, fill: () => Promise<void> = async () => undefined) {
      rig = await startRig({ dir: scratch.path, shards });
      await createDataset(rig.nodes, size);
      await fill();
      before = await snapshot();
      await rig.disaster();
      proxies = await Promise.all(
        rig.nodes.map(({ url }, i) =>
          startRecordingProxy(url, betweenTheYears({ dropReplica: i < shards - 1 || i === 0 })),
        ),
      );
      const { nodes } = rig.cluster.config.clusters[CLUSTER]!;
      rig.configure({ nodes: nodes.map((node, i) => ({ ...node, url: proxies[i]!.url })) });
    }
    const start = async (...args: string[]) => {
      const { stdout } = await rig.cli('start', '--cluster', CLUSTER, '--yes', '--json', ...args);
      return (JSON.parse(stdout) as { id: string }).id;
    };
    async function reportOf(id: string): Promise<Report> {
      const { stdout, stderr } = await rig.cli('report', id, '--json');
      expect(stdout, stderr).toMatch(/^\{/);
      return JSON.parse(stdout) as Report;
    }
    /** All that was sent is of its time: what came back as unknown were probes, and a question that may be answered so. */
    const isProbe = (sql: string) => sql.startsWith('EXPLAIN AST ') || sql.includes('user_defined_zookeeper_path');
    const expectOldStatements = () =>
      expect(proxies.flatMap(({ unknown }) => unknown).filter((sql) => !isProbe(sql))).toEqual([]);
    async function expectAsBefore(id: string): Promise<void> {
      const report = await reportOf(id);
      expect(failedTables(report)).toEqual([]);
      expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
      expect(compareSnapshots(before, await snapshot())).toEqual([]);
      expectOldStatements();
    }

    it('Keeper metadata lost, tables of all kinds, one path with what another replica left', async () => {
      await setUp('demo', 2);
      const path = await ask(
        1,
        "SELECT zookeeper_path FROM system.replicas WHERE database = 'shop' AND table = 'orders'",
      );
      await runZooKeeper(rig.ensemble.hosts, [{ create: `${path}/replicas/r9` }]);
      await rig.startWorker();
      const doctor = await rig.cli('doctor', '--cluster', CLUSTER);
      expect(doctor.stdout).toContain('SYSTEM RESTORE REPLICA is there, and not ATTACH … AS REPLICATED, CLONE AS');
      const plan = JSON.parse((await rig.cli('plan', '--cluster', CLUSTER, '--json')).stdout) as Plan;
      expect(plan.nodes.map(({ method, strategy }) => [method, strategy])).toEqual([
        ['restore-replica', expect.stringMatching(/, and not ATTACH … AS REPLICATED, CLONE AS$/)],
        ['restore-replica', expect.stringMatching(/, and not SYSTEM DROP REPLICA, ATTACH … AS REPLICATED, CLONE AS$/)],
      ]);
      await expectAsBefore(await start());
      for (const { statements } of proxies)
        expect(statements.join('\n')).toMatch(/`making [^`]+` REPLACE PARTITION ID/);
      expect(
        await ask(0, "SELECT count() FROM system.tables WHERE database = '_recovery' AND name LIKE '%making%'"),
      ).toBe('0');
    });

    it('the worker is killed in the middle of a clone: it is dropped and made anew', async () => {
      await setUp('small', 1);
      const at = proxies[0]!;
      const fills = (sql: string) => /`making shop\.orders` REPLACE PARTITION ID/.test(sql);
      let filled = 0;
      const torn = at.hold((sql) => fills(sql) && ++filled === 2);
      const first = await rig.startWorker();
      const id = await start();
      await torn.reached;
      first.signal('SIGKILL');
      await stop(first);
      torn.release();
      const partitions = (table: string) =>
        ask(0, `SELECT uniqExact(partition_id) FROM system.parts WHERE active AND table = '${table}'`).then(Number);
      const [inClone, inAll] = [await partitions('making shop.orders'), await partitions('orders')];
      expect(inClone).toBe(2);
      expect(inAll).toBeGreaterThan(2);
      await rig.startWorker();
      await expectAsBefore(id);
      expect(
        at.statements.filter((sql) => sql.includes('DROP TABLE IF EXISTS `_recovery`.`making shop.orders`')),
      ).toHaveLength(1);
      expect(at.statements.filter(fills)).toHaveLength(2 + inAll);
    });

    it('the server is killed in the middle of SYSTEM RESTORE REPLICA: said, and rebuilt once it is upgraded', async () => {
      await setUp('small', 1, async () => {
        await ask(0, 'CREATE TABLE shop.many (id UInt64) ENGINE = MergeTree ORDER BY id');
        await ask(0, 'SYSTEM STOP MERGES shop.many');
        for (let i = 0; i < 220; i++)
          await ask(0, `INSERT INTO shop.many SELECT number + ${i * 100} FROM numbers(100)`);
        await ask(0, 'DETACH TABLE shop.many SYNC');
        await ask(0, 'ATTACH TABLE shop.many AS REPLICATED');
        await ask(0, 'SYSTEM RESTORE REPLICA shop.many');
      });
      await ask(0, 'SYSTEM ENABLE FAILPOINT rmt_delay_commit_part');
      const first = await rig.startWorker();
      const id = await start();
      const active = async () =>
        Number(await ask(0, "SELECT count() FROM system.parts WHERE active AND database = 'shop' AND table = 'many'"));
      await waitFor(async () => (await active()) > 0 && (await active()) < 100, {
        what: 'half of the parts attached',
        deadlineMs: 120_000,
      });
      await rig.cluster.killAll();
      await rig.cluster.startAll();
      const report = await reportOf(id);
      expect(report).toMatchObject({ outcome: 'needs-operator', fence: 'held' });
      expect(failedTables(report).join('\n')).toMatch(
        /^many@01\/r1: UNSUPPORTED_SERVER .* its parts are in _recovery$/m,
      );
      expect(await ask(0, 'SELECT count(), uniqExact(id) FROM _recovery.`clone shop.many`')).toBe('22000\t22000');
      expectOldStatements();
      await stop(first);
      rig.configure();
      await rig.startWorker();
      await expectAsBefore(await start('--adopt'));
    });
  },
);
