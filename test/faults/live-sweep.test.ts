import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BackupServer } from '../support/clickhouse-backup.js';
import { aroundActivities, atStatements, inActivities, sweepCrashes } from '../support/crash-sweep.js';
import { loseDisk, startBackupServers } from '../support/live-backups.js';
import { createLiveDataset } from '../support/live-dataset.js';
import { compareSnapshots, takeSnapshot } from '../support/oracle.js';
import { scratchDir } from '../support/processes.js';
import { CLUSTER, startServersRig, type ServersRig } from '../support/recovery-rig.js';

/** Of every recovery by conversion. */
const ACTIVITIES = [
  'getPolicy',
  'planRecovery',
  'fenceNode',
  'verifyTableParts',
  'restoreTableReplica',
  'validateTables',
  'promoteTables',
  'proveReplication',
  'finishNode',
  'liftFence',
  'saveReport',
];
/** Those that send statements; the others only read. */
const SENDING = [
  'fenceNode',
  'verifyTableParts',
  'restoreTableReplica',
  'promoteTables',
  'proveReplication',
  'finishNode',
  'liftFence',
];
const STATEMENTS = [
  'INSERT INTO `_recovery`.ledger',
  'SYSTEM STOP MERGES',
  'FORMAT Null',
  'CREATE TABLE `_recovery`.`next',
  'ALTER TABLE `_recovery`.`next',
  'RENAME TABLE `_recovery`.`next',
  'CREATE TABLE IF NOT EXISTS `_recovery`.`canary',
  'INSERT INTO `_recovery`.`canary',
  'DROP TABLE IF EXISTS `_recovery`.`canary',
  'RENAME TABLE `_recovery`.`clone',
  'SYSTEM START MERGES',
];
/** Where the table still stands: it is cloned and taken out of the way. */
const STANDING = [
  'CREATE TABLE `_recovery`.`making',
  'ALTER TABLE `_recovery`.`making',
  'RENAME TABLE `_recovery`.`making',
  'DETACH TABLE `shop`',
  'ATTACH TABLE `shop`',
  'RENAME TABLE `shop`',
];
/** Where it comes from a backup. What clickhouse-backup itself is told is no statement: restoreTableData/ack is behind it. */
const RESTORED = [
  'CREATE DATABASE IF NOT EXISTS `shop`',
  'CREATE TABLE `_recovery`.`staging',
  'RENAME TABLE `_recovery`.`staging',
];

describe('on servers that replicate, the worker is killed with SIGKILL [servers]', { timeout: 600_000 }, () => {
  let rig: ServersRig;
  let scratch: ReturnType<typeof scratchDir>;
  let backups: BackupServer[] = [];
  const spent: string[] = [];

  beforeEach(async () => {
    scratch = scratchDir('live-sweep');
    // Every point costs one heartbeat time-out.
    rig = await startServersRig({
      dir: scratch.path,
      shards: 1,
      backups: {},
      policies: { heartbeatTimeoutSeconds: 2 },
    });
    await createLiveDataset(rig.cluster.nodes, { clusterName: CLUSTER, size: 'small' });
  });
  afterEach(async () => {
    await Promise.all(backups.splice(0).map((server) => server.stop()));
    await rig.stop();
    scratch.remove();
  });
  afterAll(() => {
    process.stdout.write(`crash points swept on servers: ${spent.length}\n`);
  });

  const snapshot = () => takeSnapshot({ nodes: rig.cluster.nodes, keeperHosts: rig.ensemble.hosts, live: true });

  async function sweep(lose: () => Promise<unknown>, points: string[], ...args: string[]): Promise<void> {
    const before = await snapshot();
    await lose();
    const { report, missed } = await sweepCrashes(rig, { points, args, markers: join(scratch.path, 'markers') });
    expect([report.problem, ...report.tables.flatMap(({ problem }) => problem ?? [])]).toEqual([undefined]);
    expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
    expect(compareSnapshots(before, await snapshot())).toEqual([]);
    expect(missed, 'points that were never reached').toEqual([]);
    spent.push(...points);
  }

  it.each([
    ['around each activity', aroundActivities(ACTIVITIES)],
    [
      "around each kind of statement, and after each activity's first, before its answer",
      [
        ...inActivities(SENDING),
        ...atStatements([...STANDING, ...STATEMENTS], 'before'),
        ...atStatements([...STANDING, ...STATEMENTS], 'after'),
      ],
    ],
  ])('Keeper metadata lost, %s: nothing is lost, nothing doubled', async (_name, points) => {
    await sweep(async () => {
      await rig.ensemble.stop();
      rig.ensemble.wipe();
      await rig.ensemble.start();
    }, points);
  });

  it('a whole shard lost, around each activity and after each kind of statement: restored from clickhouse-backup, nothing is doubled', async () => {
    backups = await startBackupServers(rig);
    await backups[0]!.create('b1', 'shop.*');
    const points = [
      ...aroundActivities([...ACTIVITIES, 'createDatabases', 'restoreTableData']),
      ...inActivities(['createDatabases', 'restoreTableData']),
      ...atStatements([...RESTORED, ...STATEMENTS], 'after'),
    ];
    await sweep(() => Promise.all([0, 1].map((node) => loseDisk(rig, node))), points, '--backup', 'cb/b1');
  });
});
