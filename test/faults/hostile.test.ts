/** Faults of the catalogue that no other file brings about on real engines, in order of what they could destroy. */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Progress } from '../../src/domain/messages.js';
import type { Report } from '../../src/domain/report.js';
import { compareSnapshots, type Snapshot } from '../support/oracle.js';
import { stop, waitFor } from '../support/processes.js';
import { startRecordingProxy, type RecordingProxy } from '../support/recording-proxy.js';
import { CLUSTER, type ServersRig } from '../support/recovery-rig.js';
import { startHeldWorker } from '../support/held-worker.js';
import { failedTables, Scene } from '../support/scene.js';
import { describeOn } from '../support/scenarios.js';
import type { Plan } from '../../src/domain/plan.js';
import type { Ensemble } from '../support/zookeeper-ensemble.js';

describeOn('servers', 'what a recovery meets', { needs: ['liveReplication'] }, () => {
  let scene: Scene;
  beforeEach(() => {
    scene = new Scene('servers');
  });
  afterEach(() => scene.close());

  /** What ZooKeeper has now is what it has again after `putBack`. */
  function copyKeeper(): { putBack(): Promise<void> } {
    const ensemble = scene.rig.ensemble as Ensemble;
    const data = join(ensemble.servers[0]!.dataDir, 'version-2');
    const copy = `${data}-copy`;
    // Of a running server: what it has answered is in its log.
    cpSync(data, copy, { recursive: true });
    return {
      putBack: async () => {
        await ensemble.killServer(0);
        ensemble.wipe();
        cpSync(copy, data, { recursive: true });
        await ensemble.start();
      },
    };
  }

  it('ZooKeeper comes back from an older copy: its tables are not called whole, and nothing is touched', async () => {
    await scene.setUp({ shards: 1 });
    const keeper = copyKeeper();
    // A part of a month of its own: a merge with another would register what it makes, and all were in step again.
    await scene.ask(
      0,
      "INSERT INTO shop.orders SELECT number + 100000, toDateTime('2031-01-15 00:00:00'), toDecimal64(1, 2) FROM numbers(7)",
    );
    await scene.ask(1, 'SYSTEM SYNC REPLICA shop.orders');
    await keeper.putBack();

    const refused = await scene.recover();
    expect(refused).toMatchObject({ exitCode: 3, report: { outcome: 'needs-operator', fence: 'never-raised' } });
    expect(failedTables(refused.report).filter((line) => line.startsWith('orders@'))).toEqual(
      ['r1', 'r2'].map((r) => expect.stringContaining(`orders@01/${r}: KEEPER_OUT_OF_STEP`) as string),
    );
    for (const node of [0, 1]) expect(await scene.ask(node, 'SELECT count() FROM shop.orders')).toBe('2007');
  });

  it('the first replica loses its disk before the next one joins: it is never taken for whole, and the other one goes first', async () => {
    await scene.setUp({ shards: 1, worker: false, policies: { statementDeadlineSeconds: 10 } });
    await scene.loseKeeper();
    const rig = scene.rig as ServersRig;
    const done = 'activity/restoreTableReplica/ack';
    const hold = await startHeldWorker(rig, [done]);
    const { stdout } = await rig.cli('start', '--cluster', CLUSTER, '--yes', '--json');
    await hold.reached(done);
    await scene.loseDisk(0);
    hold.release(done);
    const ended = await rig.cli('report', (JSON.parse(stdout) as { id: string }).id, '--json');
    expect(ended.exitCode).not.toBe(0);
    const { report } = await scene.recover('--adopt');
    expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
    await scene.expectAsBefore();
  });
});

