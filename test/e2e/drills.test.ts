import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { Client, Connection, ScheduleOverlapPolicy } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { createKeeper, type ClosableKeeper } from '../../src/adapters/keeper/zookeeper.js';
import { createDrillStore } from '../../src/adapters/reports/drill-store.js';
import { fileDocuments } from '../../src/adapters/reports/file-documents.js';
import { drillScheduleId, type DrillReport } from '../../src/domain/drill.js';
import type { ErrorCode, Problem } from '../../src/domain/errors.js';
import { createDataset } from '../support/dataset.js';
import { startEmbeddedCluster, type EmbeddedCluster } from '../support/embedded-cluster.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { scratchDir, stop, waitFor, type Child } from '../support/processes.js';
import { startRecordingProxy, type RecordingProxy } from '../support/recording-proxy.js';
import { CLUSTER, REPOSITORY, startRig, type Rig } from '../support/recovery-rig.js';
import { repoRoot } from '../support/tools.js';
import { runZooKeeper } from '../support/zookeeper-write.js';

const SCRATCH = 'scratch';
const ROOT = '/scratch';
/** The dataset's rows are dated, and last year's. */
const GENEROUS = { rtoSeconds: 600, rpoSeconds: 31_536_000 };
const STRICT = { rtoSeconds: 1, rpoSeconds: 3_600 };

interface Yaml {
  clusters: Record<string, Record<string, unknown> & { nodes: { name: string; url: string }[] }>;
}

let dir: ReturnType<typeof scratchDir>;
let rig: Rig;
let target: EmbeddedCluster;
/** Before the nodes of the source, and of the target: all that the product sends goes through them. */
let production: RecordingProxy[] = [];
let practice: RecordingProxy[] = [];
let keeper: ClosableKeeper;
let before: Snapshot;
let registered: string[];
let worker: Child;

async function ask<Row>(url: string, query: string): Promise<Row[]> {
  const client = createClient({ url, log: { level: ClickHouseLogLevel.OFF } });
  try {
    return await (await client.query({ query, format: 'JSONEachRow' })).json<Row>();
  } finally {
    await client.close();
  }
}

async function send(url: string, query: string): Promise<void> {
  const client = createClient({ url, log: { level: ClickHouseLogLevel.OFF } });
  try {
    await client.command({ query });
  } finally {
    await client.close();
  }
}

const snapshot = () => takeSnapshot({ nodes: rig.nodes, keeperHosts: rig.ensemble.hosts });

/** Every node of the ensemble but sessions and the target's, with what tells it from another that was made in its place. */
async function tree(path = '/'): Promise<string[]> {
  const names = (await keeper.children(path)) ?? [];
  const below = names
    .map((name) => `${path === '/' ? '' : path}/${name}`)
    .filter((each) => each !== ROOT && each !== '/zookeeper' && !each.startsWith('/clickhouse/sessions'));
  const deeper = await Promise.all(below.map(tree));
  return [`${path} ${(await keeper.stamp(path)) ?? ''}`, ...deeper.flat()].sort();
}

/** recovery.yaml with a drill, and a worker that has read it. */
async function configure(
  objectives: { rtoSeconds: number; rpoSeconds: number },
  { chroot = ROOT, urls = practice.map(({ url }) => url) }: { chroot?: string; urls?: string[] } = {},
): Promise<void> {
  const config = parse(readFileSync(rig.configPath, 'utf8')) as Yaml;
  const [source, scratch] = [config.clusters[CLUSTER]!, target.config.clusters[SCRATCH]!];
  config.clusters = {
    [CLUSTER]: {
      ...source,
      nodes: source.nodes.map((node, i) => ({ ...node, url: production[i]!.url })),
      drill: { target: SCRATCH, objectives },
    },
    [SCRATCH]: {
      ...scratch,
      backups: {},
      keeper: { hosts: scratch.keeper.hosts, chroot },
      nodes: scratch.nodes.map((node, i) => ({ ...node, url: urls[i]! })),
      scratch: true,
    },
  };
  writeFileSync(rig.configPath, stringify(config));
  if (worker) await stop(worker, 1_000);
  worker = await rig.startWorker();
}

async function drill(...args: string[]): Promise<{ exitCode: number; report: DrillReport }> {
  const { exitCode, stdout, stderr } = await rig.cli('drill', 'run', '--cluster', CLUSTER, '--wait', '--json', ...args);
  const answer = JSON.parse(stdout) as DrillReport & { error?: Problem };
  if (answer.error) throw new Error(stderr);
  return { exitCode, report: answer };
}

const codes = ({ problems }: DrillReport): ErrorCode[] => problems.map(({ code }) => code);
const backUp = async (name: string) => {
  const { exitCode, stderr } = await rig.cli(
    'backup',
    '--cluster',
    CLUSTER,
    '--to',
    REPOSITORY,
    '--name',
    name,
    '--wait',
  );
  if (exitCode !== 0) throw new Error(stderr);
};

