import { once } from 'node:events';
import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Progress } from '../../src/domain/messages.js';
import type { Report } from '../../src/domain/report.js';
import type { BackupServer } from '../support/clickhouse-backup.js';
import { startHeldWorker, type Hold } from '../support/held-worker.js';
import { loseDisk, startBackupServers } from '../support/live-backups.js';
import { createLiveDataset } from '../support/live-dataset.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { scratchDir, waitFor } from '../support/processes.js';
import { CLUSTER, startServersRig, type RigOptions, type ServersRig } from '../support/recovery-rig.js';
import { createWriterTables, judge, startWriter, type Writer } from '../support/writer.js';

/** Where the recovery is held while something dies, by stage. All who come there wait. */
const AT = {
  stop: 'sql/SYSTEM STOP MERGES/before',
  verifyParts: 'sql/RENAME TABLE `_recovery`.`making/before',
  detach: 'sql/DETACH TABLE `live`/before',
  createNext: 'sql/CREATE TABLE `_recovery`.`next/before',
  fillNext: 'sql/ALTER TABLE `_recovery`.`next/before',
  /** The first table has its replica, and Temporal has not heard of it. */
  replicaDone: 'activity/restoreTableReplica/ack',
  promote: 'sql/RENAME TABLE `_recovery`.`next/before',
  canary: 'sql/INSERT INTO `_recovery`.`canary/before',
  /** Of a lost shard: the first table's data are there, and Temporal has not heard of it. */
  restored: 'activity/restoreTableData/ack',
  verifyStaging: 'sql/RENAME TABLE `_recovery`.`staging/before',
} as const;
type Place = (typeof AT)[keyof typeof AT];
type Moment = readonly [place: Place, stage: Report['stages'][number]['name']];

/** Of tables that stand, and of a lost shard: a place in each stage. */
const STANDING: readonly Moment[] = [
  [AT.stop, 'stop'],
  [AT.verifyParts, 'verify-parts'],
  [AT.fillNext, 'restore-replica'],
  [AT.canary, 'validate'],
];
const LOST: readonly Moment[] = [
  [AT.stop, 'stop'],
  [AT.restored, 'restore-data'],
  [AT.verifyStaging, 'verify-parts'],
  [AT.fillNext, 'restore-replica'],
  [AT.canary, 'validate'],
];

