import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { Client, Connection } from '@temporalio/client';
import ZooKeeper from 'zookeeper';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { scratchDir, waitFor, type ScratchDir } from '../support/processes.js';
import { startTemporalServer } from '../support/temporal-server.js';
import { repoRoot } from '../support/tools.js';
import { startEnsemble, type Ensemble } from '../support/zookeeper-ensemble.js';

const isAlive = (pid: number) =>
  existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));

describe('a ZooKeeper ensemble of three', () => {
  let dir: ScratchDir;
  let ensemble: Ensemble;

  beforeAll(async () => {
    dir = scratchDir('tcr-support');
    ensemble = await startEnsemble({ dir: dir.path, size: 3 });
  });

  afterAll(async () => {
    const pids = ensemble.servers.map(({ pid }) => pid);
    await ensemble.stop();
    for (const pid of pids) if (pid !== undefined) expect(isAlive(pid)).toBe(false);
    dir.remove();
  });

  it('elects another leader when the leader is killed, and takes it back as a follower', async () => {
    const first = await ensemble.leader();
    await ensemble.killServer(first);
    const second = await ensemble.leader();
    expect(second).not.toBe(first);
    await ensemble.startServer(first);
    expect(await ensemble.leader()).toBe(second);
    expect(ensemble.servers.every(({ isRunning }) => isRunning)).toBe(true);
  });

  it('elects another leader when the leader hangs', async () => {
    const first = await ensemble.leader();
    ensemble.pause(first);
    expect(await ensemble.leader()).not.toBe(first);
    ensemble.resume(first);
    await ensemble.waitUntilServing();
  });

  it('keeps its data over a stop of all servers, and loses it when wiped', async () => {
    await withZooKeeper(ensemble, (client) => client.create('/kept', 'x', 0));
    await ensemble.stop();
    await ensemble.start();
    expect(await withZooKeeper(ensemble, (client) => client.get_children('/', false))).toContain('kept');

    expect(() => ensemble.wipe()).toThrow('stop the ensemble');
    await ensemble.stop();
    ensemble.wipe();
    expect(readdirSync(ensemble.servers[0]!.dataDir)).toContain('myid');
    await ensemble.start();
    expect(await withZooKeeper(ensemble, (client) => client.get_children('/', false))).not.toContain('kept');
  });
});

describe('a Temporal server', () => {
  let dir: ScratchDir;

  beforeAll(() => {
    dir = scratchDir('tcr-support');
  });
  afterAll(() => dir.remove());

  it('keeps its workflows over a restart and over a crash, and its address', async () => {
    const server = await startTemporalServer({ dir: dir.path, ui: true, searchAttributes: { TestCluster: 'Keyword' } });
    const pids = [server.pid];
    await startWorkflow(server.address, 'before-restart');
    await server.restart();
    pids.push(server.pid);
    expect(await statusOf(server.address, 'before-restart')).toBe('RUNNING');
    expect((await fetch(server.uiAddress!)).status).toBe(200);

    await startWorkflow(server.address, 'before-crash');
    await server.kill();
    await server.start();
    pids.push(server.pid);
    expect(await statusOf(server.address, 'before-crash')).toBe('RUNNING');

    await server.stop();
    expect(new Set(pids).size).toBe(3);
    expect(pids.filter(isAlive)).toEqual([]);
  });
});

describe('a child process', () => {
  let dir: ScratchDir;

  beforeAll(() => {
    dir = scratchDir('tcr-support');
  });
  afterAll(() => dir.remove());

  it.skipIf(process.platform !== 'linux').each(['SIGTERM', 'SIGKILL'])(
    'ends with its parent, when that gets %s',
    async (signal) => {
      const support = `${repoRoot}/test/support/processes.ts`;
      const script = `
      import { start } from ${JSON.stringify(support)};
      const child = await start({ name: 'sleep', command: 'sleep', args: ['600'], logFile: '/dev/null' });
      console.log(child.pid);
      process.kill(process.pid, '${signal}');
      setTimeout(() => {}, 60_000);
    `;
      const parent = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
        cwd: repoRoot,
        encoding: 'utf8',
      });
      const pid = Number(parent.stdout);
      expect(pid, parent.stderr).toBeGreaterThan(0);
      await waitFor(() => !isAlive(pid), { what: 'the end of the child', deadlineMs: 5_000 });
    },
  );
});

async function startWorkflow(address: string, workflowId: string): Promise<void> {
  await withTemporal(address, (client) =>
    client.workflow.start('nobody-runs-this', {
      workflowId,
      taskQueue: 'none',
      searchAttributes: { TestCluster: ['prod'] },
    }),
  );
}

function statusOf(address: string, workflowId: string): Promise<string> {
  return withTemporal(address, async (client) => (await client.workflow.getHandle(workflowId).describe()).status.name);
}

async function withTemporal<T>(address: string, use: (client: Client) => Promise<T>): Promise<T> {
  const connection = await Connection.connect({ address });
  try {
    return await use(new Client({ connection }));
  } finally {
    await connection.close();
  }
}

async function withZooKeeper<T>(ensemble: Ensemble, use: (client: ZooKeeper) => Promise<T>): Promise<T> {
  const client = new ZooKeeper({
    connect: ensemble.connectString,
    timeout: 5_000,
    debug_level: ZooKeeper.constants.ZOO_LOG_LEVEL_ERROR,
    host_order_deterministic: false,
  });
  client.init({});
  try {
    await waitFor(() => client.state === ZooKeeper.constants.ZOO_CONNECTED_STATE, {
      what: 'a ZooKeeper session',
      deadlineMs: 20_000,
    });
    return await use(client);
  } finally {
    client.close();
  }
}
