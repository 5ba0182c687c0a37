import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Report } from '../../src/domain/report.js';
import { createLiveDataset } from '../support/live-dataset.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { scratchDir, waitFor } from '../support/processes.js';
import { CLUSTER, startServersRig, type ServersRig } from '../support/recovery-rig.js';
import { repoRoot } from '../support/tools.js';
import { createWriterTables, judge, startWriter } from '../support/writer.js';
import { runZooKeeper } from '../support/zookeeper-write.js';

/**
 * On servers that really replicate, 18.16.1, which have no SYSTEM RESTORE REPLICA: 2 shards, 2 replicas each. Node 0 and
 * 1 are shard 01's, 2 and 3 shard 02's. The oracle judges rows, parts, Keeper, activity and that replicas are alike.
 */
describe('on servers that replicate (conversion)', { timeout: 300_000 }, () => {
  let rig: ServersRig;
  let scratch: ReturnType<typeof scratchDir>;
  let before: Snapshot;

  beforeEach(() => {
    scratch = scratchDir('live');
  });
  afterEach(async () => {
    await rig.stop();
    scratch.remove();
  });

  const judged = () => ({ nodes: rig.cluster.nodes, keeperHosts: rig.ensemble.hosts, live: true });
  const differences = async () => compareSnapshots(before, await takeSnapshot(judged()));

  async function setUp({
    size = 'small',
    shards = 2,
    keepers = 1,
    policies = {},
    worker = true,
  }: {
    size?: 'small' | 'full';
    shards?: number;
    keepers?: 1 | 3;
    policies?: Record<string, unknown>;
    worker?: boolean;
  } = {}) {
    rig = await startServersRig({ dir: scratch.path, shards, keepers, policies });
    await createLiveDataset(rig.cluster.nodes, { clusterName: CLUSTER, size });
    before = await takeSnapshot(judged());
    expect(compareSnapshots(before, before)).toEqual([]);
    if (worker) await rig.startWorker();
  }

  async function recover(...args: string[]): Promise<{ exitCode: number; report: Report }> {
    const { exitCode, stdout, stderr } = await rig.cli(
      'start',
      '--cluster',
      CLUSTER,
      '--yes',
      '--wait',
      '--json',
      ...args,
    );
    expect(stdout, stderr).toMatch(/^\{/);
    return { exitCode, report: JSON.parse(stdout) as Report };
  }

  async function ask(node: number, query: string): Promise<string> {
    const { url } = rig.cluster.nodes[node] as { url: string };
    const answer = await fetch(url, { method: 'POST', body: query });
    const text = (await answer.text()).trim();
    if (!answer.ok) throw new Error(text.slice(0, 300));
    return text;
  }

  /** Under running servers: 18.16.1 does not start without its tables' metadata. */
  async function loseKeeper(): Promise<void> {
    await rig.ensemble.stop();
    rig.ensemble.wipe();
    await rig.ensemble.start();
  }

  async function loseDisk(node: number): Promise<void> {
    await rig.cluster.killNode(node);
    rig.cluster.wipeNodeData(node);
    await rig.cluster.startNode(node);
  }

  const failed = (report: Report) =>
    report.tables
      .filter((table) => table.problem)
      .map((table) => `${table.table}@${table.shard}/${table.replica}: ${table.problem?.code}`);

  it('healthy: nothing is done, and only reads are sent', async () => {
    await setUp();
    const since = await ask(0, 'SELECT toUInt32(now())');
    const { exitCode, report } = await recover();
    expect({ exitCode, outcome: report.outcome, fence: report.fence }).toEqual({
      exitCode: 0,
      outcome: 'nothing-to-do',
      fence: 'never-raised',
    });
    for (const node of [0, 1, 2, 3]) {
      await ask(node, 'SYSTEM FLUSH LOGS');
      const others = `SELECT query FROM system.query_log WHERE toUInt32(event_time) >= ${since} AND NOT match(query, '^(SELECT|EXPLAIN|SYSTEM FLUSH LOGS)')`;
      expect(await ask(node, others)).toBe('');
    }
    expect(await differences()).toEqual([]);
  });

  it('Keeper metadata lost, tables of all kinds: converted, validated, promoted', async () => {
    await setUp({ size: 'full', policies: { keepAside: false } });
    await loseKeeper();
    const { exitCode, report } = await recover();
    expect(failed(report)).toEqual([]);
    expect({ exitCode, outcome: report.outcome, fence: report.fence }).toEqual({
      exitCode: 0,
      outcome: 'succeeded',
      fence: 'lifted',
    });
    expect(await differences()).toEqual([]);
    for (const node of [0, 1, 2, 3])
      expect(await ask(node, "SELECT name FROM system.tables WHERE database = '_recovery' AND name != 'ledger'")).toBe(
        '',
      );
    expect((await recover()).report.outcome).toBe('nothing-to-do');
  });

  it.each([
    ['the second replica lags', 0, 1],
    ['the second replica is ahead', 1, 0],
  ])('Keeper metadata lost, %s: who has more goes first', async (_name, ahead, behind) => {
    await setUp({ shards: 1 });
    await ask(behind, 'SYSTEM STOP FETCHES shop.orders');
    await ask(
      ahead,
      "INSERT INTO shop.orders SELECT number + 90000, toDateTime('2026-05-05 00:00:00'), toDecimal64(1, 2) FROM numbers(50)",
    );
    await loseKeeper();
    const { report } = await recover();
    expect(failed(report)).toEqual([]);
    expect(report.outcome).toBe('succeeded');
    for (const node of [0, 1]) expect(await ask(node, 'SELECT count() FROM shop.orders WHERE id >= 90000')).toBe('50');
    expect((await differences()).filter((line) => !/`shop`\.`orders`: (rows|content|other parts)/.test(line))).toEqual(
      [],
    );
  });

  it('replicas diverged: a person decides, with the difference; the other tables go on', async () => {
    await setUp({ shards: 1 });
    for (const node of [0, 1]) await ask(node, 'SYSTEM STOP FETCHES shop.orders');
    for (const node of [0, 1])
      await ask(
        node,
        `INSERT INTO shop.orders SELECT number + ${90000 + node * 1000}, toDateTime('2026-05-05 00:00:00'), toDecimal64(1, 2) FROM numbers(50)`,
      );
    await loseKeeper();
    const { exitCode, report } = await recover();
    expect([exitCode, ...failed(report)]).toContain(3);
    const orders = report.tables.filter(({ table }) => table === 'orders');
    expect(orders.map(({ situation, problem }) => [situation, problem?.code])).toEqual(
      Array(2).fill(['diverged', 'REPLICAS_DIVERGED']),
    );
    expect(orders[0]?.problem?.objects?.length).toBeGreaterThanOrEqual(2);
    expect(report.tables.filter(({ table }) => table !== 'orders').map(({ outcome }) => outcome)).toEqual(
      Array(4).fill('recovered'),
    );
    for (const node of [0, 1]) expect(await ask(node, 'SELECT count() FROM shop.orders WHERE id >= 90000')).toBe('50');
  });

  it('Keeper metadata and the disk of one replica lost: it gets its tables from the other', async () => {
    await setUp({ shards: 1, size: 'full' });
    await loseDisk(1);
    await loseKeeper();
    const { report } = await recover();
    expect(failed(report)).toEqual([]);
    expect(report.outcome).toBe('succeeded');
    // Plain tables are their server's own: nobody has a copy of them.
    expect((await differences()).filter((line) => !/s01r2 `shop`\.`(local|notes)` is missing/.test(line))).toEqual([]);
    expect(report.warnings.join('\n')).toMatch(/shop\.local/);
  });

  it('replica lost, Keeper intact: its stale path goes, it fetches from a peer that is written to', async () => {
    await setUp({ shards: 1 });
    const tables = await createWriterTables(rig.cluster.nodes);
    const writer = startWriter({ nodes: [rig.cluster.nodes[0]!], tables });
    await loseDisk(1);
    const { report } = await recover();
    const log = await writer.stop();
    expect(failed(report)).toEqual([]);
    expect(report.outcome).toBe('succeeded');
    expect(log.refused).toEqual([]);
    await waitFor(async () => (await judge({ nodes: rig.cluster.nodes, log })).length === 0, {
      what: 'all acknowledged rows on both replicas',
      deadlineMs: 60_000,
    });
    expect((await differences()).filter((line) => !line.includes('`live`'))).toEqual([]);
  });

  it('a live replica on the path: refused, nothing changed', async () => {
    await setUp({ shards: 1 });
    await loseKeeper();
    const path = '/clickhouse/tables/01/shop/orders/replicas/r1';
    await runZooKeeper(rig.ensemble.hosts, [{ create: `${path}/is_active` }]);
    await waitFor(
      async () => (await ask(0, "SELECT min(is_readonly) FROM system.replicas WHERE table = 'orders'")) === '1',
      {
        what: 'the table to be read-only',
        deadlineMs: 60_000,
      },
    );
    const { exitCode, report } = await recover('--tables', 'shop.orders');
    expect([exitCode, ...failed(report)]).toContain(3);
    expect(report.tables.map(({ problem }) => problem?.code)).toContain('REPLICA_ACTIVE');
    expect(await ask(0, 'SELECT count() FROM shop.orders')).toBe('2000');
  });

  it('the quorum of Keeper is lost and comes back: waits, and nothing is done', async () => {
    await setUp({ shards: 1, keepers: 3 });
    await rig.ensemble.stop();
    const run = recover();
    await waitFor(async () => (await ask(0, 'SELECT min(is_readonly) FROM system.replicas')) === '1', {
      what: 'tables to be read-only',
      deadlineMs: 60_000,
    });
    await rig.ensemble.start();
    const { report } = await run;
    expect([report.outcome, report.problem?.message, ...failed(report)]).toEqual(['nothing-to-do', undefined]);
    await waitFor(async () => (await differences()).length === 0, {
      what: 'the cluster as it was',
      deadlineMs: 60_000,
    });
  });

  it('aborted while tables are out of their places: the next recovery adopts them', async () => {
    await setUp({ shards: 1, worker: false });
    await loseKeeper();
    const markers = join(scratch.path, 'markers');
    mkdirSync(markers);
    const crashing = await rig.startWorker({
      script: join(repoRoot, 'test/support/crash-worker.ts'),
      workerEnv: { CRASH_DIR: markers, CRASH_POINTS: JSON.stringify(['sql/RENAME TABLE `shop`.`/after']) },
    });
    const started = await rig.cli('start', '--cluster', CLUSTER, '--yes', '--json');
    const { id } = JSON.parse(started.stdout) as { id: string };
    await crashing.exited;
    await rig.cli('abort', id);
    await rig.startWorker();
    const aborted = JSON.parse((await rig.cli('report', id, '--json')).stdout) as Report;
    expect(aborted.outcome).toBe('aborted');
    expect(await ask(0, "SELECT count() FROM system.tables WHERE database = 'shop'")).not.toBe('3');
    expect((await recover()).report.problem?.code).toBe('RECOVERY_UNFINISHED');
    const { report } = await recover('--adopt');
    expect([report.problem?.message ?? '', ...failed(report)].join('\n')).toBe('');
    expect(report.outcome).toBe('succeeded');
    expect(await differences()).toEqual([]);
  });

  it('a writer that never stops: what was acknowledged is there once, on all replicas', async () => {
    await setUp({ shards: 1 });
    const tables = await createWriterTables(rig.cluster.nodes);
    // One replica until the loss: rows that only one replica has on both sides would be a divergence.
    const writer = startWriter({ nodes: [rig.cluster.nodes[0]!], tables });
    await waitFor(() => writer.log.acknowledged.length > 100, { what: 'rows', deadlineMs: 60_000 });
    await loseKeeper();
    const { report } = await recover();
    expect(failed(report)).toEqual([]);
    expect(report.outcome).toBe('succeeded');
    const acknowledged = writer.log.acknowledged.length;
    await waitFor(() => writer.log.acknowledged.length > acknowledged + 50, {
      what: 'inserts to flow again',
      deadlineMs: 60_000,
    });
    const log = await writer.stop();
    expect(log.refused.length).toBeGreaterThan(0);
    await waitFor(async () => (await judge({ nodes: rig.cluster.nodes, log })).length === 0, {
      what: 'all acknowledged rows on both replicas',
      deadlineMs: 60_000,
    }).catch(async () => expect(await judge({ nodes: rig.cluster.nodes, log })).toEqual([]));
    expect((await differences()).filter((line) => !line.includes('`live`'))).toEqual([]);
  });
});
