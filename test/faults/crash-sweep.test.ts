import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sweepCrashes } from '../support/crash-sweep.js';
import { createDataset } from '../support/dataset.js';
import { compareSnapshots, takeSnapshot } from '../support/oracle.js';
import { scratchDir } from '../support/processes.js';
import { CLUSTER, REPOSITORY, startRig, type Rig } from '../support/recovery-rig.js';

const ACTIVITIES = [
  'getPolicy',
  'planRecovery',
  'fenceNode',
  'createDatabases',
  'restoreTableData',
  'verifyTableParts',
  'restoreTableReplica',
  'createObjects',
  'validateTables',
  'finishNode',
  'liftFence',
  'saveReport',
];
/** Activities that send statements; the others only read. */
const SENDING = [
  'planRecovery',
  'fenceNode',
  'createDatabases',
  'restoreTableData',
  'verifyTableParts',
  'restoreTableReplica',
  'createObjects',
  'finishNode',
  'liftFence',
];
const STATEMENTS = [
  ' CLONE AS ',
  'RENAME TABLE `_recovery`.`making',
  'CREATE TABLE `_recovery`.`staging',
  'RESTORE TABLE `shop`',
  'RENAME TABLE `_recovery`.`staging',
  'CREATE TABLE `shop`',
  'REPLACE PARTITION',
  'DETACH TABLE',
  'AS REPLICATED',
  'SYSTEM RESTORE REPLICA',
  'ATTACH MATERIALIZED VIEW',
  'INSERT INTO `_recovery`.ledger',
  'SYSTEM STOP MERGES',
  'SYSTEM START MERGES',
  'CREATE DATABASE IF NOT EXISTS `shop`',
];

const SWEEPS: [name: string, points: string[]][] = [
  ['before each activity', ACTIVITIES.map((type) => `activity/${type}/start`)],
  ["after each activity's first statement, before its answer", SENDING.map((type) => `activity/${type}/statement`)],
  ['after each activity, before Temporal hears of it', ACTIVITIES.map((type) => `activity/${type}/ack`)],
  ['before each kind of statement', STATEMENTS.map((text) => `sql/${text}/before`)],
  ['after each kind of statement, before its answer', STATEMENTS.map((text) => `sql/${text}/after`)],
];

describe('the worker is killed with SIGKILL [embedded]', () => {
  let rig: Rig;
  let scratch: ReturnType<typeof scratchDir>;

  beforeEach(async () => {
    scratch = scratchDir('crash-sweep');
    rig = await startRig({ dir: scratch.path });
    await createDataset(rig.nodes, 'small');
  });
  afterEach(async () => {
    await rig.stop();
    scratch.remove();
  });
  const spent: string[] = [];
  afterAll(() => {
    process.stdout.write(`crash points swept: ${spent.length}\n`);
  });

  it.each(SWEEPS)('%s: nothing is lost, nothing doubled', { timeout: 600_000 }, async (_name, points) => {
    const judge = { nodes: rig.nodes, keeperHosts: rig.ensemble.hosts };
    const before = await takeSnapshot(judge);
    const first = await rig.startWorker();
    const backup = await rig.cli('backup', '--cluster', CLUSTER, '--to', REPOSITORY, '--wait');
    expect(backup, backup.stderr).toMatchObject({ exitCode: 0 });
    process.kill(first.pid, 'SIGKILL');
    await rig.disaster({ lostShards: [1] });

    const { report, missed } = await sweepCrashes(rig, {
      points,
      args: ['--backup', 'latest'],
      markers: join(scratch.path, 'markers'),
    });
    expect(report.problem).toBeUndefined();
    expect(report.outcome).toBe('succeeded');
    expect(compareSnapshots(before, await takeSnapshot(judge))).toEqual([]);
    expect(missed, 'points that were never reached').toEqual([]);
    spent.push(...points);
  });
});
