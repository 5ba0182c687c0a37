import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Activities } from '../../src/activities/index.js';
import { problem } from '../../src/domain/errors.js';
import { SIGNALS } from '../../src/domain/messages.js';
import type { PlanItem } from '../../src/domain/plan.js';
import type { Report } from '../../src/domain/report.js';
import type { NodeRef } from '../../src/domain/topology.js';
import { startBench, untilPhase, type Bench, type Handle, type Scene } from './bench.js';
import { beside, failure, fakes, HASH, N2, planOf, table, valid, view, type FakesOptions } from './fakes.js';

let bench: Bench;

beforeAll(async () => {
  bench = await startBench();
});

afterAll(async () => {
  await bench?.stop();
});

const N3: NodeRef = { name: 'n3', shard: '02', replica: 'r1' };
const outcomesOf = (report: Report) =>
  Object.fromEntries(report.tables.map((each) => [`${each.table}@${each.shard}/${each.replica}`, each.outcome]));

/** On both replicas of the first shard; the first one goes first. */
const onBoth = (name: string): PlanItem[] => [
  beside(name),
  beside(name, N2, { authority: false, fetches: { parts: 2, rows: 10, digest: '7' } }),
];

/** Whatever is validated, but for these. */
const invalid =
  (...bad: [table: string, node: NodeRef][]): Activities['validateTables'] =>
  async ({ items }) =>
    items.map(({ key, item }) =>
      bad.some(([name, node]) => item.table === name && item.node.name === node.name)
        ? { ...valid(key), problem: problem('VALIDATION_FAILED', `db.${item.table} lacks rows`) }
        : valid(key),
    );

/** The activities in the order of their starts, those that run side by side as one. */
const courseOf = (calls: string[]) =>
  calls.map((call) => call.split(' ')[0]).filter((name, index, all) => name !== all[index - 1]);