/** As the systems have it: nothing but reads reached production, and there is nothing left in the target. */
async function expectNoTrace(): Promise<void> {
  const changes = production
    .flatMap(({ statements }) => statements)
    .filter((sql) => !/^\s*(SELECT|EXPLAIN)\b/.test(sql));
  expect(changes).toEqual([]);
  expect(compareSnapshots(before, await snapshot())).toEqual([]);
  expect(await tree()).toEqual(registered);
  for (const { url } of target.nodes) {
    const left = `SELECT name FROM system.databases WHERE name NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema', 'default')
      UNION ALL SELECT name FROM system.tables WHERE database = 'default'`;
    expect(await ask(url, left)).toEqual([]);
  }
  expect((await keeper.children(`${ROOT}/clickhouse/tables`)) ?? []).toEqual([]);
}

/** The schedule of the drills, started now, and paused because that one failed. */
async function triggered() {
  const connection = await Connection.connect({ address: rig.temporal.address });
  const handle = new Client({ connection }).schedule.getHandle(drillScheduleId(CLUSTER));
  // As by the clock: without it, drills are started whether one runs or not, and none of them pauses anything.
  await handle.trigger(ScheduleOverlapPolicy.SKIP);
  const { policies, state } = await waitFor(
    async () => {
      const described = await handle.describe();
      return described.state.paused && described;
    },
    { what: 'the schedule to pause', deadlineMs: 120_000 },
  );
  await connection.close();
  return { policies, note: state.note };
}

beforeAll(async () => {
  dir = scratchDir('drills');
  rig = await startRig({ dir: join(dir.path, 'rig'), shards: 2 });
  await runZooKeeper(rig.ensemble.hosts, [{ create: ROOT }, { create: '/elsewhere' }]);
  // Both sides see the place where the backups are.
  mkdirSync(join(dir.path, 'target'));
  symlinkSync(rig.cluster.backupsDir, join(dir.path, 'target/backups'));
  target = await startEmbeddedCluster({
    dir: join(dir.path, 'target'),
    keeperHosts: rig.ensemble.hosts,
    keeperRoot: ROOT,
    shards: 2,
    clusterName: SCRATCH,
  });
  production = await Promise.all(rig.nodes.map(({ url }) => startRecordingProxy(url)));
  practice = await Promise.all(target.nodes.map(({ url }) => startRecordingProxy(url)));
  keeper = createKeeper({ hosts: rig.ensemble.hosts });
  await createDataset(rig.nodes, 'small');
  await configure(GENEROUS);
  await backUp('b1');
  before = await snapshot();
  registered = await tree();
  production.forEach((proxy) => proxy.forget());
});
afterAll(async () => {
  await keeper?.close();
  await Promise.all([...production, ...practice].map((proxy) => proxy.stop()));
  await target?.killAll();
  await rig?.stop();
  dir.remove();
});

