import { createHash } from 'node:crypto';
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ColdManifest, ColdPlan, ColdProgress, ColdReport } from '../../src/domain/cold.js';
import type { Problem } from '../../src/domain/errors.js';
import { lockId, TASK_QUEUE, WORKFLOWS } from '../../src/domain/messages.js';
import { startColdRig, type ColdRig } from '../support/cold-rig.js';
import { createLiveDataset } from '../support/live-dataset.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { scratchDir, waitFor } from '../support/processes.js';
import { CLUSTER } from '../support/recovery-rig.js';
import { describeOn } from '../support/scenarios.js';
import { createWriterTables, judge, startWriter, type Writer, type WriterLog } from '../support/writer.js';

/** Two replicas of ClickHouse 18.16.1 and a ZooKeeper ensemble of three, each with its agent. In this order: later tests use the copy of the first. */
describeOn('servers', 'cold copies', { needs: ['liveReplication'] }, () => {
  const scratch = scratchDir('cold');
  let rig: ColdRig;
  let before: Snapshot;
  let written: WriterLog;
  let backup: ColdReport;
  const GENERATION = 'g1';

  beforeAll(async () => {
    rig = await startColdRig(scratch.path);
    await createLiveDataset(rig.cluster.nodes, { clusterName: CLUSTER, size: 'small' });
    await rig.startWorker();
    await rig.startAgents();
  });
  afterAll(async () => {
    await rig?.stop();
    scratch.remove();
  });

  const snapshot = () => takeSnapshot({ nodes: rig.cluster.nodes, keeperHosts: rig.ensemble.hosts, live: true });
  const shop = (lines: string[]) => lines.filter((line) => !line.includes('`live`'));
  const pids = () => [...rig.cluster.nodes, ...rig.ensemble.servers].map(({ pid }) => pid);

  /** As it was when it was copied: what was acknowledged before its servers were stopped is there, once. */
  async function expectAsCopied(): Promise<void> {
    const differences = async () => shop(compareSnapshots(before, await snapshot()));
    await waitFor(async () => (await differences()).length === 0, { what: 'as before', deadlineMs: 60_000 }).catch(
      async () => expect(await differences()).toEqual([]),
    );
    const from = Date.parse(backup.steps.find(({ name }) => name === 'stop-clickhouse')!.startedAt!);
    expect(await judge({ nodes: rig.cluster.nodes, log: written, mayBeLost: { from, to: Infinity } })).toEqual([]);
  }

  const cold = <T>(...args: string[]) => rig.cold<T>(...args);
  const restore = () =>
    cold<ColdReport & { error?: Problem }>('restore', '--cluster', CLUSTER, '--copy', GENERATION, '--yes', '--wait');
  const copyOf = (host: string) => join(rig.copies, GENERATION, host);

  it('a backup under a writer: down for a moment, nothing that was acknowledged is lost, every file is what was copied', async () => {
    const tables = await createWriterTables(rig.cluster.nodes);
    before = await snapshot();
    const writer: Writer = startWriter({ nodes: rig.cluster.nodes, tables, retry: true });
    await waitFor(() => writer.log.acknowledged.length > 50, { what: 'rows', deadlineMs: 60_000 });

    const { exitCode, result, stderr } = await cold<ColdReport>(
      ...['backup', '--cluster', CLUSTER, '--name', GENERATION, '--yes', '--wait'],
    );
    expect(result, stderr).toMatchObject({ outcome: 'succeeded', clusterUp: true, problem: null });
    expect(exitCode).toBe(0);
    backup = result;
    const acknowledged = writer.log.acknowledged.length;
    await waitFor(() => writer.log.acknowledged.length > acknowledged + 20, { what: 'inserts', deadlineMs: 60_000 });
    written = await writer.stop();
    // The stop is what stops a writer: it was refused, or not answered, and took up again by itself.
    expect(written.refused.length + written.unknown.length).toBeGreaterThan(0);
    await waitFor(async () => (await judge({ nodes: rig.cluster.nodes, log: written })).length === 0, {
      what: 'all acknowledged rows on both replicas',
      deadlineMs: 60_000,
    }).catch(async () => expect(await judge({ nodes: rig.cluster.nodes, log: written })).toEqual([]));

    const manifest = JSON.parse(readFileSync(join(copyOf('zk2'), 'manifest.json'), 'utf8')) as ColdManifest;
    expect(manifest.hosts.map(({ name }) => name)).toEqual(rig.hosts);
    const [clickhouse] = manifest.hosts;
    expect(clickhouse).toMatchObject({ macros: { shard: '01', replica: 'r1' }, zxid: null });
    expect(clickhouse!.parts).toBeGreaterThan(5);
    expect(manifest.hosts.at(-1)).toMatchObject({ zxid: expect.stringMatching(/^0x[0-9a-f]+$/) as string });
    // Only files that are written once share their blocks with the live ones.
    const linked = [...filesBelow(join(copyOf(rig.hosts[0]!), 'trees'))].filter((file) => statSync(file).nlink > 1);
    expect(linked.length).toBeGreaterThan(10);
    expect(linked.filter((file) => !/_\d+_\d+_\d+\/[^/]+\.(bin|mrk|idx)$/.test(file))).toEqual([]);
    expect([...filesBelow(copyOf('zk1'))].filter((file) => statSync(file).nlink > 1)).toEqual([]);

    const verified = await rig.cli('cold', 'verify', join(rig.copies, GENERATION));
    expect(verified.stdout).toContain('every file is what was copied');
    expect(verified.exitCode).toBe(0);
  });

  it('both are lost, on all hosts: they come back as they were copied', async () => {
    await rig.cluster.killAll();
    await rig.ensemble.stop();
    rig.ensemble.wipe();
    for (const node of rig.cluster.nodes.keys()) rig.cluster.wipeNodeData(node);
    const { exitCode, result, stderr } = await restore();
    expect(result, stderr).toMatchObject({ outcome: 'succeeded', instead: null, clusterUp: true });
    expect(exitCode).toBe(0);
    await expectAsCopied();
  });

  it('only ZooKeeper is lost: the plan offers the recovery that loses less, and a restore works too', async () => {
    await rig.ensemble.stop();
    rig.ensemble.wipe();
    await rig.ensemble.start();
    const started = await cold<{ id: string }>(
      ...['restore', '--cluster', CLUSTER, '--copy', GENERATION, '--approve', '0'.repeat(64)],
    );
    // A hash that is none: it ends with what would have been approved, and has stopped nothing.
    const before = pids();
    const status = async () => (await cold<ColdProgress & { plan: ColdPlan }>('status', started.result.id)).result;
    await waitFor(async () => (await status()).plan !== null, { what: 'a plan', deadlineMs: 90_000 });
    const { plan } = await status();
    expect(plan.instead).toMatchObject({ command: `ch-recover start --cluster ${CLUSTER}` });
    expect(plan.instead?.why).toContain('SYSTEM RESTORE REPLICA');
    expect(pids()).toEqual(before);

    const { result, stderr } = await restore();
    expect(result, stderr).toMatchObject({ outcome: 'succeeded', instead: plan.instead });
    await expectAsCopied();
  });

  it('one node is lost: both are taken back together, since they belong together', async () => {
    await rig.cluster.killNode(1);
    rig.cluster.wipeNodeData(1);
    await rig.cluster.startNode(1);
    const { result, stderr } = await restore();
    expect(result, stderr).toMatchObject({
      outcome: 'succeeded',
      instead: { command: `ch-recover start --cluster ${CLUSTER}` },
    });
    await expectAsCopied();
  });

  it.each<[string, () => () => void, string, RegExp]>([
    [
      'one flipped byte',
      () => {
        const file = streamed(copyOf('zk1'), /version-2\/snapshot\./);
        const good = readFileSync(file);
        const bad = Buffer.from(good);
        bad[bad.length >> 1]! ^= 1;
        writeFileSync(file, bad);
        return () => writeFileSync(file, good);
      },
      'COPY_DAMAGED',
      /zk1: data\/version-2\/snapshot.*sha256/,
    ],
    [
      'one missing file',
      () => {
        const file = streamed(copyOf(rig.hosts[0]!), /metadata\/shop\/orders\.sql$/);
        renameSync(file, `${file}.gone`);
        return () => renameSync(`${file}.gone`, file);
      },
      'COPY_DAMAGED',
      /s01r1: data\/metadata\/shop\/orders\.sql is missing/,
    ],
    [
      'mixed generations',
      () => {
        const file = join(copyOf('zk3'), 'manifest.json');
        const good = readFileSync(file, 'utf8');
        writeFileSync(file, good.replace(/"takenAt": "20\d\d/, '"takenAt": "2019'));
        return () => writeFileSync(file, good);
      },
      'MANIFEST_MISMATCH',
      /mixed generations: zk3 has/,
    ],
    [
      'the copy of another replica',
      () => {
        const [a, b] = [copyOf(rig.hosts[0]!), copyOf(rig.hosts[1]!)];
        const swap = () => {
          renameSync(a, `${a}.x`);
          renameSync(b, a);
          renameSync(`${a}.x`, b);
        };
        swap();
        return swap;
      },
      'COPY_DAMAGED',
      /s01r1: files\.jsonl is missing or altered/,
    ],
    [
      'half a copy',
      () => {
        const file = join(copyOf('zk2'), 'manifest.json');
        renameSync(file, `${file}.gone`);
        return () => renameSync(`${file}.gone`, file);
      },
      'COPY_UNKNOWN',
      /no copy g1 on zk2/,
    ],
  ])('%s: refused before anything is stopped', async (_name, spoil, code, message) => {
    const running = pids();
    const repair = spoil();
    try {
      const { exitCode, result } = await restore();
      const found = result.error ?? result.problem;
      expect(found).toMatchObject({ code, message: expect.stringMatching(message) as string });
      expect(exitCode).not.toBe(0);
      expect(pids()).toEqual(running);
      expect(leftovers()).toEqual([]);
      const verified = await rig.cli('cold', 'verify', join(rig.copies, GENERATION));
      expect(verified.exitCode, verified.stdout).not.toBe(0);
    } finally {
      repair();
    }
  });

  it('a recovery holds the cluster: a cold backup does not begin', async () => {
    const running = pids();
    const connection = await Connection.connect({ address: rig.temporal.address });
    const client = new Client({ connection });
    const held = await client.workflow.start(WORKFLOWS.lock, {
      ...{ workflowId: lockId(CLUSTER), taskQueue: TASK_QUEUE, args: [{ holder: 'a recovery' }] },
    });
    try {
      const { exitCode, result } = await cold<ColdReport>('backup', '--cluster', CLUSTER, '--yes', '--wait');
      expect(result.problem).toMatchObject({ code: 'RECOVERY_RUNNING' });
      expect(exitCode).toBe(3);
      expect(pids()).toEqual(running);
    } finally {
      await held.cancel();
      await held.result();
      await connection.close();
    }
  });

  it('an agent is away: named, with what to do, and nothing is stopped', async () => {
    const running = pids();
    rig.agents.get('zk2')!.signal('SIGKILL');
    const { exitCode, result } = await cold<ColdReport>('backup', '--cluster', CLUSTER, '--yes', '--wait');
    expect(result.problem).toMatchObject({
      code: 'AGENT_UNAVAILABLE',
      message: expect.stringContaining('ch-recover agent --keeper zk2') as string,
    });
    expect(exitCode).toBe(1);
    expect(pids()).toEqual(running);
    await rig.startAgents();
  });

  it('what was restored does not validate: rolled back to what stood there', async () => {
    const now = await snapshot();
    const whole = join(rig.copies, 'whole');
    cpSync(join(rig.copies, GENERATION), whole, { recursive: true });
    // On both replicas: what only one of them lacks it fetches from the other.
    for (const node of rig.cluster.nodes) leaveOutPart(copyOf(node.name));
    try {
      const { result } = await restore();
      expect(result.problem?.message).toMatch(/shop\/orders: part \S+ \(\d+ rows\) is missing/);
      expect(result).toMatchObject({ outcome: 'failed', rolledBack: true, clusterUp: true });
      expect(result.problem?.code).toBe('COLD_VALIDATION_FAILED');
    } finally {
      rmSync(join(rig.copies, GENERATION), { recursive: true });
      renameSync(whole, join(rig.copies, GENERATION));
    }
    const differences = async () => compareSnapshots(now, await snapshot());
    await waitFor(async () => (await differences()).length === 0, { what: 'as before', deadlineMs: 60_000 }).catch(
      async () => expect(await differences()).toEqual([]),
    );
  });

  const trees = () => [
    ...rig.cluster.nodes.map(({ dir }) => join(dir, 'data')),
    ...rig.ensemble.servers.map(({ dataDir }) => dataDir),
  ];
  const leftovers = () => trees().flatMap((tree) => readdirSync(tree).filter((name) => name.startsWith('.cold-stage')));

  /** A file of a copy that shares its blocks with nothing live: a test must not spoil the server's own. */
  function streamed(folder: string, pattern: RegExp): string {
    const file = [...filesBelow(folder)].find((each) => pattern.test(each));
    if (file === undefined || !existsSync(file)) throw new Error(`there is no ${String(pattern)} in ${folder}`);
    expect(statSync(file).nlink).toBe(1);
    return file;
  }

  /** Leaves a part out of a copy, and makes list and manifests say that this is how it was. */
  function leaveOutPart(copy: string): void {
    const lines = readFileSync(join(copy, 'files.jsonl'), 'utf8').split('\n').slice(0, -1);
    const part = lines.map((line) => /data\/shop\/orders\/202601_\d+_\d+_\d+(?=\/)/.exec(line)?.[0]).find(Boolean)!;
    const list = lines
      .filter((line) => !line.includes(part))
      .map((line) => `${line}\n`)
      .join('');
    const sha256 = createHash('sha256').update(list).digest('hex');
    writeFileSync(join(copy, 'files.jsonl'), list);
    const old = (JSON.parse(readFileSync(join(copy, 'manifest.json'), 'utf8')) as ColdManifest).hosts.find(({ name }) =>
      copy.endsWith(name),
    )!.list;
    for (const host of rig.hosts) {
      const file = join(copyOf(host), 'manifest.json');
      writeFileSync(file, readFileSync(file, 'utf8').replace(old, sha256));
    }
  }
});

function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesBelow(path);
    else yield path;
  }
}
