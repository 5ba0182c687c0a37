import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { Client, Connection } from '@temporalio/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Report } from '../../src/domain/report.js';
import { createDataset } from '../support/dataset.js';
import { scratchDir } from '../support/processes.js';
import { CLUSTER, REPOSITORY, startRig, type Rig } from '../support/recovery-rig.js';
import { repoRoot } from '../support/tools.js';
import { runZooKeeper } from '../support/zookeeper-write.js';

let scratch: ReturnType<typeof scratchDir>;
let rig: Rig;

async function ask<Row>(query: string): Promise<Row[]> {
  const client = createClient({ url: rig.nodes[0]?.url, log: { level: ClickHouseLogLevel.OFF } });
  try {
    return await (await client.query({ query, format: 'JSONEachRow' })).json<Row>();
  } finally {
    await client.close();
  }
}

async function sql(statement: string): Promise<void> {
  const client = createClient({ url: rig.nodes[0]?.url, log: { level: ClickHouseLogLevel.OFF } });
  try {
    await client.command({ query: statement });
  } finally {
    await client.close();
  }
}

const names = async (query: string) => (await ask<{ name: string }>(query)).map((row) => row.name);
const STREAMING = `engine IN ('Kafka', 'FileLog')`;
const attached = () => names(`SELECT name FROM system.tables WHERE database = 'shop' AND ${STREAMING} ORDER BY name`);
/** A server that restarts leaves these detached. */
const detachedForGood = () =>
  names(`SELECT table AS name FROM system.detached_tables WHERE database = 'shop' AND is_permanently ORDER BY table`);
const inLedger = () =>
  names(`SELECT DISTINCT table AS name FROM _recovery.ledger WHERE kind = 'streaming' ORDER BY table`);

/** The source of `shop.feed`. */
const feed = (n: number) => appendFileSync(join(scratch.path, 'feed/lines.jsonl'), `{"n":${n}}\n`);
const consumed = async () => Number((await ask<{ n: string }>('SELECT uniqExact(n) AS n FROM shop.fed'))[0]?.n);
const consumes = (n: number) => expect.poll(consumed, { timeout: 20_000, interval: 200 }).toBe(n);
/** Long enough for an attached table to have read: it polls every 200 ms. */
const consumesNothing = async (n: number) => {
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect(await consumed()).toBe(n);
};

/** Whether a merge of a plain table is refused: what `SYSTEM STOP MERGES` does, and `SYSTEM START MERGES` takes back. */
async function mergesAreStopped(): Promise<boolean> {
  await sql('INSERT INTO shop.mergeable SELECT number FROM numbers(3)');
  return sql('OPTIMIZE TABLE shop.mergeable FINAL').then(
    () => false,
    () => true,
  );
}

/**
 * `feed` reads files and can be seen to consume; `orders_in` is Kafka without a broker in front of a replicated table,
 * which an embedded node's replica would not let it fill; `paused` was detached by a person before.
 */
async function setUp(policies: Record<string, unknown> = {}): Promise<void> {
  rig = await startRig({ dir: join(scratch.path, 'rig'), shards: 1, policies });
  await createDataset(rig.nodes, 'small');
  for (const statement of [
    'CREATE TABLE shop.mergeable (n UInt64) ENGINE = MergeTree ORDER BY n',
    'CREATE TABLE shop.fed (n UInt64) ENGINE = MergeTree ORDER BY n',
    "CREATE TABLE shop.feed (n UInt64) ENGINE = FileLog('feed', 'JSONEachRow') SETTINGS poll_timeout_ms = 200, poll_directory_watch_events_backoff_init = 200, poll_directory_watch_events_backoff_max = 200",
    'CREATE MATERIALIZED VIEW shop.feed_view TO shop.fed AS SELECT n FROM shop.feed',
    "CREATE TABLE shop.orders_in (id UInt64) ENGINE = Kafka('127.0.0.1:1', 'orders', 'shop', 'JSONEachRow')",
    'CREATE MATERIALIZED VIEW shop.orders_view TO shop.orders AS SELECT id FROM shop.orders_in',
    "CREATE TABLE shop.paused (id UInt64) ENGINE = Kafka('127.0.0.1:1', 'orders', 'paused', 'JSONEachRow')",
    'DETACH TABLE shop.paused PERMANENTLY',
  ])
    await sql(statement);
  feed(1);
  await consumes(1);
}