describe('drills, with real engines', () => {
  it('a good one: all that the backup holds is restored, measured and gone again; production is only read', async () => {
    const { exitCode, report } = await drill();
    expect([report.outcome, ...report.problems.map(({ message }) => message)]).toEqual(['passed']);
    expect(exitCode).toBe(0);
    const rows = [...before.values()].filter(({ rows, engine }) => rows !== null && !/View$/.test(engine));
    expect(report.restored.rows).toBe(rows.reduce((sum, { rows }) => sum + Number(rows), 0));
    expect(report).toMatchObject({
      backup: { repository: REPOSITORY, name: 'b1' },
      rpo: { basis: 'newest row', newestRow: '2026-05-10T12:13:20.000Z' },
      missing: { rows: 0, tables: [] },
      lost: { rows: 0, tables: [] },
      leftOut: [],
      cleanedUp: true,
    });
    expect(report.rtoSeconds).toBeGreaterThan(0);
    expect(report.stages.map(({ seconds }) => seconds)).toEqual(Array(5).fill(expect.any(Number)));
    await expectNoTrace();
    // The proxy is in the way: what is sent to the target goes through it.
    expect(practice.flatMap(({ statements }) => statements).some((sql) => sql.includes('RESTORE TABLE'))).toBe(true);
    const listed = await rig.cli('drill', 'list', '--cluster', CLUSTER);
    expect(listed.stdout).toMatch(/^schedule: none\nlast good drill: [\d.]+ s ago\n2026-.* {2}passed {4}RTO .*RPO/);
  });

  it('by a schedule, of a backup that lacks a table, is too old, and takes too long: fails for all three, and pauses it', async () => {
    const [first] = rig.nodes;
    await send(first!.url, 'DETACH TABLE shop.local');
    await backUp('b2');
    await send(first!.url, 'ATTACH TABLE shop.local');
    production.forEach((proxy) => proxy.forget());
    await configure(STRICT);
    const run = async (...args: string[]) => (await rig.cli('drill', ...args, '--cluster', CLUSTER)).stdout;
    const cron = ['--cron', '0 4 * * 0'];
    expect(await run('schedule', ...cron)).toMatch(/^scheduled drills of demo: next 20.*T04:00:00/);
    expect(await run('schedule', ...cron)).toMatch(/^changed the schedule of drills of demo: next 20.*T04:00:00/);
    const { policies, note } = await triggered();
    expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: 600_000, pauseOnFailure: true });
    expect(note).toContain('older than the backup and not in it: shop.local');
    const [report] = await createDrillStore(fileDocuments(join(rig.dir, 'reports'))).list(CLUSTER, 1);
    expect([report!.outcome, codes(report!)]).toEqual([
      'failed',
      ['DRILL_DATA_MISSING', 'DRILL_RTO_MISSED', 'DRILL_RPO_MISSED'],
    ]);
    expect(report!.problems[0]?.objects).toEqual(['shop.local @ 01']);
    expect(report!.lost).toMatchObject({ rows: 100, tables: [{ table: 'local', shard: '01', rows: 100 }] });
    expect(report!.missing).toEqual({ rows: 0, tables: [] });
    expect(await run('list')).toMatch(
      /^schedule: PAUSED: .*shop\.local[^]*\nlast good drill: .* ago\n.* {2}failed .*DRILL_DATA_MISSING/,
    );
    expect(await run('schedule', ...cron)).toMatch(/^changed the schedule of drills of demo: next 20/);
    expect(await run('unschedule')).toBe('drills of demo are no longer scheduled\n');
    expect(await run('unschedule')).toBe('drills of demo were not scheduled\n');
    await expectNoTrace();
  });

  it('a backup with a broken part: fails with what the recovery says of it, and is clean', async () => {
    await configure(GENEROUS);
    await backUp('b3');
    production.forEach((proxy) => proxy.forget());
    const folder = join(rig.cluster.backupsDir, CLUSTER, '01/b3');
    const [victim] = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /shop\/parts\/.*\/data\.bin$/.test(name),
    );
    const file = join(folder, victim!);
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1]! ^= 0xff;
    writeFileSync(file, bytes);
    const { exitCode, report } = await drill();
    // Later ones restore it again.
    bytes[bytes.length >> 1]! ^= 0xff;
    writeFileSync(file, bytes);
    expect([report.outcome, report.problems[0]?.message]).toEqual(['failed', expect.stringContaining('shop.parts')]);
    expect(exitCode).toBeGreaterThan(0);
    await expectNoTrace();
  });

  it('no such backup: fails', async () => {
    const { exitCode, report } = await drill('--backup', `${REPOSITORY}/never-taken`);
    expect([exitCode, report.outcome, codes(report)]).toEqual([2, 'failed', ['BACKUP_UNKNOWN']]);
    await expectNoTrace();
  });

  it('the worker is killed in the restore and in the clean-up: the drill ends, and the target is clean', async () => {
    await stop(worker, 1_000);
    const markers = join(dir.path, 'markers');
    mkdirSync(markers);
    const points = ['activity/restoreTableReplica/statement', 'activity/cleanDrillTarget/statement'];
    const run = drill();
    for (const point of points) {
      const doomed = await rig.startWorker({
        script: join(repoRoot, 'test/support/crash-worker.ts'),
        workerEnv: { CRASH_POINTS: JSON.stringify([point]), CRASH_DIR: markers },
      });
      await doomed.exited;
    }
    worker = await rig.startWorker();
    const { report } = await run;
    expect(readdirSync(markers)).toHaveLength(2);
    expect([report.outcome, ...report.problems.map(({ message }) => message)]).toEqual(['passed']);
    await expectNoTrace();
  });

  it('what would reach outside or act by itself is left out, by name, and nothing outside hears of it', async () => {
    const [first] = rig.nodes;
    const heard: string[] = [];
    const outside = createServer((request, response) => {
      heard.push(`${request.method} ${request.url}`);
      request.resume().on('end', () => response.end('1\n'));
    });
    await new Promise<void>((resolve) => outside.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(outside.address() as AddressInfo).port}`;
    for (const sql of [
      'CREATE DATABASE shop2 ENGINE = Atomic',
      'CREATE TABLE shop2.kept ENGINE = MergeTree ORDER BY n AS SELECT number AS n FROM numbers(11)',
      `CREATE TABLE shop2.feed (n UInt64) ENGINE = URL('${url}/feed', 'CSV')`,
      'CREATE MATERIALIZED VIEW shop2.pushed TO shop2.feed AS SELECT n FROM shop2.kept',
      'CREATE MATERIALIZED VIEW shop2.ticking REFRESH EVERY 1 SECOND APPEND TO shop2.feed AS SELECT 1 AS n',
      `CREATE VIEW shop2.pulled AS SELECT * FROM url('${url}/pulled', 'CSV', 'n UInt64')`,
      `CREATE DICTIONARY shop2.rates (n UInt64, p UInt64) PRIMARY KEY n SOURCE(HTTP(URL '${url}/rates' FORMAT 'CSV')) LIFETIME(1) LAYOUT(FLAT())`,
    ])
      await send(first!.url, sql);
    await backUp('b4');
    await send(first!.url, 'DROP DATABASE shop2 SYNC');
    production.forEach((proxy) => proxy.forget());
    heard.length = 0;
    const { report } = await drill('--backup', `${REPOSITORY}/b4`);
    await new Promise((resolve) => outside.close(resolve));
    expect([report.outcome, ...report.problems.map(({ message }) => message)]).toEqual(['passed']);
    expect(Object.fromEntries(report.leftOut!.map(({ table, why }) => [table, why]))).toEqual({
      feed: expect.stringMatching(/^the engine URL/) as string,
      pushed: expect.stringMatching(/^it depends on shop2\.feed/) as string,
      ticking: expect.stringMatching(/^it refreshes by itself/) as string,
      pulled: expect.stringMatching(/calls url/) as string,
      rates: expect.stringMatching(/^its source HTTP/) as string,
    });
    expect(heard).toEqual([]);
    expect(practice.flatMap(({ statements }) => statements).some((sql) => /TABLE.*shop2.*kept/.test(sql))).toBe(true);
    await expectNoTrace();
  });

  it('a recovery of the target by hand, without a drill: refused before the first change', async () => {
    practice.forEach((proxy) => proxy.forget());
    const by = ['--cluster', `${CLUSTER}@${SCRATCH}`, '--backup', `${REPOSITORY}/b1`];
    const { exitCode, stdout } = await rig.cli('start', ...by, '--yes', '--wait', '--json');
    expect([exitCode, JSON.parse(stdout)]).toMatchObject([3, { problem: { code: 'DRILL_TARGET_UNSAFE' } }]);
    const changes = practice
      .flatMap(({ statements }) => statements)
      .filter((sql) => !/^\s*(SELECT|EXPLAIN)\b/.test(sql));
    expect(changes).toEqual([]);
    await expectNoTrace();
  });

  it('what no drill made stays, and the drill is refused', async () => {
    const [first] = target.nodes;
    await send(first!.url, 'CREATE DATABASE precious ENGINE = Atomic');
    await send(
      first!.url,
      'CREATE TABLE precious.rows ENGINE = MergeTree ORDER BY number AS SELECT number FROM numbers(7)',
    );
    const { exitCode, report } = await drill();
    expect([exitCode, codes(report)]).toEqual([3, ['DRILL_TARGET_NOT_EMPTY']]);
    expect(await ask(first!.url, 'SELECT count() AS n FROM precious.rows')).toEqual([{ n: 7 }]);
    await send(first!.url, 'DROP DATABASE precious SYNC');
    await expectNoTrace();
  });

  it('a target that is production by another name: refused, and only reads were sent', async () => {
    const aliases = await Promise.all(rig.nodes.map(({ url }) => startRecordingProxy(url)));
    await configure(GENEROUS, { chroot: '/elsewhere', urls: aliases.map(({ url }) => url) });
    const { exitCode, report } = await drill();
    expect([exitCode, codes(report), report.cleanedUp]).toEqual([3, ['DRILL_TARGET_UNSAFE'], null]);
    expect(aliases.flatMap(({ statements }) => statements).filter((sql) => !/^\s*SELECT\b/.test(sql))).toEqual([]);
    await expectNoTrace();
    await Promise.all(aliases.map((proxy) => proxy.stop()));
  });

  it('a target that has production’s address by another name: refused', async () => {
    const urls = production.map(({ url }) => url.replace('127.0.0.1', 'localhost'));
    await configure(GENEROUS, { chroot: '/elsewhere', urls });
    const { report } = await drill();
    expect([codes(report), report.problems[0]?.message]).toEqual([
      ['DRILL_TARGET_UNSAFE'],
      expect.stringMatching(/lead to one address, 127\.0\.0\.1 /),
    ]);
    await expectNoTrace();
  });

  it('a target in another chroot than the configuration says: refused before anything is restored', async () => {
    await configure(GENEROUS, { chroot: '/elsewhere' });
    practice.forEach((proxy) => proxy.forget());
    const { exitCode, report } = await drill();
    expect([exitCode, codes(report)]).toEqual([3, ['DRILL_TARGET_UNSAFE']]);
    expect(practice.flatMap(({ statements }) => statements).filter((sql) => /RESTORE|STOP/.test(sql))).toEqual([]);
    await expectNoTrace();
  });
});
