import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Report } from '../../src/domain/report.js';
import { createDataset } from '../support/dataset.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { scratchDir, waitFor } from '../support/processes.js';
import { CLUSTER, REPOSITORY, startRig, type CliResult, type Rig } from '../support/recovery-rig.js';

let scratch: ReturnType<typeof scratchDir>;
let rig: Rig;
let before: Snapshot;

const judge = () => ({ nodes: rig.nodes, keeperHosts: rig.ensemble.hosts });
const differences = async () => compareSnapshots(before, await takeSnapshot(judge()));

async function select<Row>(node: number, query: string): Promise<Row[]> {
  const client = createClient({ url: rig.nodes[node]?.url, log: { level: ClickHouseLogLevel.OFF } });
  try {
    return await (await client.query({ query, format: 'JSONEachRow' })).json<Row>();
  } finally {
    await client.close();
  }
}

async function sql(node: number, statement: string): Promise<void> {
  const client = createClient({ url: rig.nodes[node]?.url, log: { level: ClickHouseLogLevel.OFF } });
  try {
    await client.command({ query: statement });
  } finally {
    await client.close();
  }
}

const count = async (node: number, query: string) => Number((await select<{ n: string }>(node, query))[0]?.n);

async function setUp({
  keepers = 1,
  policies = {},
}: { keepers?: 1 | 3; policies?: Record<string, unknown> } = {}): Promise<void> {
  // An embedded node has four sessions, and statements that are held up here keep theirs: some are for us.
  rig = await startRig({ dir: scratch.path, keepers, policies: { lanesPerNode: 2, ...policies } });
  await createDataset(rig.nodes, 'small');
  await sql(0, 'CREATE TABLE shop.many (id UInt64) ENGINE = MergeTree ORDER BY id');
  await sql(0, 'SYSTEM STOP MERGES shop.many');
  for (let i = 0; i < 220; i++) await sql(0, `INSERT INTO shop.many SELECT number + ${i * 100} FROM numbers(100)`);
  await sql(0, 'DETACH TABLE shop.many SYNC');
  await sql(0, 'ATTACH TABLE shop.many AS REPLICATED');
  await sql(0, 'SYSTEM RESTORE REPLICA shop.many');
  before = await takeSnapshot(judge());
  await rig.startWorker();
  const backup = await rig.cli('backup', '--cluster', CLUSTER, '--to', REPOSITORY, '--wait');
  expect(backup.exitCode, backup.stderr).toBe(0);
  await rig.disaster({ lostShards: [1] });
}

const start = (...args: string[]): Promise<CliResult> =>
  rig.cli('start', '--cluster', CLUSTER, '--backup', 'latest', '--wait', '--json', ...args);
const reportOf = (result: CliResult) => JSON.parse(result.stdout) as Report;

async function killAndRestart(node: number): Promise<void> {
  await rig.cluster.nodes[node]?.kill();
  await rig.cluster.startAll();
}

beforeEach(() => {
  scratch = scratchDir('faults');
});
afterEach(async () => {
  await rig.stop();
  scratch.remove();
});

describe('a node or ZooKeeper dies in the middle [embedded]', () => {
  it('a node is killed in the middle of RESTORE: the staging table is made anew, no row twice', async () => {
    await setUp();
    await sql(1, 'SYSTEM ENABLE FAILPOINT restore_pause_on_start');
    const running = start();
    await waitFor(
      async () => (await count(1, "SELECT count() AS n FROM system.backups WHERE status = 'RESTORING'")) > 0,
      { what: 'a RESTORE under way', deadlineMs: 60_000 },
    );
    await killAndRestart(1);
    const report = reportOf(await running);
    expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
    expect(await differences()).toEqual([]);
  });

  it('a node is killed in the middle of SYSTEM RESTORE REPLICA on 220 parts: rebuilt from the clone', async () => {
    await setUp();
    await sql(0, 'SYSTEM ENABLE FAILPOINT rmt_delay_commit_part');
    const running = start();
    const active = () =>
      count(0, "SELECT count() AS n FROM system.parts WHERE active AND database = 'shop' AND table = 'many'");
    await waitFor(async () => (await active()) > 0 && (await active()) < 100, {
      what: 'half of the parts attached',
      deadlineMs: 120_000,
    });
    await killAndRestart(0);
    expect(await active()).toBeLessThan(220);
    const report = reportOf(await running);
    expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
    expect(await differences()).toEqual([]);
  });

  it("ZooKeeper's leader is killed in the replica stage: the recovery looks again and goes on", async () => {
    await setUp({ keepers: 3 });
    await sql(0, 'SYSTEM ENABLE FAILPOINT rmt_delay_commit_part');
    const running = start();
    await waitFor(
      async () =>
        (await count(
          0,
          "SELECT count() AS n FROM system.processes WHERE query LIKE '%SYSTEM RESTORE REPLICA%' AND query NOT LIKE '%processes%'",
        )) > 0,
      { what: 'SYSTEM RESTORE REPLICA under way', deadlineMs: 60_000 },
    );
    const leader = await rig.ensemble.leader();
    await rig.ensemble.killServer(leader);
    await sql(0, 'SYSTEM DISABLE FAILPOINT rmt_delay_commit_part');
    await rig.ensemble.startServer(leader);
    // An embedded engine whose session ended stays without one until it restarts (real-parts.md): an operator's part.
    const restarts = setInterval(() => void restartExpired(), 5_000);
    const report = reportOf(await running);
    clearInterval(restarts);
    expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
    expect(await differences()).toEqual([]);
  });

  it('a statement that hangs meets a deadline and a named error, and is never sent twice', async () => {
    await setUp({ policies: { statementDeadlineSeconds: 5 } });
    await sql(0, 'SYSTEM ENABLE FAILPOINT rmt_delay_commit_part');
    const first = await start('--tables', 'shop.many');
    expect(first.exitCode).toBe(3);
    expect(reportOf(first)).toMatchObject({
      outcome: 'needs-operator',
      fence: 'held',
      problem: { code: 'STATEMENT_HUNG' },
    });
    expect(
      await count(
        0,
        "SELECT count() AS n FROM system.processes WHERE query LIKE '%SYSTEM RESTORE REPLICA%' AND query NOT LIKE '%processes%'",
      ),
    ).toBe(1);
    await sql(0, 'SYSTEM DISABLE FAILPOINT rmt_delay_commit_part');
    await killAndRestart(0);
    const second = await start('--adopt');
    expect(reportOf(second)).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
    expect(await differences()).toEqual([]);
  });
});

let restarting = false;
/** Restarts a node whose tables have lost their ZooKeeper session for good. */
async function restartExpired(): Promise<void> {
  if (restarting) return;
  restarting = true;
  try {
    for (const [index] of rig.nodes.entries()) {
      const expired = await count(index, 'SELECT count() AS n FROM system.replicas WHERE is_session_expired').catch(
        () => 0,
      );
      if (expired > 0) await killAndRestart(index);
    }
  } finally {
    restarting = false;
  }
}
