import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ColdProgress, ColdReport } from '../../src/domain/cold.js';
import { startColdRig, type ColdRig } from '../support/cold-rig.js';
import { createLiveDataset } from '../support/live-dataset.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { kill, scratchDir, waitFor } from '../support/processes.js';
import { CLUSTER } from '../support/recovery-rig.js';
import { repoRoot } from '../support/tools.js';

/** Two replicas of ClickHouse 18.16.1 and a ZooKeeper ensemble of three; agents and workers die in the middle. */
describe('cold copies, and something dies in the middle [servers]', { timeout: 300_000 }, () => {
  const scratch = scratchDir('cold-faults');
  let rig: ColdRig;
  let before: Snapshot;
  /** Called with every command of an agent; a test sets it. */
  let onCommand: Parameters<ColdRig['onCommand']>[0] = () => undefined;

  beforeAll(async () => {
    // Agents of which half a dozen start at once take their time.
    rig = await startColdRig(scratch.path, { agentTimeoutSeconds: 20 });
    rig.onCommand((verb, host) => onCommand(verb, host));
    await createLiveDataset(rig.cluster.nodes, { clusterName: CLUSTER, size: 'small' });
    before = await snapshot();
  });
  afterAll(async () => {
    await rig?.stop();
    scratch.remove();
  });

  const snapshot = () => takeSnapshot({ nodes: rig.cluster.nodes, keeperHosts: rig.ensemble.hosts, live: true });
  const run = (...args: string[]) => rig.cold<ColdReport>(...args, '--cluster', CLUSTER, '--yes', '--wait');

  async function expectWhole(): Promise<void> {
    expect([
      ...rig.cluster.nodes.map(({ running }) => running),
      ...rig.ensemble.servers.map((s) => s.isRunning),
    ]).toEqual(Array.from({ length: 5 }, () => true));
    const differences = async () => compareSnapshots(before, await snapshot());
    await waitFor(async () => (await differences()).length === 0, { what: 'as before', deadlineMs: 60_000 }).catch(
      async () => expect(await differences()).toEqual([]),
    );
  }

  /**
   * Worker and agents that are started again whenever they end, as by a service manager. The worker, and the agents of one
   * ClickHouse and one ZooKeeper server, end at each point once.
   */
  async function underSupervision<T>(
    name: string,
    { agentPoints, workerPoints }: { agentPoints: string[]; workerPoints: string[] },
    body: () => Promise<T>,
  ): Promise<T> {
    const markers = join(scratch.path, name);
    mkdirSync(markers);
    let over = false;
    const supervise = async (launch: () => Promise<{ exited: Promise<unknown> }>) => {
      while (!over) await (await launch()).exited;
    };
    const script = (file: string) => join(repoRoot, 'test/support', file);
    const env = { CRASH_DIR: markers };
    const children = [
      ...['s01r1', 'zk1'].map((host) =>
        supervise(() =>
          rig.startAgent(host, {
            script: script('crash-agent.ts'),
            env: { ...env, CRASH_POINTS: JSON.stringify(agentPoints) },
          }),
        ),
      ),
      ...rig.hosts.filter((host) => !['s01r1', 'zk1'].includes(host)).map((host) => rig.startAgent(host)),
      supervise(() =>
        rig.startWorker({
          script: script('crash-worker.ts'),
          workerEnv: { ...env, CRASH_POINTS: JSON.stringify(workerPoints) },
        }),
      ),
    ];
    const result = await body();
    over = true;
    await rig.stopAgents();
    await Promise.all(rig.workers.map((worker) => kill(worker)));
    await Promise.allSettled(children);
    const spent = readdirSync(markers).map(decodeURIComponent);
    const missed = [
      ...agentPoints.flatMap((point) => (spent.some((each) => each.endsWith(` ${point}`)) ? [] : [point])),
      ...workerPoints.filter((point) => !spent.includes(point)),
    ];
    expect(missed).toEqual([]);
    return result;
  }

  /** After its last step, before Temporal hears of it: whoever comes next does it again. */
  const after = (...types: string[]) => types.map((type) => `${type}/ack`);
  const activities = (...types: string[]) => after(...types).map((point) => `activity/${point}`);

  it('a backup: agents and the worker are killed in each of their steps', async () => {
    const { result, stderr } = await underSupervision(
      'backup',
      {
        agentPoints: [
          'copyTrees/start',
          ...after('stopService', 'copyTrees', 'commitCopy', 'startService', 'checkParts'),
        ],
        workerPoints: ['activity/awaitNode/start', ...activities('coldTables', 'coldKeeperParts', 'liftFence')],
      },
      () => run('backup', '--name', 'g1'),
    );
    expect(result, stderr).toMatchObject({ outcome: 'succeeded', clusterUp: true });
    await expectWhole();
    expect((await rig.cli('cold', 'verify', join(rig.copies, 'g1'))).stdout).toContain('every file is what was copied');
  });

  it('a restore of what was lost: the same', async () => {
    await rig.cluster.killAll();
    await rig.ensemble.stop();
    rig.ensemble.wipe();
    for (const node of rig.cluster.nodes.keys()) rig.cluster.wipeNodeData(node);
    const { result, stderr } = await underSupervision(
      'restore',
      {
        agentPoints: ['swapTrees/start', ...after('stageTrees', 'stopService', 'swapTrees', 'startService')],
        workerPoints: activities('differsInKeeper', 'awaitNode'),
      },
      () => run('restore', '--copy', 'g1'),
    );
    expect(result, stderr).toMatchObject({ outcome: 'succeeded', clusterUp: true });
    await expectWhole();
  });

  it('an agent dies for good while its host is down: the others come up, a person is told, and what they start by hand counts', async () => {
    rig.setAgentTimeout(5);
    await rig.startWorker();
    await rig.startAgents();
    onCommand = async (verb, host) => {
      // The last to be stopped is ZooKeeper: from here on this host's server is down, and nobody there to start it.
      if (verb === 'stop' && host === 'zk1') rig.agents.get('s01r2')!.signal('SIGKILL');
    };
    const started = await rig.cold<{ id: string }>('backup', '--cluster', CLUSTER, '--yes');
    const status = async () => (await rig.cold<ColdProgress>('status', started.result.id)).result;
    // Others may be late, too, for a moment.
    const isTold = async () =>
      /ch-recover agent --node s01r2.*or the service itself/s.test((await status()).attention.join());
    await waitFor(isTold, { what: 'attention to s01r2', deadlineMs: 120_000 });
    onCommand = () => undefined;
    await waitFor(() => rig.cluster.nodes[0]!.running && rig.ensemble.servers.every((each) => each.isRunning), {
      what: 'all others to be up',
      deadlineMs: 60_000,
    });
    await rig.cluster.startNode(1);
    await waitFor(async () => (await status()).report !== null, { what: 'the end', deadlineMs: 120_000 });
    const { report } = await status();
    expect(report).toMatchObject({ outcome: 'failed', clusterUp: true, problem: { code: 'AGENT_UNAVAILABLE' } });
    await rig.startAgents();
    await expectWhole();
    expect(readdirSync(rig.copies)).not.toContain(report!.generation);
  });

  it('an abort while all is down brings it up again', async () => {
    let id = '';
    onCommand = async (verb, host) => {
      if (verb === 'stop' && host === 'zk1') await rig.cli('abort', id);
    };
    id = (await rig.cold<{ id: string }>('backup', '--cluster', CLUSTER, '--yes')).result.id;
    const status = async () => (await rig.cold<ColdProgress>('status', id)).result;
    await waitFor(async () => (await status())?.report, { what: 'the end', deadlineMs: 120_000 });
    onCommand = () => undefined;
    const { report } = await status();
    expect(report).toMatchObject({ outcome: 'aborted', clusterUp: true });
    await expectWhole();
    expect(readdirSync(rig.copies)).not.toContain(report!.generation);
  });

  it('the disk is full while it copies: a clear error, the cluster up, nothing left behind', async (context) => {
    const small = join(scratch.path, 'small-disk');
    mkdirSync(small);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=700m', 'tmpfs', small], { stdio: 'pipe' });
    } catch (cause) {
      console.warn(`skipped: a small disk cannot be mounted here (${String((cause as Error).message).split('\n')[1]})`);
      return context.skip('mounting is not allowed');
    }
    try {
      await rig.stopAgents();
      rig.configureAgents({ copies: small });
      await rig.startAgents();
      // There was space when it was planned.
      onCommand = (verb, host) => {
        if (verb === 'stop' && host === 'zk1') writeFileSync(join(small, 'other'), Buffer.alloc(680 * 1024 * 1024));
      };
      const { exitCode, result } = await run('backup', '--name', 'g2');
      expect(result).toMatchObject({ outcome: 'needs-operator', clusterUp: true, problem: { code: 'COPY_NO_SPACE' } });
      expect(result.problem?.message).toMatch(/no space is left/);
      expect(exitCode).toBe(3);
      await expectWhole();
      expect(readdirSync(small).filter((name) => name !== 'other')).toEqual([]);
    } finally {
      onCommand = () => undefined;
      await rig.stopAgents();
      rmSync(join(small, 'other'), { force: true });
      execFileSync('umount', [small]);
    }
  });
});
