import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Plan } from '../../src/domain/plan.js';
import type { Report } from '../../src/domain/report.js';
import { createDataset } from '../support/dataset.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { scratchDir } from '../support/processes.js';
import { CLUSTER, REPOSITORY, startRig, type Rig } from '../support/recovery-rig.js';
import { describeOn } from '../support/scenarios.js';

let scratch: ReturnType<typeof scratchDir>;
let rig: Rig;
let before: Snapshot;

const judge = () => ({ nodes: rig.nodes, keeperHosts: rig.ensemble.hosts });
const differences = async () => compareSnapshots(before, await takeSnapshot(judge()));

async function sql(node: number, statement: string): Promise<void> {
  const client = createClient({ url: rig.nodes[node]?.url, log: { level: ClickHouseLogLevel.OFF } });
  await client.command({ query: statement });
  await client.close();
}

async function select<Row>(node: number, query: string): Promise<Row[]> {
  const client = createClient({ url: rig.nodes[node]?.url, log: { level: ClickHouseLogLevel.OFF } });
  const rows = await (await client.query({ query, format: 'JSONEachRow' })).json<Row>();
  await client.close();
  return rows;
}

async function setUp(policies: Record<string, unknown> = {}): Promise<void> {
  rig = await startRig({ dir: scratch.path, policies });
  await createDataset(rig.nodes, 'small');
  before = await takeSnapshot(judge());
  await rig.startWorker();
}

async function backUp(name = 'b1'): Promise<void> {
  const result = await rig.cli('backup', '--cluster', CLUSTER, '--to', REPOSITORY, '--name', name, '--wait');
  expect(result.exitCode, result.stderr).toBe(0);
}

async function recover(...args: string[]): Promise<{ exitCode: number; report: Report }> {
  const result = await rig.cli('start', '--cluster', CLUSTER, '--wait', '--json', ...args);
  return { exitCode: result.exitCode, report: JSON.parse(result.stdout) as Report };
}

beforeEach(() => {
  scratch = scratchDir('situations');
});
afterEach(async () => {
  await rig.stop();
  scratch.remove();
});

