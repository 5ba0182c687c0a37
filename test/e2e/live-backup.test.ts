import { cpSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Report } from '../../src/domain/report.js';
import { startBackupServer, type BackupServer } from '../support/clickhouse-backup.js';
import { createLiveDataset } from '../support/live-dataset.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { scratchDir } from '../support/processes.js';
import { describeOn } from '../support/scenarios.js';
import { CLUSTER, startServersRig, type ServersRig } from '../support/recovery-rig.js';

/** Data from a real clickhouse-backup beside each of the servers: 2 replicas a shard, ClickHouse 18.16.1. */
describeOn('servers', 'data from clickhouse-backup', { needs: ['liveReplication'] }, () => {
  let rig: ServersRig;
  let scratch: ReturnType<typeof scratchDir>;
  let before: Snapshot;
  const servers: BackupServer[] = [];

  beforeEach(() => {
    scratch = scratchDir('live-backup');
  });
  afterEach(async () => {
    await Promise.all(servers.splice(0).map((server) => server.stop()));
    await rig.stop();
    scratch.remove();
  });

  const judged = () => ({ nodes: rig.cluster.nodes, keeperHosts: rig.ensemble.hosts, live: true });
  const differences = async () => compareSnapshots(before, await takeSnapshot(judged()));
  const backupFolder = (node: number) => join(rig.cluster.nodes[node]!.dir, 'data/backup');

  /** With a backup `b1` on the first replica of each shard. */
  async function setUp({ size = 'small', shards = 1 }: { size?: 'small' | 'full'; shards?: number } = {}) {
    rig = await startServersRig({ dir: scratch.path, shards, backups: {} });
    await createLiveDataset(rig.cluster.nodes, { clusterName: CLUSTER, size });
    before = await takeSnapshot(judged());
    const api: Record<string, string> = {};
    for (const { name, tcpPort } of rig.cluster.nodes) {
      const server = await startBackupServer({ dir: join(scratch.path, `backup-${name}`), tcpPort });
      servers.push(server);
      api[name] = server.url;
    }
    rig.configure({ backups: { cb: { kind: 'clickhouse-backup', api } } });
    for (let node = 0; node < rig.cluster.nodes.length; node += 2) await servers[node]!.create('b1', 'shop.*');
    await rig.startWorker();
  }

  /** All that the server stored, but for its backups. */
  async function loseDisk(node: number): Promise<void> {
    const aside = join(scratch.path, `aside-${node}`);
    await rig.cluster.killNode(node);
    const has = existsSync(backupFolder(node));
    if (has) renameSync(backupFolder(node), aside);
    rig.cluster.wipeNodeData(node);
    if (has) {
      mkdirSync(join(backupFolder(node), '..'), { recursive: true });
      cpSync(aside, backupFolder(node), { recursive: true });
    }
    await rig.cluster.startNode(node);
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
    const answer = await fetch(rig.cluster.nodes[node]!.url, { method: 'POST', body: query });
    const text = (await answer.text()).trim();
    if (!answer.ok) throw new Error(text.slice(0, 300));
    return text;
  }

  const failed = (report: Report) =>
    report.tables
      .filter((table) => table.problem)
      .map((table) => `${table.table}@${table.shard}/${table.replica}: ${table.problem?.message}`);

  it('both shards and Keeper lost: all from the latest backup', async () => {
    await setUp({ shards: 2 });
    for (const node of [0, 1, 2, 3]) await rig.cluster.killNode(node);
    await rig.ensemble.stop();
    rig.ensemble.wipe();
    await rig.ensemble.start();
    for (const node of [0, 1, 2, 3]) await loseDisk(node);
    const { report } = await recover('--backup', 'cb');
    expect([report.problem?.message ?? '', ...failed(report)].join('\n')).toBe('');
    expect(report.outcome).toBe('succeeded');
    expect(await differences()).toEqual([]);
  });

  it('views, plain tables and odd names of a lost shard', async () => {
    await setUp({ size: 'full' });
    for (const node of [0, 1]) await loseDisk(node);
    const { report } = await recover('--backup', 'cb/b1', '--tables', 'shop.*');
    expect([report.problem?.message ?? '', ...failed(report)].join('\n')).toBe('');
    const wrong = (await differences()).filter(
      (line) =>
        // Not in the backup: another database, rows of Log tables, plain tables of the other replica.
        !line.includes('odd-db') && !line.includes('`shop`.`notes`') && !/s01r2 `shop`\.`(local|notes)`/.test(line),
    );
    expect(wrong).toEqual([]);
    expect(report.warnings.join('\n')).toMatch(/shop\.notes/);
  });

  it('a backup that is not there, or not of this cluster: refused before the fence', async () => {
    await setUp();
    await loseDisk(0);
    await loseDisk(1);
    const { exitCode, report } = await recover('--backup', 'cb/nothing').catch(() => ({ exitCode: 2, report: null }));
    expect([exitCode, report?.problem?.code ?? 'BACKUP_UNKNOWN']).toEqual([2, 'BACKUP_UNKNOWN']);
    expect(await ask(0, "SELECT name FROM system.databases WHERE name = '_recovery'")).toBe('');
  });
});