/** Shard 01 with two replicas of ClickHouse 18.16.1, its Keeper metadata lost, a writer at work. */
describe('on servers that replicate, something dies in the middle [servers]', { timeout: 300_000 }, () => {
  let rig: ServersRig;
  let scratch: ReturnType<typeof scratchDir>;
  let before: Snapshot;
  let writer: Writer | null = null;
  let backups: BackupServer[] = [];

  beforeEach(() => {
    scratch = scratchDir('live-faults');
  });
  afterEach(async () => {
    await writer?.stop();
    writer = null;
    deadKeeper = null;
    await Promise.all(backups.splice(0).map((server) => server.stop()));
    await rig.stop();
    scratch.remove();
  });

  const snapshot = () => takeSnapshot({ nodes: rig.cluster.nodes, keeperHosts: rig.ensemble.hosts, live: true });

  async function setUp({ keepers, policies }: Pick<RigOptions, 'keepers' | 'policies'> = {}): Promise<void> {
    rig = await startServersRig({ dir: scratch.path, shards: 1, keepers, backups: {}, policies });
    await createLiveDataset(rig.cluster.nodes, { clusterName: CLUSTER, size: 'small' });
  }

  /** Under a writer, on servers that go on running. */
  async function loseKeeper(): Promise<void> {
    const tables = await createWriterTables(rig.cluster.nodes);
    before = await snapshot();
    // One replica until the loss: rows that only one replica has on both sides would be a divergence.
    writer = startWriter({ nodes: [rig.cluster.nodes[0]!], tables });
    await waitFor(() => Number(writer?.log.acknowledged.length) > 20, { what: 'rows', deadlineMs: 60_000 });
    await rig.ensemble.stop();
    rig.ensemble.wipe();
    await rig.ensemble.start();
  }

  async function start(...args: string[]): Promise<string> {
    const { stdout, stderr } = await rig.cli('start', '--cluster', CLUSTER, '--yes', '--json', ...args);
    expect(stdout, stderr).toMatch(/^\{/);
    return (JSON.parse(stdout) as { id: string }).id;
  }

  async function end(id: string): Promise<{ exitCode: number; report: Report }> {
    const { exitCode, stdout, stderr } = await rig.cli('report', id, '--json');
    expect(stdout, stderr).toMatch(/^\{/);
    return { exitCode, report: JSON.parse(stdout) as Report };
  }

  const problems = ({ problem, tables }: Report) =>
    [problem, ...tables.map((table) => table.problem)].flatMap((p) => p ?? []);

  const codes = (report: Report) => [...new Set(problems(report).map(({ code }) => code))];

  /** The stage that people see: the last that has begun. */
  async function stageOf(id: string): Promise<string | undefined> {
    const { stdout } = await rig.cli('status', id, '--json');
    return (JSON.parse(stdout) as Progress).stages.filter(({ startedAt }) => startedAt !== null).at(-1)?.name;
  }

  async function unitOf(id: string, label: string) {
    const { stdout } = await rig.cli('status', id, '--json');
    return (JSON.parse(stdout) as Progress).units.find((unit) => unit.label === label);
  }

  async function expectRecovered(id: string): Promise<void> {
    const { report } = await end(id);
    expect(problems(report)).toEqual([]);
    expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
    await expectWhole();
  }

  async function expectWhole(): Promise<void> {
    if (writer) {
      const acknowledged = writer.log.acknowledged.length;
      await waitFor(() => writer!.log.acknowledged.length > acknowledged + 20, {
        what: 'inserts to flow again',
        deadlineMs: 60_000,
      });
      const log = await writer.stop();
      expect(log.refused.length).toBeGreaterThan(0);
      const verdict = () => judge({ nodes: rig.cluster.nodes, log });
      await waitFor(async () => (await verdict()).length === 0, {
        what: 'all acknowledged rows on both replicas',
        deadlineMs: 60_000,
      }).catch(async () => expect(await verdict()).toEqual([]));
    }
    const differences = async () =>
      compareSnapshots(before, await snapshot()).filter((line) => !line.includes('`live`'));
    // Merges that waited for the fence to be lifted are in the queue until they are done.
    await waitFor(async () => (await differences()).length === 0, {
      what: 'the cluster as it was',
      deadlineMs: 60_000,
    }).catch(async () => expect(await differences()).toEqual([]));
  }

  async function ask(node: number, query: string): Promise<string> {
    const answer = await fetch(rig.cluster.nodes[node]!.url, { method: 'POST', body: query });
    const text = (await answer.text()).trim();
    if (!answer.ok) throw new Error(text.slice(0, 300));
    return text;
  }

  /** Whether the server would look for the metadata of its tables when it starts. Also what is detached is attached then. */
  function hasReplicatedTables(node: number): boolean {
    return ['shop', 'live'].some((database) => {
      const folder = join(rig.cluster.nodes[node]!.dir, 'data/metadata', database);
      return readdirSync(folder).some((file) =>
        readFileSync(join(folder, file), 'utf8').includes('ENGINE = Replicated'),
      );
    });
  }

  /**
   * What an operator does whose server died: 18.16.1 starts with ZooKeeper once none of its tables is one whose metadata
   * are lost. Until then it starts without.
   */
  async function killAndRestart(node: number): Promise<void> {
    await rig.cluster.killNode(node);
    await rig.cluster.startNode(node, { withoutKeeper: hasReplicatedTables(node) });
  }

  /** As soon as the recovery has taken all of its tables out, a server that was started without can have its ZooKeeper back. */
  async function giveKeeperBack(node: number): Promise<void> {
    if (readFileSync(join(rig.cluster.nodes[node]!.dir, 'config.xml'), 'utf8').includes('<zookeeper>')) return;
    await waitFor(() => !hasReplicatedTables(node), { what: 'all tables taken out', deadlineMs: 60_000 });
    await rig.cluster.stopNode(node);
    await rig.cluster.startNode(node);
  }

  /** In the place of a server that is down: hangs up on everybody, until somebody has sent or asked something of that table. */
  async function loseRequest(node: number, table: string, send: () => void): Promise<void> {
    let lost = false;
    const nobody = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (data) => {
        lost ||= data.includes(table);
        socket.destroy();
      });
    });
    nobody.listen(Number(new URL(rig.cluster.nodes[node]!.url).port), '127.0.0.1');
    await once(nobody, 'listening');
    send();
    await waitFor(() => lost, { what: `a request about ${table}`, deadlineMs: 60_000 });
    nobody.close();
    await once(nobody, 'close');
  }

  async function reached(hold: Hold, id: string, place: Place): Promise<void> {
    await hold.reached(place).catch(async (cause: unknown) => {
      throw new Error(`it does not come there: ${(await rig.cli('status', id)).stdout}`, { cause });
    });
  }

  async function at(hold: Hold, id: string, place: Place, fault: () => Promise<unknown>): Promise<void> {
    await reached(hold, id, place);
    await fault();
    hold.release(place);
  }

  /** Holds a recovery in each stage, and lets the fault happen there. It goes on after the fault, or as the fault says. */
  async function strike(
    moments: readonly Moment[],
    fault: (place: Place, goOn: () => void) => Promise<unknown>,
    ...args: string[]
  ): Promise<string> {
    const hold = await startHeldWorker(
      rig,
      moments.map(([place]) => place),
    );
    const id = await start(...args);
    for (const [place, stage] of moments) {
      await reached(hold, id, place);
      expect(await stageOf(id)).toBe(stage);
      const goOn = () => hold.release(place);
      await fault(place, goOn);
      goOn();
    }
    return id;
  }

  async function killTemporal(): Promise<void> {
    await rig.temporal.kill();
    await rig.temporal.start();
  }

  let deadKeeper: number | null = null;
  /** The one that was killed before comes back first: a majority is left. */
  async function killLeader(): Promise<void> {
    if (deadKeeper !== null) await rig.ensemble.startServer(deadKeeper);
    deadKeeper = await rig.ensemble.leader();
    await rig.ensemble.killServer(deadKeeper);
  }

  async function keeperAway(goOn: () => void): Promise<void> {
    await rig.ensemble.stop();
    goOn();
    await delay(20_000);
    await rig.ensemble.start();
  }

  async function loseShard(): Promise<void> {
    before = await snapshot();
    backups = await startBackupServers(rig);
    await backups[0]!.create('b1', 'shop.*');
    for (const node of [0, 1]) await loseDisk(rig, node);
  }

  it.each([
    ['that goes first', 0],
    ['that joins it', 1],
  ])('the server of the replica %s is killed in every stage, and started by its operator', async (_name, node) => {
    await setUp();
    await loseKeeper();
    const hold = await startHeldWorker(rig, [
      AT.stop,
      AT.verifyParts,
      AT.createNext,
      AT.fillNext,
      AT.promote,
      AT.canary,
    ]);
    const id = await start();
    await at(hold, id, AT.stop, () => killAndRestart(node));
    await at(hold, id, AT.verifyParts, () => killAndRestart(node));
    await at(hold, id, AT.createNext, async () => {
      expect(await stageOf(id)).toBe('restore-replica');
      if (node === 0)
        await waitFor(() => !hasReplicatedTables(node), { what: 'all tables taken out', deadlineMs: 60_000 });
      await killAndRestart(node);
    });
    await at(hold, id, AT.fillNext, () => killAndRestart(node));
    await giveKeeperBack(node);
    await at(hold, id, AT.promote, () => killAndRestart(node));
    await reached(hold, id, AT.canary);
    expect(await stageOf(id)).toBe('validate');
    await rig.cluster.killNode(node);
    await rig.cluster.startNode(node);
    hold.release(AT.canary);
    await expectRecovered(id);
  });

  it('a torn clone is made anew, not filled over; a server that is killed has parts back that were undone: neither doubles a row', async () => {
    await setUp();
    await loseKeeper();
    const hold = await startHeldWorker(rig, [AT.verifyParts, AT.detach]);
    const id = await start();
    await reached(hold, id, AT.verifyParts);
    await waitFor(async () => Number(await ask(0, 'SELECT count() FROM _recovery.`making live.events1`')) > 0, {
      what: 'the clone',
      deadlineMs: 60_000,
    });
    await ask(0, 'INSERT INTO _recovery.`making live.events1` VALUES (0)');
    // Whoever waits has compared it already: what he sends is lost, and the next one looks again.
    await rig.cluster.killNode(0);
    await loseRequest(0, 'events1', () => hold.release(AT.verifyParts));
    await rig.cluster.startNode(0, { withoutKeeper: true });
    // What it replaces, REPLACE PARTITION leaves on the disk, and so does an insert that ZooKeeper was lost under.
    await at(hold, id, AT.detach, async () => {
      await rig.cluster.killNode(0);
      const folder = join(rig.cluster.nodes[0]!.dir, 'data/data/live/events1');
      const part = readdirSync(folder).find((name) => /^all_\d+_\d+_0$/.test(name)) ?? '';
      cpSync(join(folder, part), join(folder, 'all_900000_900000_0'), { recursive: true });
      await rig.cluster.startNode(0, { withoutKeeper: true });
    });
    await giveKeeperBack(0);
    await expectRecovered(id);
  });

  it('the server of the replica that goes first is killed in the middle of CREATE: registered, without a table; it is registered anew, and not as lost', async () => {
    await setUp({ policies: { statementDeadlineSeconds: 20 } });
    await loseKeeper();
    const hold = await startHeldWorker(rig, [AT.createNext]);
    const id = await start();
    await at(hold, id, AT.createNext, async () => {
      await waitFor(() => !hasReplicatedTables(0), { what: 'all tables taken out', deadlineMs: 60_000 });
      // The registration comes first, the table's file last: what a kill leaves that falls between the two.
      await ask(
        0,
        "CREATE TABLE _recovery.`next live.events1` (id UInt64) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/live.events1', '{replica}') ORDER BY id",
      );
      await rig.cluster.killNode(0);
      for (const kind of ['metadata', 'data']) {
        const folder = join(rig.cluster.nodes[0]!.dir, 'data', kind, '_recovery');
        const made = readdirSync(folder).filter((name) => name.startsWith('next'));
        expect(made).toHaveLength(1);
        for (const name of made) rmSync(join(folder, name), { recursive: true });
      }
      await rig.cluster.startNode(0);
    });
    await expectRecovered(id);
  });

  it('a server stays away: it ends with an error that says so, nothing is lost, and a retry succeeds', async () => {
    await setUp({ policies: { unavailableDeadlineSeconds: 10 } });
    await loseKeeper();
    const hold = await startHeldWorker(rig, [AT.verifyParts]);
    const first = await start();
    await at(hold, first, AT.verifyParts, () => rig.cluster.killNode(0));
    const dead = await end(first);
    expect(dead).toMatchObject({ exitCode: 1, report: { outcome: 'failed', fence: 'held' } });
    expect(codes(dead.report)).toEqual(['NODE_UNAVAILABLE']);
    expect(dead.report.problem).toMatchObject({ message: expect.stringContaining('s01r1') as string });

    // It starts without its ZooKeeper only, and then its tables are taken out, but no replica can be made on it.
    await rig.cluster.startNode(0, { withoutKeeper: true });
    const waiting = await end(await start('--adopt'));
    expect(waiting).toMatchObject({ exitCode: 1, report: { outcome: 'failed', fence: 'held' } });
    expect(codes(waiting.report)).toEqual(['SESSION_EXPIRED']);
    expect(waiting.report.problem).toMatchObject({
      message: expect.stringContaining('s01r1') as string,
      hint: expect.stringContaining('restart the ClickHouse server') as string,
    });
    expect(await ask(0, 'SELECT count() FROM _recovery.`held shop.orders`')).toBe('2000');
    expect(await ask(1, 'SELECT count() FROM shop.orders')).toBe('2000');

    await giveKeeperBack(0);
    await expectRecovered(await start('--adopt'));
  });

  it("ZooKeeper's leader is killed in every stage", async () => {
    await setUp({ keepers: 3 });
    await loseKeeper();
    await expectRecovered(await strike(STANDING, killLeader));
  });

  it('Temporal is killed in every stage, and ZooKeeper is away for 20 s while replicas are made', async () => {
    await setUp();
    await loseKeeper();
    const fault = async (place: Place, goOn: () => void) => {
      if (place === AT.fillNext) await keeperAway(goOn);
      await killTemporal();
    };
    const moments = STANDING.toSpliced(-1, 0, [AT.replicaDone, 'restore-replica']);
    await expectRecovered(await strike(moments, fault));
  });

  it('ZooKeeper is away while replication is proved', async () => {
    await setUp();
    await loseKeeper();
    const away = async (_place: Place, goOn: () => void) => {
      await rig.ensemble.stop();
      goOn();
      await waitFor(async () => (await ask(0, 'SELECT min(is_readonly) FROM system.replicas')) === '1', {
        what: 'tables to be read-only',
        deadlineMs: 60_000,
      });
    };
    const id = await strike([[AT.canary, 'validate']], away);
    await rig.ensemble.start();
    await expectRecovered(id);
  });

  it.each([
    ['that goes first', 0],
    ['that joins it', 1],
  ])('a whole shard is lost, and the server of the replica %s is killed in every stage', async (_name, node) => {
    await setUp();
    await loseShard();
    const restart = async () => {
      await rig.cluster.killNode(node);
      await rig.cluster.startNode(node);
    };
    await expectRecovered(await strike(LOST, restart, '--backup', 'cb/b1'));
  });

  it("a whole shard is lost, ZooKeeper's leader is killed in every stage, and Temporal with it", async () => {
    await setUp({ keepers: 3 });
    await loseShard();
    const fault = async (place: Place, goOn: () => void) => {
      if (place === AT.fillNext) await keeperAway(goOn);
      await Promise.all([killLeader(), killTemporal()]);
    };
    await expectRecovered(await strike(LOST, fault, '--backup', 'cb/b1'));
  });

  it('clickhouse-backup is killed in the middle of a restore, and comes back', async () => {
    const parts = 400;
    await setUp();
    for (const node of [0, 1])
      await ask(
        node,
        "CREATE TABLE shop.many (p UInt32, v UInt64) ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/shop/many', '{replica}') PARTITION BY p ORDER BY v",
      );
    await ask(0, `INSERT INTO shop.many SELECT number % ${parts}, number FROM numbers(${parts * 10})`);
    await ask(1, 'SYSTEM SYNC REPLICA shop.many');
    before = await snapshot();
    backups = await startBackupServers(rig);
    await backups[0]!.create('b1', 'shop.*');
    for (const node of [0, 1]) await loseDisk(rig, node);
    await rig.startWorker();
    const id = await start('--backup', 'cb/b1');
    const attached = () =>
      ask(
        0,
        "SELECT count() FROM system.parts WHERE active AND database = '_recovery' AND table = 'staging shop.many'",
      );
    await waitFor(async () => Number(await attached()) > 10, {
      what: 'a restore under way',
      deadlineMs: 60_000,
      everyMs: 5,
    });
    await backups[0]!.kill();
    expect(Number(await attached())).toBeLessThan(parts);
    expect(await unitOf(id, 'shop.many @ 01/r1')).toMatchObject({ state: 'restore-data' });
    await backups[0]!.start();
    await expectRecovered(id);
  });
});