/** Somebody holds the path of `shop.orders`, so that the recovery cannot succeed. Returns what lets go of it. */
async function holdOrders(): Promise<() => Promise<void>> {
  const [replica] = await ask<{ path: string }>(
    "SELECT replica_path AS path FROM system.replicas WHERE database = 'shop' AND table = 'orders'",
  );
  await runZooKeeper(rig.ensemble.hosts, [{ create: `${replica?.path}/is_active` }]);
  return () => runZooKeeper(rig.ensemble.hosts, [{ remove: replica?.path ?? '' }]);
}

async function terminate(id: string): Promise<void> {
  const connection = await Connection.connect({ address: rig.temporal.address });
  await new Client({ connection }).workflow.getHandle(id).terminate();
  await connection.close();
}

async function recover(...args: string[]): Promise<Report> {
  const result = await rig.cli('start', '--cluster', CLUSTER, '--wait', '--json', ...args);
  return JSON.parse(result.stdout) as Report;
}

const cwd = process.cwd();
beforeEach(() => {
  scratch = scratchDir('fence');
  mkdirSync(join(scratch.path, 'feed'));
  // An embedded node has no user_files_path: FileLog reads below the directory that the node was started in.
  process.chdir(scratch.path);
});
afterEach(async () => {
  process.chdir(cwd);
  await rig.stop();
  scratch.remove();
});

