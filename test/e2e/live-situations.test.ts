import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import type { Report } from '../../src/domain/report.js';
import { waitFor } from '../support/processes.js';
import { CLUSTER } from '../support/recovery-rig.js';
import { failedTables } from '../support/scene.js';
import { scenario } from '../support/scenarios.js';
import { repoRoot } from '../support/tools.js';
import { createWriterTables, judge } from '../support/writer.js';

/**
 * Situations that only replicas can be in that are active and fetch from each other. The oracle judges rows, parts,
 * Keeper, activity and that replicas are alike.
 */
describe('situations of replicas', () => {
  const NEEDS = { needs: ['liveReplication'] } as const;

  scenario.each([
    ['the second replica lags', 0, 1],
    ['the second replica is ahead', 1, 0],
  ])('Keeper metadata lost, %s: who has more goes first', NEEDS, async (scene, ahead, behind) => {
    await scene.setUp({ shards: 1 });
    await scene.ask(behind, 'SYSTEM STOP FETCHES shop.orders');
    await scene.ask(
      ahead,
      "INSERT INTO shop.orders SELECT number + 90000, toDateTime('2026-05-05 00:00:00'), toDecimal64(1, 2) FROM numbers(50)",
    );
    await scene.loseKeeper();
    const { report } = await scene.recover();
    expect(failedTables(report)).toEqual([]);
    expect(report.outcome).toBe('succeeded');
    for (const node of [0, 1])
      expect(await scene.ask(node, 'SELECT count() FROM shop.orders WHERE id >= 90000')).toBe('50');
    expect(
      (await scene.differences()).filter((line) => !/`shop`\.`orders`: (rows|content|other parts)/.test(line)),
    ).toEqual([]);
  });

  scenario('replicas diverged: a person decides, with the difference; the other tables go on', NEEDS, async (scene) => {
    await scene.setUp({ shards: 1 });
    for (const node of [0, 1]) await scene.ask(node, 'SYSTEM STOP FETCHES shop.orders');
    for (const node of [0, 1])
      await scene.ask(
        node,
        `INSERT INTO shop.orders SELECT number + ${90000 + node * 1000}, toDateTime('2026-05-05 00:00:00'), toDecimal64(1, 2) FROM numbers(50)`,
      );
    await scene.loseKeeper();
    const { exitCode, report } = await scene.recover();
    expect([exitCode, ...failedTables(report)]).toContain(3);
    const lost = report.tables.filter(({ shard }) => shard === scene.nodes[0]!.shard);
    const orders = lost.filter(({ table }) => table === 'orders');
    expect(orders.map(({ situation, problem }) => [situation, problem?.code])).toEqual(
      Array(2).fill(['diverged', 'REPLICAS_DIVERGED']),
    );
    expect(orders[0]?.problem?.objects?.length).toBeGreaterThanOrEqual(2);
    expect(lost.filter(({ table }) => table !== 'orders').map(({ outcome }) => outcome)).toEqual(
      Array(4).fill('recovered'),
    );
    for (const node of [0, 1])
      expect(await scene.ask(node, 'SELECT count() FROM shop.orders WHERE id >= 90000')).toBe('50');
  });

  scenario(
    'Keeper metadata and the disk of one replica lost: it gets its tables from the other',
    NEEDS,
    async (scene) => {
      await scene.setUp({ shards: 1, size: 'full' });
      await scene.loseDisk(1);
      await scene.loseKeeper();
      const { report } = await scene.recover();
      expect(failedTables(report)).toEqual([]);
      expect(report.outcome).toBe('succeeded');
      // Plain tables are their server's own: nobody has a copy of them.
      const own = ['local', 'notes'].map((table) => `${scene.nodes[1]!.name} \`shop\`.\`${table}\` is missing`);
      expect((await scene.differences()).filter((line) => !own.includes(line))).toEqual([]);
      expect(report.warnings.join('\n')).toMatch(/shop\.local/);
    },
  );

  scenario(
    'replica lost, Keeper intact: its stale path goes, it fetches from a peer that is written to',
    NEEDS,
    async (scene) => {
      await scene.setUp({ shards: 1 });
      const tables = await createWriterTables(scene.nodes);
      const writer = scene.startWriter({ nodes: [scene.nodes[0]!], tables });
      await scene.loseDisk(1);
      const { report } = await scene.recover();
      const log = await writer.stop();
      expect(failedTables(report)).toEqual([]);
      expect(report.outcome).toBe('succeeded');
      expect(log.refused).toEqual([]);
      await waitFor(async () => (await judge({ nodes: scene.nodes, log })).length === 0, {
        what: 'all acknowledged rows on both replicas',
        deadlineMs: 60_000,
      });
      expect((await scene.differences()).filter((line) => !line.includes('`live`'))).toEqual([]);
    },
  );

  scenario.each([
    ['the first table is', 'sql/RENAME TABLE `shop`.`/after'],
    ['all tables are', 'activity/validateTables/start'],
  ])(
    'aborted while %s out of place: the next recovery adopts them',
    { needs: [...NEEDS.needs, 'conversion'] },
    async (scene, point) => {
      await scene.setUp({ shards: 1, worker: false });
      await scene.loseKeeper();
      const markers = join(scene.rig.dir, 'markers');
      mkdirSync(markers);
      const crashing = await scene.rig.startWorker({
        script: join(repoRoot, 'test/support/crash-worker.ts'),
        workerEnv: { CRASH_DIR: markers, CRASH_POINTS: JSON.stringify([point]) },
      });
      const started = await scene.rig.cli('start', '--cluster', CLUSTER, '--yes', '--json');
      const { id } = JSON.parse(started.stdout) as { id: string };
      await crashing.exited;
      await scene.rig.cli('abort', id);
      await scene.rig.startWorker();
      const aborted = JSON.parse((await scene.rig.cli('report', id, '--json')).stdout) as Report;
      expect(aborted.outcome).toBe('aborted');
      expect(await scene.ask(0, "SELECT count() FROM system.tables WHERE database = 'shop'")).not.toBe('3');
      expect((await scene.recover()).report.problem?.code).toBe('RECOVERY_UNFINISHED');
      const { report } = await scene.recover('--adopt');
      expect(failedTables(report)).toEqual([]);
      expect(report.outcome).toBe('succeeded');
      expect(await scene.differences()).toEqual([]);
    },
  );

  scenario('a writer that never stops: what was acknowledged is there once, on all replicas', NEEDS, async (scene) => {
    await scene.setUp({ shards: 1 });
    const tables = await createWriterTables(scene.nodes);
    // One replica until the loss: rows that only one replica has on both sides would be a divergence.
    const writer = scene.startWriter({ nodes: [scene.nodes[0]!], tables });
    await waitFor(() => writer.log.acknowledged.length > 100, { what: 'rows', deadlineMs: 60_000 });
    await scene.loseKeeper();
    const { report } = await scene.recover();
    expect(failedTables(report)).toEqual([]);
    expect(report.outcome).toBe('succeeded');
    const acknowledged = writer.log.acknowledged.length;
    await waitFor(() => writer.log.acknowledged.length > acknowledged + 50, {
      what: 'inserts to flow again',
      deadlineMs: 60_000,
    });
    const log = await writer.stop();
    expect(log.refused.length).toBeGreaterThan(0);
    await waitFor(async () => (await judge({ nodes: scene.nodes, log })).length === 0, {
      what: 'all acknowledged rows on both replicas',
      deadlineMs: 60_000,
    }).catch(async () => expect(await judge({ nodes: scene.nodes, log })).toEqual([]));
    expect((await scene.differences()).filter((line) => !line.includes('`live`'))).toEqual([]);
  });
});