describe.each([
  { mode: 'workflows cached', options: {} },
  { mode: 'every workflow task replayed from the start', options: { maxCachedWorkflows: 0 } },
])('tables beside their places, $mode', { concurrent: true }, ({ options }) => {
  const scene = <T>(faked: ReturnType<typeof fakes>, body: (scene: Scene) => Promise<T>) =>
    bench.scene(faked, body, options);
  const runToEnd = async (given: FakesOptions, request: Parameters<Scene['start']>[0] = {}) => {
    const faked = fakes(given);
    const report = await scene(faked, async ({ start }) => (await start(request)).result());
    return { report, ...faked };
  };

  describe('the order', () => {
    it('goes validate, promote, objects, validate, canary', async () => {
      const { report, calls, called } = await runToEnd({ plans: [planOf([...onBoth('a'), view('v')])] });
      expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted', unrecovered: [] });
      // Nodes are closed side by side, each of them in this order.
      const course = courseOf(calls).slice(courseOf(calls).indexOf('restoreTableReplica'));
      const closing = course.indexOf('finishNode');
      expect(course.slice(0, closing)).toEqual([
        ...['restoreTableReplica', 'verifyTableParts', 'restoreTableReplica'],
        ...['validateTables', 'promoteTables', 'createObjects', 'validateTables', 'proveReplication'],
      ]);
      expect(new Set(course.slice(closing))).toEqual(new Set(['finishNode', 'liftFence', 'saveReport']));
      expect(course.slice(-2)).toEqual(['liftFence', 'saveReport']);
      expect([called('finishNode').length, called('liftFence').length]).toEqual([2, 2]);
      expect(called('promoteTables').sort()).toEqual(['promoteTables db.a @ 01/r1', 'promoteTables db.a @ 01/r2']);
      expect(called('validateTables').sort()).toEqual([
        'validateTables db.a @ 01/r1',
        'validateTables db.a @ 01/r2',
        'validateTables db.v @ 01/r1',
      ]);
      expect(outcomesOf(report)).toEqual({
        ...{ 'a@01/r1': 'recovered', 'a@01/r2': 'recovered', 'v@01/r1': 'recovered' },
      });
    });

    it('keeps to the other order where nothing is made beside', async () => {
      const { calls } = await runToEnd({ plans: [planOf([table('a'), view('v')])] });
      expect(courseOf(calls).slice(-6)).toEqual([
        ...['createObjects', 'validateTables', 'proveReplication', 'finishNode', 'liftFence', 'saveReport'],
      ]);
    });

    it('promotes what is made beside, and only that, in a cluster of old and new servers', async () => {
      const { report, called } = await runToEnd({ plans: [planOf([beside('a'), table('a', N3)])] });
      expect(report.outcome).toBe('succeeded');
      expect(called('promoteTables')).toEqual(['promoteTables db.a @ 01/r1']);
      expect(called('proveReplication').sort()).toEqual(['proveReplication 01', 'proveReplication 02']);
    });
  });

  describe('whole tables', () => {
    it.each<{ what: string; activities: Partial<Activities> }>([
      { what: 'does not pass validation', activities: { validateTables: invalid(['a', N2]) } },
      {
        what: 'is not made',
        activities: {
          restoreTableReplica: async ({ item }) => {
            if (item.table === 'a' && item.node.name === 'n2') throw failure('NO_PROGRESS');
            return { rows: 10, parts: 2 };
          },
        },
      },
    ])('promotes no replica of a table of which one $what, but the others', async ({ activities }) => {
      const items = [...onBoth('a'), ...onBoth('b'), beside('a', N3)];
      const { report, called, calls } = await runToEnd({ plans: [planOf(items)], activities });
      expect(called('promoteTables').sort()).toEqual([
        'promoteTables db.a @ 02/r1',
        'promoteTables db.b @ 01/r1',
        'promoteTables db.b @ 01/r2',
      ]);
      expect(report.outcome).toBe('failed');
      expect(outcomesOf(report)).toMatchObject({
        ...{ 'a@01/r2': 'failed', 'a@02/r1': 'recovered', 'b@01/r1': 'recovered', 'b@01/r2': 'recovered' },
      });
      expect(report.fence).toBe('held');
      expect(calls.filter((call) => /^(proveReplication|finishNode|liftFence)/.test(call))).toEqual([]);
    });

    it('promotes nothing of a table whose first replica failed', async () => {
      const { report, called } = await runToEnd({
        plans: [planOf(onBoth('a'))],
        activities: {
          verifyTableParts: async () => {
            throw failure('PART_BROKEN');
          },
        },
      });
      expect(report.outcome).toBe('needs-operator');
      expect(called('promoteTables')).toEqual([]);
      expect(called('restoreTableReplica')).toEqual([]);
    });

    it('promotes them once the failed one is tried again, each once', async () => {
      let broken = true;
      const faked = fakes({
        plans: [planOf([...onBoth('a'), ...onBoth('b')])],
        policy: { approval: 'required' },
        activities: { validateTables: (input) => invalid(...(broken ? [['a', N2] as [string, NodeRef]] : []))(input) },
      });
      const report = await scene(faked, async ({ start }) => {
        const handle: Handle = await start({ approve: HASH });
        await untilPhase(handle, 'waiting-for-resolve');
        expect(faked.called('promoteTables').sort()).toEqual([
          'promoteTables db.b @ 01/r1',
          'promoteTables db.b @ 01/r2',
        ]);
        broken = false;
        await handle.signal(SIGNALS.resolve, { action: 'retry', by: 'ada' });
        return handle.result();
      });
      expect(report.outcome).toBe('succeeded');
      expect(faked.called('promoteTables').sort()).toEqual([
        ...['promoteTables db.a @ 01/r1', 'promoteTables db.a @ 01/r2'],
        ...['promoteTables db.b @ 01/r1', 'promoteTables db.b @ 01/r2'],
      ]);
    });

    it('is no success when the failed one is skipped', async () => {
      const faked = fakes({
        plans: [planOf(onBoth('a'))],
        policy: { approval: 'required' },
        activities: { validateTables: invalid(['a', N2]) },
      });
      const report = await scene(faked, async ({ start }) => {
        const handle = await start({ approve: HASH });
        await untilPhase(handle, 'waiting-for-resolve');
        await handle.signal(SIGNALS.resolve, { action: 'skip', by: 'ada' });
        return handle.result();
      });
      expect(report).toMatchObject({ outcome: 'needs-operator', fence: 'held' });
      // It would drop what waits for its promotion.
      for (const never of ['promoteTables', 'finishNode'] as const) expect(faked.called(never)).toEqual([]);
    });
  });

  describe('a promotion that fails', () => {
    const bypassed = (once: { failing: boolean }): Partial<Activities> => ({
      promoteTables: async ({ items }) => {
        if (once.failing && items.some((item) => item.node.name === 'n1'))
          throw failure('FENCE_BYPASSED', 'db.a on n1: somebody created the table meanwhile');
      },
    });

    it('is no success: the fence stays, and no canary sings', async () => {
      const { report, calls } = await runToEnd({
        plans: [planOf([...onBoth('a'), view('v', N2)])],
        activities: bypassed({ failing: true }),
      });
      expect(report).toMatchObject({ outcome: 'needs-operator', fence: 'held', problem: { code: 'FENCE_BYPASSED' } });
      expect(outcomesOf(report)).toMatchObject({ 'a@01/r1': 'failed' });
      expect(report.stages.find(({ name }) => name === 'validate')?.outcome).toBe('failed');
      expect(calls.filter((call) => /^(proveReplication|finishNode|liftFence)/.test(call))).toEqual([]);
    });

    it('is tried again where it failed, and nowhere else', async () => {
      const once = { failing: true };
      const faked = fakes({
        plans: [planOf(onBoth('a'))],
        policy: { approval: 'required' },
        activities: bypassed(once),
      });
      const report = await scene(faked, async ({ start }) => {
        const handle = await start({ approve: HASH });
        await untilPhase(handle, 'waiting-for-resolve');
        once.failing = false;
        await handle.signal(SIGNALS.resolve, { action: 'retry', by: 'ada' });
        return handle.result();
      });
      expect(report.outcome).toBe('succeeded');
      expect(faked.called('promoteTables').sort()).toEqual([
        ...['promoteTables db.a @ 01/r1', 'promoteTables db.a @ 01/r1', 'promoteTables db.a @ 01/r2'],
      ]);
    });
  });

  describe('the canary', () => {
    const dead: Partial<Activities> = {
      proveReplication: async ({ shard }) => {
        if (shard === '02') throw failure('VALIDATION_FAILED', 'shard 02: n3 has 1 of 2 canary rows');
        return { warnings: [] };
      },
    };
    it.each([
      { how: 'in place', items: [table('a'), table('a', N3)] },
      { how: 'beside', items: [beside('a'), beside('a', N3)] },
    ])('that is not seen ends the run, also where a person is there: made $how', async ({ items }) => {
      for (const policy of [{}, { approval: 'required' as const }]) {
        const { report, calls } = await runToEnd(
          { plans: [planOf(items)], policy, activities: dead },
          { approve: HASH },
        );
        expect(report).toMatchObject({
          outcome: 'failed',
          problem: { code: 'VALIDATION_FAILED', message: 'shard 02: n3 has 1 of 2 canary rows' },
          fence: 'held',
        });
        expect(report.stages.find(({ name }) => name === 'validate')?.outcome).toBe('failed');
        expect(calls.filter((call) => /^(finishNode|liftFence)/.test(call))).toEqual([]);
      }
    });

    it('flies where something was worked on, and replicas become active', async () => {
      const plan = planOf([
        table('a'),
        table('a', N3, { situation: 'healthy', action: 'none', statements: [] }),
        table('a', { name: 'n4', shard: '03', replica: 'r1' }),
      ]);
      for (const each of plan.nodes) each.embedded = each.node.name === 'n4';
      const { report, called } = await runToEnd({ plans: [plan] });
      expect(report.outcome).toBe('succeeded');
      expect(called('proveReplication')).toEqual(['proveReplication 01']);
    });
  });
});