describe('the fence and what streams into the cluster, asked of the node itself', () => {
  it('killed around the DETACH and in the middle: detached until validation, then attached, and nothing else is', async () => {
    await setUp();
    await rig.disaster();
    const points = ['sql/PERMANENTLY/before', 'sql/PERMANENTLY/after', 'sql/SYSTEM RESTORE REPLICA/before'];
    const markers = join(scratch.path, 'markers');
    mkdirSync(markers);
    const started = await rig.cli('start', '--cluster', CLUSTER, '--json');
    const { id } = JSON.parse(started.stdout) as { id: string };
    for (const point of points) {
      const worker = await rig.startWorker({
        script: join(repoRoot, 'test/support/crash-worker.ts'),
        workerEnv: { CRASH_POINTS: JSON.stringify([point]), CRASH_DIR: markers },
      });
      expect(await worker.exited, worker.logTail()).toMatchObject({ signal: 'SIGKILL' });
      const [first, second] = [await detachedForGood(), await inLedger()];
      if (point === points[0]) expect([first, second]).toEqual([['paused'], ['feed']]);
      if (point === points[1]) expect([first, second]).toEqual([['feed', 'paused'], ['feed']]);
      if (point === points[2]) {
        expect([first, second, await attached()]).toEqual([['feed', 'orders_in', 'paused'], ['feed', 'orders_in'], []]);
        feed(2);
        await consumesNothing(1);
        expect(await mergesAreStopped()).toBe(true);
      }
    }
    await rig.startWorker();
    const report = JSON.parse((await rig.cli('report', id, '--json')).stdout) as Report;
    expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
    expect([await attached(), await detachedForGood()]).toEqual([['feed', 'orders_in'], ['paused']]);
    await consumes(2);
    expect(await mergesAreStopped()).toBe(false);
  });

  it('stay-fenced: detached after the failure, unfence attaches exactly that, once', async () => {
    await setUp({ onFailure: 'stay-fenced' });
    await rig.startWorker();
    await rig.disaster();
    await holdOrders();
    expect(await recover()).toMatchObject({ outcome: 'needs-operator', fence: 'held' });
    feed(2);
    await consumesNothing(1);
    expect(await detachedForGood()).toEqual(['feed', 'orders_in', 'paused']);
    expect(await mergesAreStopped()).toBe(true);

    const lifted = await rig.cli('unfence', '--cluster', CLUSTER);
    expect([lifted.exitCode, lifted.stdout]).toEqual([0, '✔ node1: lifted, 2 streaming tables attached\n']);
    expect([await attached(), await detachedForGood()]).toEqual([['feed', 'orders_in'], ['paused']]);
    await consumes(2);
    expect(await mergesAreStopped()).toBe(false);

    await sql('DETACH TABLE shop.feed PERMANENTLY');
    const again = await rig.cli('unfence', '--cluster', CLUSTER);
    expect([again.exitCode, again.stdout]).toEqual([0, '✔ node1: was not fenced\n']);
    expect(await attached()).toEqual(['orders_in']);
  });

  it('stay-fenced over a restart of the node, until the recovery that adopts succeeds', async () => {
    await setUp({ onFailure: 'stay-fenced' });
    await rig.startWorker();
    await rig.disaster();
    const letGo = await holdOrders();
    expect(await recover()).toMatchObject({ outcome: 'needs-operator', fence: 'held' });
    await rig.cluster.killAll();
    await rig.cluster.startAll();
    feed(2);
    await consumesNothing(1);
    expect(await detachedForGood()).toEqual(['feed', 'orders_in', 'paused']);

    await letGo();
    expect(await recover('--adopt')).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
    expect([await attached(), await detachedForGood()]).toEqual([['feed', 'orders_in'], ['paused']]);
    await consumes(2);
  });

  it('unfence on failure: attached again although the recovery failed', async () => {
    await setUp({ onFailure: 'unfence' });
    await rig.startWorker();
    await rig.disaster();
    await holdOrders();
    feed(2);
    expect(await recover()).toMatchObject({ outcome: 'needs-operator', fence: 'lifted' });
    expect([await attached(), await detachedForGood()]).toEqual([['feed', 'orders_in'], ['paused']]);
    await consumes(2);
    expect(await mergesAreStopped()).toBe(false);
  });

  it('killed right after the DETACH and terminated: unfence attaches what was detached', async () => {
    await setUp();
    await rig.disaster();
    mkdirSync(join(scratch.path, 'markers'));
    const { stdout } = await rig.cli('start', '--cluster', CLUSTER, '--json');
    const worker = await rig.startWorker({
      script: join(repoRoot, 'test/support/crash-worker.ts'),
      workerEnv: { CRASH_POINTS: '["sql/PERMANENTLY/after"]', CRASH_DIR: join(scratch.path, 'markers') },
    });
    await worker.exited;
    await terminate((JSON.parse(stdout) as { id: string }).id);
    const lifted = await rig.cli('unfence', '--cluster', CLUSTER);
    expect([lifted.stdout, await attached()]).toEqual([
      '✔ node1: lifted, 1 streaming table attached\n',
      ['feed', 'orders_in'],
    ]);
  });

  it('a streaming table that a person dropped while fenced: unfence starts merges all the same', async () => {
    await setUp({ onFailure: 'stay-fenced' });
    await rig.startWorker();
    await rig.disaster();
    await holdOrders();
    await recover();
    await sql('ATTACH TABLE shop.orders_in');
    await sql('DROP TABLE shop.orders_in SYNC');
    const lifted = await rig.cli('unfence', '--cluster', CLUSTER);
    expect([lifted.stdout, await mergesAreStopped()]).toEqual([expect.stringContaining('node1: lifted'), false]);
  });

  it('data lost with the streaming tables: they are back, or the report says that they are not', async () => {
    await setUp();
    await rig.startWorker();
    await rig.cli('backup', '--cluster', CLUSTER, '--to', REPOSITORY, '--name', 'b1', '--wait');
    await rig.disaster({ lostShards: [0] });
    const report = await recover('--backup', `${REPOSITORY}/b1`);
    const said = JSON.stringify([report.warnings, report.unrecovered, report.keeperState]);
    const back = await attached();
    for (const name of ['feed', 'orders_in']) expect(back.includes(name) || said.includes(name), name).toBe(true);
  });
});
