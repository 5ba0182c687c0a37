import { randomUUID } from 'node:crypto';
import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drillLockId, type DrillReport } from '../../src/domain/drill.js';
import type { ErrorCode } from '../../src/domain/errors.js';
import { lockId, WORKFLOWS } from '../../src/domain/messages.js';
import { openRecoveryOn } from '../../src/service/open-recovery.js';
import { waitFor } from '../support/processes.js';
import { startBench, untilPhase, type Bench, type Scene } from './bench.js';
import { drillFakes, measured, YEARS, type DrillOptions } from './drill-fakes.js';
import { failure, fakes, hold, planOf, table } from './fakes.js';
import { largePlan } from './large.js';

let bench: Bench;
beforeAll(async () => {
  bench = await startBench();
});
afterAll(() => bench.stop());

const start = ({ client, taskQueue, cluster }: Scene) =>
  client.workflow.start(WORKFLOWS.drill, {
    taskQueue,
    workflowId: `drill-${randomUUID().slice(0, 8)}`,
    args: [{ cluster }],
  });

/** Its report, however it ended: that of a drill that failed is in its failure. */
async function play(
  options: DrillOptions = {},
  during: (scene: Scene, handle: Awaited<ReturnType<typeof start>>) => Promise<void> = async () => undefined,
) {
  const faked = drillFakes(options);
  return bench.scene(faked, async (scene) => {
    const handle = await start(scene);
    await during(scene, handle);
    try {
      const report = (await handle.result()) as DrillReport;
      return { report, failed: null, ...faked };
    } catch (error) {
      const cause = error instanceof WorkflowFailedError ? error.cause : error;
      const report = cause instanceof ApplicationFailure ? (cause.details?.[1] as DrillReport) : faked.saved[0]!;
      return { report, failed: cause, ...faked };
    }
  });
}

const codes = ({ problems }: DrillReport): ErrorCode[] => problems.map(({ code }) => code);
const CLEANED = ['cleanDrillTarget n1', 'cleanDrillTarget n2'];

