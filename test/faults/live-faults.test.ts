import { cpSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AT, FaultScene } from '../support/fault-scene.js';
import { startHeldWorker } from '../support/held-worker.js';
import { waitFor } from '../support/processes.js';

/** Its Keeper metadata lost, a writer at work. */
describe('on servers that replicate, a server dies in the middle [servers]', { timeout: 300_000 }, () => {
  let scene: FaultScene;
  beforeEach(() => {
    scene = new FaultScene();
  });
  afterEach(() => scene.close());

  it.each([
    ['that goes first', 0],
    ['that joins it', 1],
  ])('the server of the replica %s is killed in every stage, and started by its operator', async (_name, node) => {
    await scene.setUp();
    await scene.loseKeeper();
    const hold = await startHeldWorker(scene.rig, [
      AT.stop,
      AT.verifyParts,
      AT.createNext,
      AT.fillNext,
      AT.promote,
      AT.canary,
    ]);
    const id = await scene.start();
    await scene.at(hold, id, AT.stop, () => scene.killAndRestart(node));
    await scene.at(hold, id, AT.verifyParts, () => scene.killAndRestart(node));
    await scene.at(hold, id, AT.createNext, async () => {
      expect(await scene.stageOf(id)).toBe('restore-replica');
      if (node === 0)
        await waitFor(() => !scene.hasReplicatedTables(node), { what: 'all tables taken out', deadlineMs: 60_000 });
      await scene.killAndRestart(node);
    });
    await scene.at(hold, id, AT.fillNext, () => scene.killAndRestart(node));
    await scene.giveKeeperBack(node);
    await scene.at(hold, id, AT.promote, () => scene.killAndRestart(node));
    await scene.reached(hold, id, AT.canary);
    expect(await scene.stageOf(id)).toBe('validate');
    await scene.rig.cluster.killNode(node);
    await scene.rig.cluster.startNode(node);
    hold.release(AT.canary);
    await scene.expectRecovered(id);
  });

  it('a torn clone is made anew, not filled over; a server that is killed has parts back that were undone: neither doubles a row', async () => {
    await scene.setUp();
    await scene.loseKeeper();
    const hold = await startHeldWorker(scene.rig, [AT.verifyParts, AT.detach]);
    const id = await scene.start();
    await scene.reached(hold, id, AT.verifyParts);
    await waitFor(async () => Number(await scene.ask(0, 'SELECT count() FROM _recovery.`making live.events1`')) > 0, {
      what: 'the clone',
      deadlineMs: 60_000,
    });
    await scene.ask(0, 'INSERT INTO _recovery.`making live.events1` VALUES (0)');
    // Whoever waits has compared it already: what he sends is lost, and the next one looks again.
    await scene.rig.cluster.killNode(0);
    await scene.loseRequest(0, 'events1', () => hold.release(AT.verifyParts));
    await scene.rig.cluster.startNode(0, { withoutKeeper: true });
    // What it replaces, REPLACE PARTITION leaves on the disk, and so does an insert that ZooKeeper was lost under.
    await scene.at(hold, id, AT.detach, async () => {
      await scene.rig.cluster.killNode(0);
      const folder = join(scene.rig.cluster.nodes[0]!.dir, 'data/data/live/events1');
      const part = readdirSync(folder).find((name) => /^all_\d+_\d+_0$/.test(name)) ?? '';
      cpSync(join(folder, part), join(folder, 'all_900000_900000_0'), { recursive: true });
      await scene.rig.cluster.startNode(0, { withoutKeeper: true });
    });
    await scene.giveKeeperBack(0);
    await scene.expectRecovered(id);
  });

  it('the server of the replica that goes first is killed in the middle of CREATE: registered, without a table; it is registered anew, and not as lost', async () => {
    await scene.setUp({ policies: { statementDeadlineSeconds: 20 } });
    await scene.loseKeeper();
    const hold = await startHeldWorker(scene.rig, [AT.createNext]);
    const id = await scene.start();
    await scene.at(hold, id, AT.createNext, async () => {
      await waitFor(() => !scene.hasReplicatedTables(0), { what: 'all tables taken out', deadlineMs: 60_000 });
      // The registration comes first, the table's file last: what a kill leaves that falls between the two.
      await scene.ask(
        0,
        "CREATE TABLE _recovery.`next live.events1` (id UInt64) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/live.events1', '{replica}') ORDER BY id",
      );
      await scene.rig.cluster.killNode(0);
      for (const kind of ['metadata', 'data']) {
        const folder = join(scene.rig.cluster.nodes[0]!.dir, 'data', kind, '_recovery');
        const made = readdirSync(folder).filter((name) => name.startsWith('next'));
        expect(made).toHaveLength(1);
        for (const name of made) rmSync(join(folder, name), { recursive: true });
      }
      await scene.rig.cluster.startNode(0);
    });
    await scene.expectRecovered(id);
  });

  it('a server stays away: it ends with an error that says so, nothing is lost, and a retry succeeds', async () => {
    await scene.setUp({ policies: { unavailableDeadlineSeconds: 10 } });
    await scene.loseKeeper();
    const hold = await startHeldWorker(scene.rig, [AT.verifyParts]);
    const first = await scene.start();
    await scene.at(hold, first, AT.verifyParts, () => scene.rig.cluster.killNode(0));
    const dead = await scene.end(first);
    expect(dead).toMatchObject({ exitCode: 1, report: { outcome: 'failed', fence: 'held' } });
    expect(scene.codes(dead.report)).toEqual(['NODE_UNAVAILABLE']);
    expect(dead.report.problem).toMatchObject({ message: expect.stringContaining('s01r1') as string });

    // It starts without its ZooKeeper only, and then its tables are taken out, but no replica can be made on it.
    await scene.rig.cluster.startNode(0, { withoutKeeper: true });
    const waiting = await scene.end(await scene.start('--adopt'));
    expect(waiting).toMatchObject({ exitCode: 1, report: { outcome: 'failed', fence: 'held' } });
    expect(scene.codes(waiting.report)).toEqual(['SESSION_EXPIRED']);
    expect(waiting.report.problem).toMatchObject({
      message: expect.stringContaining('s01r1') as string,
      hint: expect.stringContaining('restart the ClickHouse server') as string,
    });
    expect(await scene.ask(0, 'SELECT count() FROM _recovery.`held shop.orders`')).toBe('2000');
    expect(await scene.ask(1, 'SELECT count() FROM shop.orders')).toBe('2000');

    await scene.giveKeeperBack(0);
    await scene.expectRecovered(await scene.start('--adopt'));
  });
});