describeOn('embedded', 'what a recovery meets', {}, () => {
  let scene: Scene;
  let proxy: RecordingProxy | null = null;
  beforeEach(() => {
    scene = new Scene('embedded');
  });
  afterEach(async () => {
    await scene.close();
    await proxy?.stop();
    proxy = null;
  });

  const SPEC = ['start', '--cluster', CLUSTER, '--tables', 'shop.orders', '--json'] as const;
  const ofOurs = (sql: string) => sql.startsWith('/* ch-recover ');

  /** One node whose ZooKeeper lost all, and a proxy before it that the workers to come are sent to. */
  async function loseKeeperBehindProxy(policies: Record<string, unknown> = {}): Promise<RecordingProxy> {
    await scene.setUp({ shards: 1, worker: false, policies });
    await scene.loseKeeper();
    proxy = await startRecordingProxy(scene.nodes[0]!.url);
    const { nodes } = scene.rig.cluster.config.clusters[CLUSTER]!;
    scene.rig.configure({ nodes: nodes.map((node) => ({ ...node, url: proxy!.url })) });
    return proxy;
  }

  async function reportOf(id: string): Promise<Report> {
    const { stdout, stderr } = await scene.rig.cli('report', id, '--json');
    expect(stdout, stderr).toMatch(/^\{/);
    return JSON.parse(stdout) as Report;
  }

  /** The other tables of the scene are lost, still. */
  async function expectOrdersAsBefore(report: Report): Promise<void> {
    expect(failedTables(report)).toEqual([]);
    expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
    const orders = (snapshot: Snapshot) => new Map([...snapshot].filter(([key]) => key.includes('orders')));
    expect(orders(scene.before).size).toBe(1);
    expect(compareSnapshots(orders(scene.before), orders(await scene.snapshot()))).toEqual([]);
  }

  it('a worker that stood still, and was replaced, sends nothing more when it goes on', async () => {
    const at = await loseKeeperBehindProxy();
    const zombie = await scene.rig.startWorker();
    // It has decided to register the table, and asks whether the fence holds.
    let cloned = false;
    const proof = at.hold((sql) => {
      cloned ||= sql.includes('RENAME TABLE `_recovery`.`making');
      return cloned && sql.includes('AS writers');
    });
    const { stdout } = await scene.rig.cli(...SPEC, '--yes');
    const { id } = JSON.parse(stdout) as { id: string };
    await proof.reached;
    zombie.signal('SIGSTOP');
    scene.rig.configure();
    await scene.rig.startWorker();
    const report = await reportOf(id);
    at.forget();
    proof.release();
    zombie.signal('SIGCONT');
    // It waits for what it has begun.
    await stop(zombie, 40_000);
    expect(at.statements.filter((sql) => !/^(SELECT|EXPLAIN)/.test(sql))).toEqual([]);
    await expectOrdersAsBefore(report);
  });

  it('every answer is lost once, after the statement ran: none is sent twice', async () => {
    const at = await loseKeeperBehindProxy();
    const lost: string[] = [];
    at.drop((sql) => ofOurs(sql) && !lost.includes(sql) && lost.push(sql) > 0);
    await scene.rig.startWorker();
    const { stdout } = await scene.rig.cli(...SPEC, '--yes');
    const report = await reportOf((JSON.parse(stdout) as { id: string }).id);
    const sent = at.statements.filter(ofOurs);
    expect(sent.join('\n')).toContain('SYSTEM RESTORE REPLICA `shop`.`orders`');
    expect(sent).toEqual(lost);
    await expectOrdersAsBefore(report);
  });

  it('nothing is changed but by what the approved plan lists, safety clones at the end among it', async () => {
    const at = await loseKeeperBehindProxy({ approval: 'required', keepAside: false });
    await scene.rig.startWorker();
    const shown = await scene.rig.cli('plan', '--cluster', CLUSTER, '--tables', 'shop.orders', '--json');
    const plan = JSON.parse(shown.stdout) as Plan;
    const { stdout } = await scene.rig.cli(...SPEC, '--approve', plan.hash);
    await expectOrdersAsBefore(await reportOf((JSON.parse(stdout) as { id: string }).id));
    const listed = [
      ...plan.nodes.flatMap(({ fence, databases, closing = [] }) => [...fence, ...databases, ...closing]),
      ...plan.items.flatMap((item) => item.statements.map(({ sql }) => sql)),
    ].map((sql) => new RegExp(`^${sql.replace(/[.*+?^$()[\]\\|]/g, '\\$&').replace(/\{[^}]*\}/g, '.+')}$`, 's'));
    // What it writes down for itself, and background work that it stops once more.
    const isOwn = (sql: string) => /^(CREATE|INSERT)[^(]* `?_recovery`?(\.`?ledger`?)?( |$)|^SYSTEM STOP /.test(sql);
    const changes = at.statements
      .map((sql) => sql.replace(/^\/\*.*?\*\/ /, ''))
      .filter((sql) => !/^(SELECT|EXPLAIN|CHECK)/.test(sql) && !isOwn(sql));
    expect(changes.filter((sql) => !listed.some((pattern) => pattern.test(sql)))).toEqual([]);
    expect(changes.filter((sql) => sql.startsWith('DROP'))).toEqual([
      'DROP TABLE IF EXISTS `_recovery`.`clone shop.orders` SYNC',
    ]);
  });

  it('credentials are revoked in the middle: a person is asked, and it goes on once they are back', async () => {
    const at = await loseKeeperBehindProxy({ approval: 'required' });
    const restores = (sql: string) => ofOurs(sql) && sql.includes('SYSTEM RESTORE REPLICA');
    at.refuseFrom(restores);
    await scene.rig.startWorker();
    const plan = await scene.rig.cli('plan', '--cluster', CLUSTER, '--tables', 'shop.orders', '--json');
    const { hash } = JSON.parse(plan.stdout) as Plan;
    const { stdout } = await scene.rig.cli(...SPEC, '--approve', hash);
    const { id } = JSON.parse(stdout) as { id: string };
    const status = async () => JSON.parse((await scene.rig.cli('status', id, '--json')).stdout) as Progress;
    await waitFor(async () => (await status()).phase === 'waiting-for-resolve', {
      what: 'the question',
      deadlineMs: 60_000,
    });
    expect((await status()).units.map(({ problem }) => problem?.code)).toEqual(['CREDENTIALS_REFUSED']);
    at.refuseFrom(null);
    expect((await scene.rig.cli('resolve', id, 'retry')).exitCode).toBe(0);
    await expectOrdersAsBefore(await reportOf(id));
    expect(at.statements.filter(restores)).toHaveLength(1);
  });

  it('the fence is lifted by hand in the middle: no further statement of the plan is sent', async () => {
    const at = await loseKeeperBehindProxy();
    const isCloned = (sql: string) => ofOurs(sql) && sql.includes('RENAME TABLE `_recovery`.`making');
    const cloned = at.hold(isCloned);
    await scene.rig.startWorker();
    const { stdout } = await scene.rig.cli(...SPEC, '--yes');
    await cloned.reached;
    expect((await scene.rig.cli('unfence', '--cluster', CLUSTER)).exitCode).toBe(0);
    cloned.release();
    const report = await reportOf((JSON.parse(stdout) as { id: string }).id);
    expect(report).toMatchObject({ outcome: 'needs-operator', problem: { code: 'FENCE_BYPASSED' } });
    expect(at.statements.filter(ofOurs).findIndex(isCloned)).toBe(at.statements.filter(ofOurs).length - 1);
  });

  it('a server put parts aside that ZooKeeper does not list: the rows are not called whole', async () => {
    await scene.setUp({ shards: 1, worker: false });
    for (const sql of [
      'DETACH TABLE shop.orders SYNC',
      'ATTACH TABLE shop.orders AS NOT REPLICATED',
      'SYSTEM STOP MERGES shop.orders',
      'INSERT INTO shop.orders SELECT * FROM shop.orders LIMIT 7',
      'DETACH TABLE shop.orders SYNC',
      'ATTACH TABLE shop.orders AS REPLICATED',
    ])
      await scene.ask(0, sql);
    const { exitCode, stdout, stderr } = await scene.rig.cli('plan', '--cluster', CLUSTER, '--json');
    expect(exitCode, stderr).toBe(0);
    expect((JSON.parse(stdout) as Plan).warnings).toEqual([
      expect.stringMatching(/^shop\.orders @ node1: 1 parts in detached\/ that the server put aside/),
    ]);
  });
});
