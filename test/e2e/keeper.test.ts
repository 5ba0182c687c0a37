import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import ZooKeeper from 'zookeeper';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createKeeper, type ClosableKeeper, type KeeperOptions } from '../../src/adapters/keeper/zookeeper.js';
import { scratchDir, waitFor, type ScratchDir } from '../support/processes.js';
import { repoRoot } from '../support/tools.js';
import { runZooKeeper } from '../support/zookeeper-write.js';
import { fourLetterWord, startEnsemble, type Ensemble } from '../support/zookeeper-ensemble.js';

const CHILDREN = 4_000;

describe('the Keeper port on a real ensemble', () => {
  let dir: ScratchDir;
  let ensemble: Ensemble;
  const open: ClosableKeeper[] = [];

  const keeperOf = (options: Partial<KeeperOptions> = {}) => {
    const keeper = createKeeper({ hosts: ensemble.hosts, ...options });
    open.push(keeper);
    return keeper;
  };

  beforeAll(async () => {
    dir = scratchDir('tcr-keeper');
    ensemble = await startEnsemble({ dir: dir.path, size: 3 });
    await fill(ensemble.connectString);
  });
  afterEach(async () => {
    await Promise.all(open.splice(0).map((keeper) => keeper.close()));
  });
  afterAll(async () => {
    await ensemble.stop();
    dir.remove();
  });

  it('reads nodes, 4,000 children and Unicode, and tells what is absent', async () => {
    const keeper = keeperOf();
    expect(await keeper.get('/ch/a')).toBe('zażółć');
    expect(await keeper.get('/ch/empty')).toBe('');
    expect(await keeper.exists('/ch/a')).toBe(true);
    expect((await keeper.children('/ch/many'))?.length).toBe(CHILDREN);
    expect(await keeper.children('/ch/a')).toEqual([]);
    expect(await keeper.exists('/ch/absent')).toBe(false);
    expect(await keeper.children('/ch/absent')).toBeNull();
    expect(await keeper.get('/ch/absent')).toBeNull();
  });

  it('keeps to its chroot', async () => {
    expect(await keeperOf({ chroot: '/ch' }).get('/a')).toBe('zażółć');
    expect(await keeperOf({ chroot: '/absent' }).exists('/a')).toBe(false);
  });

  it.each(['', 'ch', '/ch/', '/ch\0x', '/ch//a', '/../a'])('refuses the path %j', async (path) => {
    await expect(keeperOf().exists(path)).rejects.toMatchObject({ code: 'INTERNAL' });
  });

  it('deletes what a dead replica left, and nothing under which somebody lives', async () => {
    const keeper = keeperOf();
    const table = '/stale/t';
    const [dead, alive] = [`${table}/replicas/r1`, `${table}/replicas/r2`];
    await runZooKeeper(ensemble.hosts, [{ create: `${dead}/parts/all_0_0_0` }, { create: `${alive}/is_active` }]);
    await expect(keeper.deleteStale(alive, 'replica')).rejects.toMatchObject({ code: 'REPLICA_ACTIVE' });
    await expect(keeper.deleteStale(table, 'table')).rejects.toMatchObject({ code: 'REPLICA_ACTIVE' });
    expect(await keeper.children(`${table}/replicas`)).toEqual(expect.arrayContaining(['r1', 'r2']));
    for (let twice = 0; twice < 2; twice++) await keeper.deleteStale(dead, 'replica');
    expect(await keeper.children(`${table}/replicas`)).toEqual(['r2']);
    expect(await keeper.exists(`${alive}/is_active`)).toBe(true);
    await runZooKeeper(ensemble.hosts, [{ remove: alive }]);
    await keeper.deleteStale(table, 'table');
    expect(await keeper.exists(table)).toBe(false);
  });

  it('deletes no table that lies below another’s path', async () => {
    const keeper = keeperOf();
    const [outer, inner] = ['/nested/01', '/nested/01/b'];
    // Nobody is registered: inner's server is about to be.
    const below = [`${inner}/metadata`, `${inner}/replicas`];
    await runZooKeeper(
      ensemble.hosts,
      [...below, `${outer}/metadata`].map((create) => ({ create })),
    );
    await expect(keeper.deleteStale(outer, 'table')).rejects.toMatchObject({
      code: 'REPLICA_ACTIVE',
      message: expect.stringContaining(inner) as string,
    });
    expect(await keeper.children(outer)).toEqual(expect.arrayContaining(['b', 'metadata']));
    // Where only inner's own are left, outer's table is gone.
    await runZooKeeper(ensemble.hosts, [{ remove: `${outer}/metadata` }]);
    await keeper.deleteStale(outer, 'table');
    expect(await Promise.all(below.map((path) => keeper.exists(path)))).toEqual([true, true]);
  });

  it('answers 1,000 calls at once, with few requests more than that', async () => {
    const keeper = keeperOf();
    await keeper.exists('/ch');
    const before = await packets(ensemble);
    const answers = await Promise.all(Array.from({ length: 1_000 }, (_, i) => keeper.exists(`/ch/many/part_${i}`)));
    expect(answers.every(Boolean)).toBe(true);
    expect((await packets(ensemble)) - before).toBeLessThan(1_200);
  });

  it('sees what another session wrote just before, whichever servers the two are on', async () => {
    const readers = ensemble.hosts.map((host) => keeperOf({ hosts: [host] }));
    for (let i = 0; i < 20; i++) {
      await withZooKeeper(ensemble.hosts[i % 3]!, (client) => client.create(`/ch/fresh-${i}`, '', 0));
      expect(await Promise.all(readers.map((reader) => reader.exists(`/ch/fresh-${i}`)))).toEqual([true, true, true]);
    }
  });

  it('goes to another server when its own is killed, or hangs', async () => {
    const keeper = keeperOf({ sessionTimeoutMs: 4_000 });
    for (const index of [0, 1, 2]) {
      await ensemble.killServer(index);
      expect(await keeper.exists('/ch/a')).toBe(true);
      await ensemble.startServer(index);
      await ensemble.waitUntilServing();
      ensemble.pause(index);
      expect(await keeper.exists('/ch/a')).toBe(true);
      ensemble.resume(index);
      await ensemble.waitUntilServing();
    }
  });

  it.each(['killed', 'paused'] as const)(
    'is KEEPER_UNAVAILABLE in time while all servers are %s, and works again after',
    async (how) => {
      const keeper = keeperOf({ deadlineMs: 3_000, sessionTimeoutMs: 4_000 });
      expect(await keeper.exists('/ch/a')).toBe(true);
      for (const index of [0, 1, 2]) {
        if (how === 'killed') await ensemble.killServer(index);
        else ensemble.pause(index);
      }
      for (let i = 0; i < 2; i++) {
        const started = performance.now();
        const calls = [keeper.exists('/ch/a'), keeper.children('/ch'), keeper.get('/ch/absent')];
        const answers = await Promise.allSettled(calls);
        expect(performance.now() - started).toBeLessThan(4_000);
        for (const answer of answers)
          expect(answer).toMatchObject({ status: 'rejected', reason: { code: 'KEEPER_UNAVAILABLE' } });
      }
      // Longer than the session lives.
      await delay(how === 'killed' ? 6_000 : 0);
      if (how === 'killed') await ensemble.start();
      else [0, 1, 2].forEach((index) => ensemble.resume(index));
      await ensemble.waitUntilServing();
      // Servers that were paused may elect a leader first, each waiting for the others a minute long.
      const answer = await waitFor(() => keeper.get('/ch/a'), { what: 'an answer', deadlineMs: 120_000 });
      expect(answer).toBe('zażółć');
    },
  );

  it('is KEEPER_UNAVAILABLE without a quorum, once the one server left has noticed', async () => {
    const keeper = keeperOf({ deadlineMs: 3_000 });
    expect(await keeper.exists('/ch/a')).toBe(true);
    await ensemble.killServer(0);
    await ensemble.killServer(1);
    const refused = () =>
      keeper.exists('/ch/absent').then(
        () => null,
        (error: unknown) => error,
      );
    expect(await waitFor(refused, { what: 'a refusal', deadlineMs: 20_000 })).toMatchObject({
      code: 'KEEPER_UNAVAILABLE',
    });
    await ensemble.start();
    expect(await keeper.exists('/ch/absent')).toBe(false);
  });

  it('is KEEPER_UNAVAILABLE for the calls of a process that was killed, and starts another', async () => {
    const keeper = keeperOf();
    expect(await keeper.exists('/ch/a')).toBe(true);
    const children = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .map(Number);
    const pid = children.find((child) => readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('keeper-process'));
    process.kill(pid!, 'SIGSTOP');
    const call = keeper.exists('/ch/a');
    process.kill(pid!, 'SIGKILL');
    await expect(call).rejects.toMatchObject({ code: 'KEEPER_UNAVAILABLE' });
    expect(await keeper.exists('/ch/a')).toBe(true);
  });

  it('outlives its session: idle, expired, closed', async () => {
    const keeper = keeperOf({ idleMs: 200 });
    expect(await keeper.exists('/ch/a')).toBe(true);
    await delay(600);
    expect(await keeper.exists('/ch/a')).toBe(true);
    await keeper.close();
    expect(await keeper.exists('/ch/a')).toBe(true);
    await keeper.close();
    await keeper.close();
  });

  it('is KEEPER_UNAVAILABLE for names that cannot be resolved, without blocking the process', async () => {
    let longestMs = 0;
    let last = performance.now();
    const ticks = setInterval(() => {
      longestMs = Math.max(longestMs, performance.now() - last);
      last = performance.now();
    }, 20);
    await expect(
      keeperOf({ hosts: ['no-such-host.invalid:2181'], deadlineMs: 1_000 }).exists('/'),
    ).rejects.toMatchObject({
      code: 'KEEPER_UNAVAILABLE',
    });
    clearInterval(ticks);
    expect(longestMs).toBeLessThan(500);
    expect(await keeperOf({ hosts: ['no-such-host.invalid:2181', ...ensemble.hosts] }).exists('/ch/a')).toBe(true);
  });

  it('prints nothing and lets the process exit after close, with an ensemble or without', async () => {
    const script = `
      import { createKeeper } from ${JSON.stringify(`${repoRoot}/src/adapters/keeper/zookeeper.ts`)};
      const keepers = [
        createKeeper({ hosts: ${JSON.stringify(ensemble.hosts)} }),
        createKeeper({ hosts: ['127.0.0.1:1'], deadlineMs: 1500 }),
      ];
      const answers = await Promise.allSettled(keepers.map((keeper) => keeper.get('/ch/a')));
      await Promise.all(keepers.map((keeper) => keeper.close()));
      console.log(JSON.stringify(answers.map(({ value, reason }) => value ?? reason.code)));
    `;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: repoRoot,
      timeout: 30_000,
    });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk) => (out += String(chunk)));
    child.stderr.on('data', (chunk) => (err += String(chunk)));
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(out).toBe('["zażółć","KEEPER_UNAVAILABLE"]\n');
    expect(err).toBe('');
  });
});

