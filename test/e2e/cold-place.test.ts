import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ColdReport } from '../../src/domain/cold.js';
import type { Problem } from '../../src/domain/errors.js';
import type { Report } from '../../src/domain/report.js';
import { startColdRig, type ColdRig } from '../support/cold-rig.js';
import { createLiveDataset } from '../support/live-dataset.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { kill, scratchDir } from '../support/processes.js';
import { CLUSTER } from '../support/recovery-rig.js';
import { describeOn } from '../support/scenarios.js';
import { repoRoot } from '../support/tools.js';

/**
 * Two replicas of ClickHouse 18.16.1, which have neither BACKUP nor a clickhouse-backup here: what is lost comes back from a
 * cold copy, whose parts their agents place. In this order: all use the copy that is made first.
 */
describeOn('servers', 'data from a cold copy', { needs: ['liveReplication'] }, () => {
  const scratch = scratchDir('cold-place');
  let rig: ColdRig;
  let before: Snapshot;

  beforeAll(async () => {
    rig = await startColdRig(scratch.path, { backups: { copies: { kind: 'cold' } }, agentTimeoutSeconds: 20 });
    await createLiveDataset(rig.cluster.nodes, { clusterName: CLUSTER, size: 'full' });
    before = await snapshot();
    await rig.startWorker();
    await rig.startAgents();
    const { result, stderr } = await rig.cold<ColdReport>(
      ...['backup', '--cluster', CLUSTER, '--name', 'g1', '--yes', '--wait'],
    );
    expect(result, stderr).toMatchObject({ outcome: 'succeeded' });
  });
  afterAll(async () => {
    await rig?.stop();
    scratch.remove();
  });

  const snapshot = () => takeSnapshot({ nodes: rig.cluster.nodes, keeperHosts: rig.ensemble.hosts, live: true });

  /** Not in what is restored: rows of Log tables, and the other replica's tables that are not replicated. */
  async function differences(from = 's01r1'): Promise<string[]> {
    const other = from === 's01r1' ? 's01r2' : 's01r1';
    const others = new RegExp(`${other} \`shop\`\\.\`(local|notes)\``);
    return compareSnapshots(before, await snapshot()).filter(
      (line) => !line.includes('`shop`.`notes`') && !others.test(line),
    );
  }

  async function loseAll(): Promise<void> {
    await rig.cluster.killAll();
    await rig.ensemble.stop();
    rig.ensemble.wipe();
    for (const node of rig.cluster.nodes.keys()) rig.cluster.wipeNodeData(node);
    await rig.ensemble.start();
    await rig.cluster.startAll();
  }

  async function recover(...args: string[]) {
    const { exitCode, stdout, stderr } = await rig.cli(
      ...['start', '--cluster', CLUSTER, '--backup', 'copies/g1', '--yes', '--wait', '--json', ...args],
    );
    expect(stdout, stderr).toMatch(/^\{/);
    return { exitCode, report: JSON.parse(stdout) as Report & { error?: Problem } };
  }

  const failed = ({ tables, problem }: Report) => [
    ...(problem ? [`${problem.code}: ${problem.message}`] : []),
    ...tables.flatMap((each) => (each.problem ? [`${each.table}: ${each.problem.code}: ${each.problem.message}`] : [])),
  ];
  const leftovers = () =>
    rig.cluster.nodes.flatMap(({ dir }) =>
      readdirSync(join(dir, 'data')).filter((name) => name.startsWith('.cold-place')),
    );

  it('the agents are away: named, before anything is fenced', async () => {
    await loseAll();
    await Promise.all(['s01r1', 's01r2'].map((host) => kill(rig.agents.get(host)!)));
    const { exitCode, report } = await recover();
    expect(report.problem).toMatchObject({
      code: 'AGENT_UNAVAILABLE',
      message: expect.stringContaining('ch-recover agent --node s01r1') as string,
    });
    expect(report).toMatchObject({ outcome: 'failed', fence: 'never-raised' });
    expect(exitCode).toBe(1);
  });

  it('data and Keeper are lost, agent and worker are killed while they place and attach: all is back, each row once', async () => {
    const markers = join(scratch.path, 'markers');
    mkdirSync(markers);
    await Promise.all(rig.workers.map((worker) => kill(worker)));
    let over = false;
    const supervise = async (launch: () => Promise<{ exited: Promise<unknown> }>) => {
      while (!over) await (await launch()).exited;
    };
    const script = (file: string) => join(repoRoot, 'test/support', file);
    const points = {
      agent: ['readCopy/ack', 'placeParts/start', 'placeParts/ack'],
      worker: ['prepareStaging', 'attachParts'],
    };
    const workerPoints = points.worker.map((type) => `activity/${type}/ack`);
    const children = [
      supervise(() =>
        rig.startAgent('s01r1', {
          script: script('crash-agent.ts'),
          env: { CRASH_DIR: markers, CRASH_POINTS: JSON.stringify(points.agent) },
        }),
      ),
      supervise(() =>
        rig.startWorker({
          script: script('crash-worker.ts'),
          workerEnv: { CRASH_DIR: markers, CRASH_POINTS: JSON.stringify(workerPoints) },
        }),
      ),
    ];
    const { report } = await recover();
    over = true;
    await kill(rig.agents.get('s01r1')!);
    await Promise.all(rig.workers.map((worker) => kill(worker)));
    await Promise.allSettled(children);
    expect(failed(report)).toEqual([]);
    expect(report.outcome).toBe('succeeded');
    expect(await differences()).toEqual([]);
    expect(readdirSync(markers).map(decodeURIComponent).sort()).toEqual(
      [...points.agent.map((point) => `s01r1 ${point}`), ...workerPoints].sort(),
    );
    expect(leftovers()).toEqual([]);
    const orders = report.tables.find(({ table, replica }) => table === 'orders' && replica === 'r1');
    expect(orders?.evidence).toBe('sha256 of the copy’s files, its parts and rows');
    expect(report.warnings.join('\n')).toMatch(/shop\.notes.*its rows stay in the cold copy 'g1' of s01r1/);
    await rig.startWorker();
    await rig.startAgents();
  });

  it('one flipped byte: which file, that table is not promoted, and once the copy is good again the rest follows', async () => {
    await loseAll();
    const file = partFile(join(rig.copies, 'g1/s01r1/trees/data/data/shop/orders'), 'amount.bin');
    const good = readFileSync(file);
    const bad = Buffer.from(good);
    bad[bad.length >> 1]! ^= 1;
    writeFileSync(file, bad);
    const { exitCode, report } = await recover();
    expect(failed(report).join('\n')).toMatch(
      /orders: COPY_DAMAGED: s01r1: data\/data\/shop\/orders\/\S+\/amount\.bin: sha256/,
    );
    expect(report).toMatchObject({ outcome: 'failed', fence: 'held' });
    expect(exitCode).toBe(1);
    for (const { dir } of rig.cluster.nodes) expect(existsSync(join(dir, 'data/metadata/shop/orders.sql'))).toBe(false);
    expect(leftovers()).toEqual([]);

    writeFileSync(file, good);
    const again = await recover('--adopt');
    expect(failed(again.report)).toEqual([]);
    expect(again.report.outcome).toBe('succeeded');
    expect(await differences()).toEqual([]);
  });

  it('one replica’s agent is away: its peer’s copy will do', async () => {
    await loseAll();
    await kill(rig.agents.get('s01r1')!);
    const { report } = await recover('--tables', 'shop.*', '--tables', 'odd-db\\.1.*');
    expect(failed(report)).toEqual([]);
    expect(report.outcome).toBe('succeeded');
    expect(await differences('s01r2')).toEqual([]);
  });
});

/** A file of a copy that shares its blocks with nothing live. */
function partFile(table: string, name: string): string {
  const part = readdirSync(table).find((each) => existsSync(join(table, each, name)));
  const file = join(table, part ?? '', name);
  expect(statSync(file).nlink).toBe(1);
  return file;
}