describe('recoveryDrill', () => {
  it('proves, claims, recovers, measures, cleans up and saves, in that order; production’s lock is free all the while', async () => {
    const at = hold();
    const { report, failed, calls, saved } = await play(
      { activities: { restoreTableData: async () => (await at.pass(), {}) as never } },
      async ({ client, cluster }) => {
        await at.entered;
        await expect(client.workflow.getHandle(lockId(cluster)).describe()).rejects.toThrow();
        expect((await client.workflow.getHandle(drillLockId(`${cluster}-scratch`)).describe()).status.name).toBe(
          'RUNNING',
        );
        at.release();
      },
    );
    expect([failed, report.outcome, codes(report)]).toEqual([null, 'passed', []]);
    const order = [
      'getDrill',
      'findRecovery',
      'proveDrill',
      'chooseDrillBackup',
      'claimDrillTarget n1',
      'planRecovery',
    ];
    const rest = ['fenceNode n1', 'measureDrill', 'cleanDrillTarget n1', 'saveDrillReport'];
    const seen = [...order, ...rest].map((call) => calls.indexOf(call));
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen).not.toContain(-1);
    expect(report).toMatchObject({ rpo: { basis: 'backup' }, restored: { rows: 10 }, cleanedUp: true });
    expect(saved).toEqual([report]);
  });

  it.each<[name: string, options: DrillOptions, codes: ErrorCode[]]>([
    ['over the RTO', { objectives: { rtoSeconds: -1, rpoSeconds: YEARS } }, ['DRILL_RTO_MISSED']],
    ['over the RPO', { objectives: { rtoSeconds: 600, rpoSeconds: 60 } }, ['DRILL_RPO_MISSED']],
    ['no rows', { drill: { measureDrill: async () => measured({ rows: 0 }) } }, ['DRILL_NO_DATA']],
    ['nothing to restore', { plans: [planOf([])] }, ['DRILL_NO_DATA']],
    [
      'no backup',
      { drill: { chooseDrillBackup: async () => Promise.reject(failure('BACKUP_UNKNOWN')) } },
      ['BACKUP_UNKNOWN'],
    ],
    [
      'a broken part',
      { activities: { verifyTableParts: async () => Promise.reject(failure('PART_BROKEN')) } },
      ['PART_BROKEN'],
    ],
    [
      'bad input of the recovery',
      { activities: { planRecovery: async () => Promise.reject(failure('BACKUP_UNKNOWN')) } },
      ['BACKUP_UNKNOWN'],
    ],
    [
      'not measured',
      { drill: { measureDrill: async () => Promise.reject(failure('NODE_UNAVAILABLE')) } },
      ['NODE_UNAVAILABLE'],
    ],
    [
      'refused',
      { drill: { proveDrill: async () => Promise.reject(failure('DRILL_TARGET_UNSAFE')) } },
      ['DRILL_TARGET_UNSAFE'],
    ],
    [
      'one node not empty',
      {
        drill: {
          claimDrillTarget: async ({ node }) =>
            node.name === 'n2' ? Promise.reject(failure('DRILL_TARGET_NOT_EMPTY')) : undefined,
        },
      },
      ['DRILL_TARGET_NOT_EMPTY'],
    ],
    [
      'not clean',
      { drill: { cleanDrillTarget: async () => Promise.reject(failure('NODE_UNAVAILABLE')) } },
      ['DRILL_NOT_CLEAN'],
    ],
  ])(
    '%s: the run fails with its code, its report is kept, and the target is cleaned up',
    async (_name, options, expected) => {
      const { report, failed, calls, saved } = await play(options);
      expect([report.outcome, codes(report)]).toEqual(['failed', expected]);
      expect(failed).toMatchObject({ type: expected[0], nonRetryable: true });
      expect(saved).toEqual([report]);
      const claimed = calls.some((call) => call.startsWith('claimDrillTarget'));
      expect(calls.filter((call) => call.startsWith('cleanDrillTarget')).sort()).toEqual(claimed ? CLEANED : []);
    },
  );

  it('what the recovery counted and what it left out go into the measuring, and into the report', async () => {
    const leftOut = [{ database: 'db', table: 'queue', shard: '01', why: 'the engine Kafka consumes by itself' }];
    let asked: unknown;
    const { report } = await play({
      plans: [planOf([table('a')], { leftOut })],
      drill: { measureDrill: async (input) => ((asked = input), measured()) },
    });
    expect(asked).toMatchObject({
      backup: { repository: 'local', name: 'b1' },
      leftOut,
      found: [{ database: 'db', table: 'a', shard: '01', rows: 10 }],
    });
    expect([report.outcome, report.leftOut]).toEqual(['passed', leftOut]);
  });

  it('of a large plan: what was counted stands in the stored report', async () => {
    const large = largePlan(planOf(Array.from({ length: 220 }, (_, index) => table(`t${index}`))));
    let asked: unknown;
    const { report } = await play({
      plans: [large.summary],
      activities: large.activities,
      drill: { measureDrill: async (input) => ((asked = input), measured()) },
    });
    expect(report.outcome).toBe('passed');
    expect(asked).toMatchObject({ found: null, stored: report.recoveryId });
  });

  it('a recovery on the source: steps aside, touches nothing, and does not fail', async () => {
    const { report, failed, calls } = await play({ drill: { findRecovery: async () => 'recover-prod-1' } });
    expect([failed, report.outcome, codes(report), report.problems[0]?.objects]).toEqual([
      null,
      'skipped',
      ['RECOVERY_RUNNING'],
      ['recover-prod-1'],
    ]);
    expect(calls).toEqual(['getDrill', 'findRecovery', 'saveDrillReport']);
  });

  it('a recovery that begins in the middle: stops, cleans up, steps aside', async () => {
    const at = hold();
    const { report, failed, calls } = await play({
      activities: { restoreTableData: async () => (await at.pass(), {}) as never },
      drill: { awaitRecovery: async () => (await at.entered, 'recover-prod-2') },
    });
    expect([failed, report.outcome, codes(report)]).toEqual([null, 'skipped', ['RECOVERY_RUNNING']]);
    expect(calls).toEqual(expect.arrayContaining(CLEANED));
    expect(calls).not.toContain('measureDrill');
    expect(calls.indexOf('cleanDrillTarget n1')).toBeGreaterThan(calls.indexOf('liftFence n1'));
  });

  it('another drill uses the target: steps aside, and leaves the other its target', async () => {
    const at = hold();
    const faked = drillFakes({ activities: { restoreTableData: async () => (await at.pass(), {}) as never } });
    await bench.scene(faked, async (scene) => {
      const first = await start(scene);
      await at.entered;
      const second = (await (await start(scene)).result()) as DrillReport;
      expect([second.outcome, codes(second), second.cleanedUp]).toEqual(['skipped', ['DRILL_RUNNING'], null]);
      expect(faked.called('cleanDrillTarget' as never)).toEqual([]);
      at.release();
      expect(((await first.result()) as DrillReport).outcome).toBe('passed');
    });
  });

  it('too long: stopped at its deadline, cleaned up, failed', async () => {
    const at = hold();
    const { report, calls } = await play({
      timeoutSeconds: 2,
      activities: { restoreTableData: async () => (await at.pass(), {}) as never },
    });
    expect([report.outcome, codes(report)]).toEqual(['failed', ['DRILL_TIMEOUT']]);
    expect(calls).toEqual(expect.arrayContaining(CLEANED));
  });

  it('cancelled: the recovery ends first, then the target is cleaned up, and the run is cancelled', async () => {
    const at = hold();
    const { report, failed, calls } = await play(
      { activities: { restoreTableData: async () => (await at.pass(), {}) as never } },
      async (_scene, handle) => {
        await at.entered;
        await handle.cancel();
      },
    );
    expect(failed).toBeInstanceOf(CancelledFailure);
    expect([report.outcome, report.cleanedUp]).toEqual(['aborted', true]);
    expect(calls.indexOf('cleanDrillTarget n1')).toBeGreaterThan(calls.indexOf('liftFence n1'));
  });

  it('bad input fails at once', async () => {
    const failed = await bench.scene<unknown>(drillFakes(), async ({ client, taskQueue }) => {
      const handle = await client.workflow.start(WORKFLOWS.drill, {
        taskQueue,
        workflowId: randomUUID(),
        args: [{ cluster: 'a', to: 'b' }],
      });
      return handle.result().catch((error: WorkflowFailedError) => error.cause);
    });
    expect(failed).toMatchObject({ type: 'INPUT_INVALID' });
  });
});

describe('what a drill steps aside for, asked of Temporal', () => {
  it('a recovery that waits for its approval, and one that holds the lock', async () => {
    const at = hold();
    const faked = fakes({
      plans: [planOf([table('a')])],
      policy: { approval: 'required' },
      activities: { restoreTableData: async () => (await at.pass(), {}) as never },
    });
    await bench.scene(faked, async (scene) => {
      const recoveryOn = openRecoveryOn(scene.client);
      expect(await recoveryOn(scene.cluster)).toBe(null);
      const waiting = await scene.start();
      const progress = await untilPhase(waiting, 'waiting-for-approval');
      await waitFor(async () => (await recoveryOn(scene.cluster)) === waiting.workflowId, {
        what: 'Temporal to list it',
        deadlineMs: 30_000,
      });
      await waiting.executeUpdate('approve', { args: [{ planHash: progress.planHash, by: 'ada' }] });
      await at.entered;
      expect(await recoveryOn(scene.cluster)).toBe(lockId(scene.cluster));
      expect(await recoveryOn(`${scene.cluster}-other`)).toBe(null);
      at.release();
      await waiting.result();
    });
  });
});
