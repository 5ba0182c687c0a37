import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AT, FaultScene, LOST, STANDING, type Place } from '../support/fault-scene.js';
import { startBackupServers, loseDisk } from '../support/live-backups.js';
import { waitFor } from '../support/processes.js';

/** Of Keeper metadata, with a writer at work, and of a whole shard. */
describe('on servers that replicate, something dies in the middle [servers]', { timeout: 300_000 }, () => {
  let scene: FaultScene;
  beforeEach(() => {
    scene = new FaultScene();
  });
  afterEach(() => scene.close());

  it("ZooKeeper's leader is killed in every stage", async () => {
    await scene.setUp({ keepers: 3 });
    await scene.loseKeeper();
    await scene.expectRecovered(await scene.strike(STANDING, () => scene.killLeader()));
  });

  it('Temporal is killed in every stage, and ZooKeeper is away for 20 s while replicas are made', async () => {
    await scene.setUp();
    await scene.loseKeeper();
    const fault = async (place: Place, goOn: () => void) => {
      if (place === AT.fillNext) await scene.keeperAway(goOn);
      await scene.killTemporal();
    };
    const moments = STANDING.toSpliced(-1, 0, [AT.replicaDone, 'restore-replica']);
    await scene.expectRecovered(await scene.strike(moments, fault));
  });

  it('ZooKeeper is away while replication is proved', async () => {
    await scene.setUp();
    await scene.loseKeeper();
    const away = async (_place: Place, goOn: () => void) => {
      await scene.rig.ensemble.stop();
      goOn();
      await waitFor(async () => (await scene.ask(0, 'SELECT min(is_readonly) FROM system.replicas')) === '1', {
        what: 'tables to be read-only',
        deadlineMs: 60_000,
      });
    };
    const id = await scene.strike([[AT.canary, 'validate']], away);
    await scene.rig.ensemble.start();
    await scene.expectRecovered(id);
  });

  it.each([
    ['that goes first', 0],
    ['that joins it', 1],
  ])('a whole shard is lost, and the server of the replica %s is killed in every stage', async (_name, node) => {
    await scene.setUp();
    await scene.loseShard();
    const restart = async () => {
      await scene.rig.cluster.killNode(node);
      await scene.rig.cluster.startNode(node);
    };
    await scene.expectRecovered(await scene.strike(LOST, restart, '--backup', 'cb/b1'));
  });

  it("a whole shard is lost, ZooKeeper's leader is killed in every stage, and Temporal with it", async () => {
    await scene.setUp({ keepers: 3 });
    await scene.loseShard();
    const fault = async (place: Place, goOn: () => void) => {
      if (place === AT.fillNext) await scene.keeperAway(goOn);
      await Promise.all([scene.killLeader(), scene.killTemporal()]);
    };
    await scene.expectRecovered(await scene.strike(LOST, fault, '--backup', 'cb/b1'));
  });

  it('clickhouse-backup is killed in the middle of a restore, and comes back', async () => {
    const parts = 400;
    await scene.setUp();
    for (const node of [0, 1])
      await scene.ask(
        node,
        "CREATE TABLE shop.many (p UInt32, v UInt64) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/shop/many', '{replica}') PARTITION BY p ORDER BY v",
      );
    await scene.ask(0, `INSERT INTO shop.many SELECT number % ${parts}, number FROM numbers(${parts * 10})`);
    await scene.ask(1, 'SYSTEM SYNC REPLICA shop.many');
    scene.before = await scene.snapshot();
    scene.backups = await startBackupServers(scene.rig);
    await scene.backups[0]!.create('b1', 'shop.*');
    for (const node of [0, 1]) await loseDisk(scene.rig, node);
    await scene.rig.startWorker();
    const id = await scene.start('--backup', 'cb/b1');
    const attached = () =>
      scene.ask(
        0,
        "SELECT count() FROM system.parts WHERE active AND database = '_recovery' AND table = 'staging shop.many'",
      );
    await waitFor(async () => Number(await attached()) > 10, {
      what: 'a restore under way',
      deadlineMs: 60_000,
      everyMs: 5,
    });
    await scene.backups[0]!.kill();
    expect(Number(await attached())).toBeLessThan(parts);
    expect(await scene.unitOf(id, 'shop.many @ 01/r1')).toMatchObject({ state: 'restore-data' });
    await scene.backups[0]!.start();
    await scene.expectRecovered(id);
  });
});