describeOn('embedded', 'with native backups', { needs: ['restoreReplica', 'nativeBackup'] }, () => {
  it('data lost on a shard, and no backup named: refused, not called nothing to do', async () => {
    await setUp();
    await rig.disaster({ lostShards: [1] });
    const { exitCode, report } = await recover();
    expect({ exitCode, outcome: report.outcome, code: report.problem?.code, fence: report.fence }).toEqual({
      exitCode: 3,
      outcome: 'needs-operator',
      code: 'DATA_LOST_NO_BACKUP',
      fence: 'never-raised',
    });
  });

  it('a plain native backup without a manifest', async () => {
    await setUp();
    await sql(1, `BACKUP DATABASE shop TO Disk('backups', '${CLUSTER}/02/plain')`);
    await sql(0, `BACKUP DATABASE shop TO Disk('backups', '${CLUSTER}/01/plain')`);
    await rig.disaster({ lostShards: [1] });
    const { report } = await recover(
      '--backup',
      `${REPOSITORY}/plain`,
      '--tables',
      'shop.orders',
      '--tables',
      'shop.parts',
      '--tables',
      'shop.twins',
    );
    expect(report.outcome).toBe('succeeded');
    expect(report.tables.filter((table) => table.shard === '02').map((table) => table.evidence)).toEqual(
      Array(3).fill('part hashes of the backup'),
    );
    const [rows] = await select<Record<string, number>>(
      1,
      'SELECT (SELECT count() FROM shop.orders) AS orders, (SELECT count() FROM shop.parts) AS parts, (SELECT count() FROM shop.twins) AS twins',
    );
    const old = (table: string) =>
      [...before].find(([name]) => name.includes('node2') && name.includes(`\`${table}\``));
    for (const table of ['orders', 'parts', 'twins']) expect(String(rows?.[table]), table).toBe(old(table)?.[1].rows);
  });

  it('backups that do not fit are refused before the fence', async () => {
    await setUp();
    await backUp();
    const root = join(rig.cluster.backupsDir, CLUSTER);
    const copy = (from: string, to: string) => cpSync(join(root, from), join(root, to), { recursive: true });
    for (const shard of ['01', '02'])
      for (const suffix of ['', '.manifest']) copy(`${shard}/b1${suffix}`, `${shard}/renamed${suffix}`);
    for (const shard of ['01', '02']) copy(`${shard}/b1`, `${shard}/swapped`);
    copy('02/b1.manifest', '01/swapped.manifest');
    copy('01/b1.manifest', '02/swapped.manifest');
    await rig.disaster({ lostShards: [1] });
    for (const [name, code] of [
      ['renamed', 'MANIFEST_MISMATCH'],
      ['swapped', 'MANIFEST_MISMATCH'],
    ]) {
      const { exitCode, report } = await recover('--backup', `${REPOSITORY}/${name}`);
      expect([name, exitCode, report.problem?.code, report.fence]).toEqual([name, 1, code, 'never-raised']);
    }
    copy('01/b1.manifest', '01/aside');
    const dir = join(root, '01/b1.manifest/data/_recovery/manifest');
    rmSync(join(dir, readdirSync(dir)[0] ?? ''), { recursive: true });
    const damaged = await recover('--backup', `${REPOSITORY}/b1`);
    expect([damaged.exitCode, damaged.report.problem?.code, damaged.report.fence]).toEqual([
      1,
      'MANIFEST_INVALID',
      'never-raised',
    ]);
    rmSync(join(root, '01/b1.manifest'), { recursive: true });
    copy('01/aside', '01/b1.manifest');
    const good = await recover('--backup', `${REPOSITORY}/b1`);
    expect(good.report.outcome).toBe('succeeded');
    expect(await differences()).toEqual([]);
  });

  it('approval: the plan of `plan` is the plan that waits, a stale hash is refused, abort lifts nothing that policy keeps', async () => {
    await setUp({ approval: 'required' });
    await rig.disaster();
    const plan = JSON.parse((await rig.cli('plan', '--cluster', CLUSTER, '--json')).stdout) as Plan;
    const started = JSON.parse(
      (await rig.cli('start', '--cluster', CLUSTER, '--incident', 'INC-1', '--json')).stdout,
    ) as { id: string };
    const repeat = JSON.parse(
      (await rig.cli('start', '--cluster', CLUSTER, '--incident', 'INC-1', '--json')).stdout,
    ) as { id: string; started: boolean };
    expect(repeat).toMatchObject({ id: started.id });
    const stale = await rig.cli('approve', started.id, '--plan', '0'.repeat(64), '--json');
    expect([stale.exitCode, stale.stdout]).toEqual([2, expect.stringContaining('PLAN_STALE')]);
    const approved = await rig.cli('approve', started.id, '--plan', plan.hash, '--by', 'a test');
    expect(approved.exitCode, approved.stderr).toBe(0);
    const watched = await rig.cli('watch', started.id);
    expect(watched.exitCode, watched.stdout).toBe(0);
    expect(watched.stdout).toContain('stage restore-replica done');
    const report = await rig.cli('report', started.id);
    expect(report.stdout).toContain('# demo: succeeded');
    expect(await differences()).toEqual([]);
  });

  it('a broken part is found before anything destructive, and named', async () => {
    await setUp();
    const [part] = await select<{ path: string }>(
      0,
      "SELECT path FROM system.parts WHERE active AND database = 'shop' AND table = 'orders' ORDER BY bytes_on_disk DESC LIMIT 1",
    );
    await rig.cluster.killAll();
    flipOneBit(join(part?.path ?? '', 'data.bin'));
    await rig.ensemble.stop();
    rig.ensemble.wipe();
    await rig.ensemble.start();
    await rig.cluster.startAll();
    const { exitCode, report } = await recover();
    expect(exitCode).toBe(3);
    const failed = report.tables.filter((table) => table.outcome === 'failed');
    expect(failed.map((table) => table.problem?.code)).toEqual(['PART_BROKEN']);
    expect(failed[0]?.problem?.objects?.length).toBeGreaterThan(0);
    expect(failed.map((table) => table.table)).toEqual(['orders']);
    expect(report.fence).toBe('held');
    const lifted = await rig.cli('unfence', '--cluster', CLUSTER);
    expect([lifted.exitCode, lifted.stdout]).toEqual([0, expect.stringContaining('node1: lifted')]);
  });
});

/** As a bad disk would: the file is replaced, since hard links of it may stand elsewhere. */
function flipOneBit(path: string): void {
  const bytes = readFileSync(path);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  rmSync(path);
  writeFileSync(path, bytes);
}