/** Received from all clients, ourselves asking among them. */
async function packets({ servers }: Ensemble): Promise<number> {
  const answers = await Promise.all(servers.map(({ clientPort }) => fourLetterWord(clientPort, 'mntr')));
  return answers.reduce((sum, answer) => sum + Number(/^zk_packets_received\t(\d+)/m.exec(answer)?.[1]), 0);
}

async function fill(connectString: string): Promise<void> {
  await withZooKeeper(connectString, async (client) => {
    await client.create('/ch', '', 0);
    await client.create('/ch/a', 'zażółć', 0);
    await client.create('/ch/empty', '', 0);
    await client.create('/ch/many', '', 0);
    await Promise.all(Array.from({ length: CHILDREN }, (_, i) => client.create(`/ch/many/part_${i}`, '', 0)));
  });
}

async function withZooKeeper<T>(connect: string, use: (client: ZooKeeper) => Promise<T>): Promise<T> {
  const client = new ZooKeeper({ connect, timeout: 10_000, debug_level: 0, host_order_deterministic: false });
  client.init({});
  try {
    await waitFor(() => client.state === ZooKeeper.constants.ZOO_CONNECTED_STATE, {
      what: 'a session',
      deadlineMs: 20_000,
      everyMs: 10,
    });
    return await use(client);
  } finally {
    client.close();
  }
}
