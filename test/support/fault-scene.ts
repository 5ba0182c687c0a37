/** A shard of servers that replicate, what it lost, and a recovery that is held at places where something dies. */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Progress } from '../../src/domain/messages.js';
import type { Report } from '../../src/domain/report.js';
import type { BackupServer } from './clickhouse-backup.js';
import { startHeldWorker, type Hold } from './held-worker.js';
import { loseDisk, startBackupServers } from './live-backups.js';
import { createLiveDataset } from './live-dataset.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from './oracle.js';
import { scratchDir, waitFor } from './processes.js';
import { CLUSTER, startServersRig, type RigOptions, type ServersRig } from './recovery-rig.js';
import { createWriterTables, judge, startWriter, type Writer } from './writer.js';

/** Where the recovery is held while something dies, by stage. All who come there wait. */
export const AT = {
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
export type Place = (typeof AT)[keyof typeof AT];
export type Moment = readonly [place: Place, stage: Report['stages'][number]['name']];

/** Of tables that stand, and of a lost shard: a place in each stage. */
export const STANDING: readonly Moment[] = [
  [AT.stop, 'stop'],
  [AT.verifyParts, 'verify-parts'],
  [AT.fillNext, 'restore-replica'],
  [AT.canary, 'validate'],
];
export const LOST: readonly Moment[] = [
  [AT.stop, 'stop'],
  [AT.restored, 'restore-data'],
  [AT.verifyStaging, 'verify-parts'],
  [AT.fillNext, 'restore-replica'],
  [AT.canary, 'validate'],
];

/** Shard 01 with two replicas of ClickHouse 18.16.1. */
export class FaultScene {
  rig!: ServersRig;
  before!: Snapshot;
  backups: BackupServer[] = [];
  writer: Writer | null = null;
  private deadKeeper: number | null = null;
  readonly scratch = scratchDir('live-faults');

  async close(): Promise<void> {
    await this.writer?.stop();
    await Promise.all(this.backups.map((server) => server.stop()));
    await (this.rig as ServersRig | undefined)?.stop();
    this.scratch.remove();
  }

  snapshot = () => takeSnapshot({ nodes: this.rig.cluster.nodes, keeperHosts: this.rig.ensemble.hosts, live: true });

  async setUp({ keepers, policies }: Pick<RigOptions, 'keepers' | 'policies'> = {}): Promise<void> {
    this.rig = await startServersRig({ dir: this.scratch.path, shards: 1, keepers, backups: {}, policies });
    await createLiveDataset(this.rig.cluster.nodes, { clusterName: CLUSTER, size: 'small' });
  }

  /** Under a writer, on servers that go on running. */
  async loseKeeper(): Promise<void> {
    const tables = await createWriterTables(this.rig.cluster.nodes);
    this.before = await this.snapshot();
    // One replica until the loss: rows that only one replica has on both sides would be a divergence.
    this.writer = startWriter({ nodes: [this.rig.cluster.nodes[0]!], tables });
    await waitFor(() => Number(this.writer?.log.acknowledged.length) > 20, { what: 'rows', deadlineMs: 60_000 });
    await this.rig.ensemble.stop();
    this.rig.ensemble.wipe();
    await this.rig.ensemble.start();
  }

  async start(...args: string[]): Promise<string> {
    const { stdout, stderr } = await this.rig.cli('start', '--cluster', CLUSTER, '--yes', '--json', ...args);
    expect(stdout, stderr).toMatch(/^\{/);
    return (JSON.parse(stdout) as { id: string }).id;
  }

  async end(id: string): Promise<{ exitCode: number; report: Report }> {
    const { exitCode, stdout, stderr } = await this.rig.cli('report', id, '--json');
    expect(stdout, stderr).toMatch(/^\{/);
    return { exitCode, report: JSON.parse(stdout) as Report };
  }

  problems = ({ problem, tables }: Report) =>
    [problem, ...tables.map((table) => table.problem)].flatMap((p) => p ?? []);

  codes = (report: Report) => [...new Set(this.problems(report).map(({ code }) => code))];

  /** The stage that people see: the last that has begun. */
  async stageOf(id: string): Promise<string | undefined> {
    const { stdout } = await this.rig.cli('status', id, '--json');
    return (JSON.parse(stdout) as Progress).stages.filter(({ startedAt }) => startedAt !== null).at(-1)?.name;
  }

  async unitOf(id: string, label: string) {
    const { stdout } = await this.rig.cli('status', id, '--json');
    return (JSON.parse(stdout) as Progress).units.find((unit) => unit.label === label);
  }

  async expectRecovered(id: string): Promise<void> {
    const { report } = await this.end(id);
    expect(this.problems(report)).toEqual([]);
    expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
    await this.expectWhole();
  }

  async expectWhole(): Promise<void> {
    if (this.writer) {
      const acknowledged = this.writer.log.acknowledged.length;
      await waitFor(() => this.writer!.log.acknowledged.length > acknowledged + 20, {
        what: 'inserts to flow again',
        deadlineMs: 60_000,
      });
      const log = await this.writer.stop();
      expect(log.refused.length).toBeGreaterThan(0);
      const verdict = () => judge({ nodes: this.rig.cluster.nodes, log });
      await waitFor(async () => (await verdict()).length === 0, {
        what: 'all acknowledged rows on both replicas',
        deadlineMs: 60_000,
      }).catch(async () => expect(await verdict()).toEqual([]));
    }
    const differences = async () =>
      compareSnapshots(this.before, await this.snapshot()).filter((line) => !line.includes('`live`'));
    // Merges that waited for the fence to be lifted are in the queue until they are done.
    await waitFor(async () => (await differences()).length === 0, {
      what: 'the cluster as it was',
      deadlineMs: 60_000,
    }).catch(async () => expect(await differences()).toEqual([]));
  }

  async ask(node: number, query: string): Promise<string> {
    const answer = await fetch(this.rig.cluster.nodes[node]!.url, { method: 'POST', body: query });
    const text = (await answer.text()).trim();
    if (!answer.ok) throw new Error(text.slice(0, 300));
    return text;
  }

  /** Whether the server would look for the metadata of its tables when it starts. Also what is detached is attached then. */
  hasReplicatedTables(node: number): boolean {
    return ['shop', 'live'].some((database) => {
      const folder = join(this.rig.cluster.nodes[node]!.dir, 'data/metadata', database);
      return readdirSync(folder).some((file) =>
        readFileSync(join(folder, file), 'utf8').includes('ENGINE = Replicated'),
      );
    });
  }

  /**
   * What an operator does whose server died: 18.16.1 starts with ZooKeeper once none of its tables is one whose metadata
   * are lost. Until then it starts without.
   */
  async killAndRestart(node: number): Promise<void> {
    await this.rig.cluster.killNode(node);
    await this.rig.cluster.startNode(node, { withoutKeeper: this.hasReplicatedTables(node) });
  }

  /** As soon as the recovery has taken all of its tables out, a server that was started without can have its ZooKeeper back. */
  async giveKeeperBack(node: number): Promise<void> {
    if (readFileSync(join(this.rig.cluster.nodes[node]!.dir, 'config.xml'), 'utf8').includes('<zookeeper>')) return;
    await waitFor(() => !this.hasReplicatedTables(node), { what: 'all tables taken out', deadlineMs: 60_000 });
    await this.rig.cluster.stopNode(node);
    await this.rig.cluster.startNode(node);
  }

  /** In the place of a server that is down: hangs up on everybody, until somebody has sent or asked something of that table. */
  async loseRequest(node: number, table: string, send: () => void): Promise<void> {
    let lost = false;
    const nobody = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (data) => {
        lost ||= data.includes(table);
        socket.destroy();
      });
    });
    nobody.listen(Number(new URL(this.rig.cluster.nodes[node]!.url).port), '127.0.0.1');
    await once(nobody, 'listening');
    send();
    await waitFor(() => lost, { what: `a request about ${table}`, deadlineMs: 60_000 });
    nobody.close();
    await once(nobody, 'close');
  }

  async reached(hold: Hold, id: string, place: Place): Promise<void> {
    await hold.reached(place).catch(async (cause: unknown) => {
      throw new Error(`it does not come there: ${(await this.rig.cli('status', id)).stdout}`, { cause });
    });
  }

  async at(hold: Hold, id: string, place: Place, fault: () => Promise<unknown>): Promise<void> {
    await this.reached(hold, id, place);
    await fault();
    hold.release(place);
  }

  /** Holds a recovery in each stage, and lets the fault happen there. It goes on after the fault, or as the fault says. */
  async strike(
    moments: readonly Moment[],
    fault: (place: Place, goOn: () => void) => Promise<unknown>,
    ...args: string[]
  ): Promise<string> {
    const hold = await startHeldWorker(
      this.rig,
      moments.map(([place]) => place),
    );
    const id = await this.start(...args);
    for (const [place, stage] of moments) {
      await this.reached(hold, id, place);
      expect(await this.stageOf(id)).toBe(stage);
      const goOn = () => hold.release(place);
      await fault(place, goOn);
      goOn();
    }
    return id;
  }

  async killTemporal(): Promise<void> {
    await this.rig.temporal.kill();
    await this.rig.temporal.start();
  }

  /** The one that was killed before comes back first: a majority is left. */
  async killLeader(): Promise<void> {
    if (this.deadKeeper !== null) await this.rig.ensemble.startServer(this.deadKeeper);
    this.deadKeeper = await this.rig.ensemble.leader();
    await this.rig.ensemble.killServer(this.deadKeeper);
  }

  async keeperAway(goOn: () => void): Promise<void> {
    await this.rig.ensemble.stop();
    goOn();
    await delay(20_000);
    await this.rig.ensemble.start();
  }

  async loseShard(): Promise<void> {
    this.before = await this.snapshot();
    this.backups = await startBackupServers(this.rig);
    await this.backups[0]!.create('b1', 'shop.*');
    for (const node of [0, 1]) await loseDisk(this.rig, node);
  }
}
