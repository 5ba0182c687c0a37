import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sweepCrashes } from '../support/crash-sweep.js';
import { compareSnapshots, takeSnapshot } from '../support/oracle.js';
import { scratchDir } from '../support/processes.js';
import { CLUSTER, REPOSITORY, startRig, type Rig } from '../support/recovery-rig.js';

/** On each of two shards: two batches, and more SQL than a history is given. */
const TABLES = 70;

/** In places that only a large plan comes to, and in the middle of its batches. */
const POINTS = [
  ...['createPlannedDatabases', 'restoreBatch', 'createBatchObjects', 'validateBatch', 'saveLargeReport'].flatMap(
    (type) => [`activity/${type}/start`, `activity/${type}/ack`],
  ),
  ...['createPlannedDatabases', 'restoreBatch', 'createBatchObjects'].map((type) => `activity/${type}/statement`),
  'sql/`t0040`/before',
  'sql/RESTORE TABLE `many`.`t0060`/after',
  'sql/SYSTEM RESTORE REPLICA `many`.`t0017`/before',
  'sql/SYSTEM RESTORE REPLICA `many`.`t0030`/after',
];

async function createTables(nodes: Rig['nodes']): Promise<void> {
  await Promise.all(
    nodes.map(async ({ url }, shard) => {
      const client = createClient({ url, log: { level: ClickHouseLogLevel.OFF } });
      const run = (query: string) => client.command({ query });
      await run('CREATE DATABASE many ENGINE = Atomic');
      for (let i = 0; i < TABLES; i++) {
        const name = `many.t${String(i).padStart(4, '0')}`;
        await run(`CREATE TABLE ${name} (n UInt64) ENGINE = MergeTree ORDER BY n`);
        await run(`SYSTEM STOP MERGES ${name}`);
        for (let part = 0; part < 1 + (i % 2); part++)
          await run(`INSERT INTO ${name} SELECT number * ${i + 1} + ${shard} FROM numbers(${10 + part})`);
        await run(`DETACH TABLE ${name} SYNC`);
        await run(`ATTACH TABLE ${name} AS REPLICATED`);
        await run(`SYSTEM RESTORE REPLICA ${name}`);
      }
      await run('CREATE VIEW many.all AS SELECT n FROM many.t0001');
      await client.close();
    }),
  );
}

describe('a plan that is too large for a history [embedded]', () => {
  let rig: Rig;
  let scratch: ReturnType<typeof scratchDir>;

  beforeEach(async () => {
    scratch = scratchDir('large-plan');
    rig = await startRig({ dir: scratch.path });
    await createTables(rig.nodes);
  }, 300_000);
  afterEach(async () => {
    await rig.stop();
    scratch.remove();
  });

  it(
    'is brought to its end by whoever is left when workers are killed: nothing is lost, nothing doubled',
    { timeout: 900_000 },
    async () => {
      const judge = { nodes: rig.nodes, keeperHosts: rig.ensemble.hosts };
      const before = await takeSnapshot(judge);
      const first = await rig.startWorker();
      const backup = await rig.cli('backup', '--cluster', CLUSTER, '--to', REPOSITORY, '--wait');
      expect(backup, backup.stderr).toMatchObject({ exitCode: 0 });
      process.kill(first.pid, 'SIGKILL');
      await rig.disaster({ lostShards: [1] });

      const { report, missed } = await sweepCrashes(rig, {
        points: POINTS,
        args: ['--backup', 'latest'],
        markers: join(scratch.path, 'markers'),
      });
      expect(report.problem).toBeUndefined();
      expect(report.outcome).toBe('succeeded');
      expect(compareSnapshots(before, await takeSnapshot(judge))).toEqual([]);
      // The command shows the stored report, which has all of them.
      expect(report.omittedTables).toBeUndefined();
      const recovered = report.tables.filter((each) => each.outcome === 'recovered');
      expect(recovered).toHaveLength(2 * TABLES + 1);
      expect(recovered.every((each) => each.rowsExpected === each.rowsFound && (each.timeline ?? []).length > 0)).toBe(
        true,
      );
      expect(readdirSync(join(scratch.path, 'reports', 'plans', report.plan.hash))).toContain('index.json');
      expect(missed, 'points that were never reached').toEqual([]);
    },
  );
});
