import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SIGNALS, UPDATES, type Resolution } from '../../src/domain/messages.js';
import { waitFor } from '../support/processes.js';
import { progressOf, startBench, untilPhase, type Bench, type Handle } from './bench.js';
import { failure, fakes, HASH, hold, planOf, table, view, type Fakes } from './fakes.js';
import { largePlan } from './large.js';

/** Continue-as-new is suggested at 4,096 events; here sooner, so that it comes within one test. */
const SUGGESTED_AT = 100;

let bench: Bench;

beforeAll(async () => {
  bench = await startBench({ dynamicConfig: [`limit.historyCount.suggestContinueAsNew=${SUGGESTED_AT}`] });
});
afterAll(async () => {
  await bench?.stop();
});

const node = (shard: string, replica: string) => ({ name: `n${shard}${replica}`, shard, replica });
const tablesOf = (shard: string, count: number) =>
  Array.from({ length: count }, (_, index) => `t${String(index).padStart(5, '0')}`).flatMap((name) => [
    table(name, node(shard, 'r1')),
    table(name, node(shard, 'r2'), { authority: false, action: 'recreate-and-fetch', statements: [] }),
  ]);

/** Tables on two shards of two replicas, and a view. */
const plan = (tables: number) =>
  planOf([...tablesOf('01', tables / 2), ...tablesOf('02', tables / 2), view('v', node('01', 'r1'))]);

interface Size {
  runs: number;
  events: number;
  bytes: number;
  longest: number;
  largest: number;
}

/** Of a run and all that it continued as. */
async function sizeOf(workflowId: string): Promise<Size> {
  const size: Size = { runs: 0, events: 0, bytes: 0, longest: 0, largest: 0 };
  for await (const info of bench.client.workflow.list({ query: `WorkflowId = '${workflowId}'` })) {
    const { events } = await bench.client.workflow.getHandle(workflowId, info.runId).fetchHistory();
    const description = await bench.client.workflow.getHandle(workflowId, info.runId).describe();
    const payloads = (events ?? []).map((event) => JSON.stringify(event).length);
    size.runs++;
    size.events += events?.length ?? 0;
    size.bytes += description.historySize ?? 0;
    size.longest = Math.max(size.longest, events?.length ?? 0);
    size.largest = Math.max(size.largest, ...payloads);
  }
  return size;
}

async function sizesOf(handle: Handle): Promise<Size[]> {
  const ids = [handle.workflowId, ...['01', '02'].map((shard) => `${handle.workflowId}/shard-${shard}`)];
  // Temporal's list is some moments behind.
  return waitFor(
    async () => {
      const sizes = await Promise.all(ids.map(sizeOf));
      return sizes.every(({ runs }) => runs > 0) && sizes;
    },
    { what: 'the runs to be listed', deadlineMs: 30_000 },
  );
}

const resolve = (handle: Handle, resolution: Resolution) => handle.signal(SIGNALS.resolve, resolution);
const batches = ({ called }: Fakes, name: 'restoreBatch' | 'validateBatch') => called(name).sort();

describe('a plan that is too large for a history', () => {
  it(
    'is executed in batches by a child a shard, within one event and 300 bytes a table',
    { timeout: 120_000 },
    async () => {
      const tables = 3_000;
      const large = largePlan(plan(tables));
      const faked = fakes({ plans: [large.summary], activities: large.activities });
      await bench.scene(faked, async ({ start }) => {
        const handle = await start();
        const report = await handle.result();
        expect(report.problem).toBeUndefined();
        expect(report).toMatchObject({
          outcome: 'succeeded',
          fence: 'lifted',
          tables: [],
          omittedTables: { recovered: 2 * tables + 1 },
        });
        expect(report.stages.map(({ outcome }) => outcome)).toEqual(['done', 'done', 'done', 'done', 'done']);
        expect(large.reports).toHaveLength(1);
        expect(large.reports[0]?.tables).toHaveLength(2 * tables + 1);
        expect(large.reports[0]?.tables.every((each) => each.outcome === 'recovered')).toBe(true);
        expect(batches(faked, 'restoreBatch')).toHaveLength(tables / 50 + 1);
        expect(batches(faked, 'validateBatch')).toHaveLength(tables / 50 + 1);
        // Nobody is asked, so the plan is made once, and no batch is executed twice.
        expect(new Set(faked.calls).size).toBe(faked.calls.length);
        const sizes = await sizesOf(handle);
        const sum = (of: keyof Size) => sizes.reduce((total, size) => total + size[of], 0);
        expect(sum('events') / tables).toBeLessThan(1);
        expect(sum('bytes') / tables).toBeLessThan(300);
        expect(sizes.slice(1).every(({ runs }) => runs > 1)).toBe(true);
        expect(Math.max(...sizes.slice(1).map(({ longest }) => longest))).toBeLessThan(SUGGESTED_AT * 1.5);
        expect(Math.max(...sizes.map(({ largest }) => largest))).toBeLessThan(64 * 1024);
      });
    },
  );

  it('waits for a decision about what failed: retry, then skip', { timeout: 120_000 }, async () => {
    const broken = new Set(['t00003', 't00070', 't00071']);
    const large = largePlan(plan(300), { fails: (item) => broken.has(item.table) && item.node.shard === '02' });
    const faked = fakes({ plans: [large.summary], activities: large.activities, policy: { approval: 'required' } });
    await bench.scene(faked, async ({ start }) => {
      const handle = await start({ approve: HASH });
      const waiting = await untilPhase(handle, 'waiting-for-resolve');
      expect(waiting.totals).toEqual({ units: 601, done: 595, failed: 6, skipped: 0 });
      expect(waiting.units.map(({ label, state }) => `${label} ${state}`)).toContain('db.t00003 @ 02/r1 failed');
      broken.delete('t00003');
      await resolve(handle, { action: 'retry', tables: ['db.t00003'] });
      await waitFor(async () => (await progressOf(handle)).totals?.failed === 4, {
        what: 'the retry',
        deadlineMs: 30_000,
      });
      await untilPhase(handle, 'waiting-for-resolve');
      await resolve(handle, { action: 'skip', tables: ['db.t00070'] });
      await waitFor(async () => (await progressOf(handle)).totals?.skipped === 2, {
        what: 'the skip',
        deadlineMs: 30_000,
      });
      broken.clear();
      await resolve(handle, { action: 'retry' });
      const report = await handle.result();
      expect(report.outcome).toBe('needs-operator');
      expect(report.tables.map((each) => `${each.table}@${each.shard}/${each.replica} ${each.outcome}`)).toEqual([
        't00070@02/r1 skipped',
        't00070@02/r2 skipped',
      ]);
      expect(report.fence).toBe('held');
    });
  });

  it('is approved by its hash, and ends as aborted with its shards', { timeout: 120_000 }, async () => {
    const large = largePlan(plan(300));
    const held = hold();
    const faked = fakes({
      plans: [large.summary],
      policy: { approval: 'required', onFailure: 'unfence' },
      activities: {
        ...large.activities,
        restoreBatch: async (input) => {
          if (input.shard === '02') await held.pass();
          return large.activities.restoreBatch!(input);
        },
      },
    });
    await bench.scene(faked, async ({ start, client }) => {
      const handle = await start();
      await untilPhase(handle, 'waiting-for-approval');
      await handle.executeUpdate(UPDATES.approve, { args: [{ planHash: HASH, by: 'ada' }] });
      await held.entered;
      await handle.signal(SIGNALS.abort);
      const report = await handle.result();
      expect(report).toMatchObject({ outcome: 'aborted', fence: 'lifted' });
      expect(large.reports).toHaveLength(1);
      for (const shard of ['01', '02']) {
        const child = client.workflow.getHandle(`${handle.workflowId}/shard-${shard}`);
        expect(await child.result()).toMatchObject({ shard, problem: null });
      }
    });
  });

  it('goes on after a pause with its own batches only', { timeout: 120_000 }, async () => {
    const large = largePlan(plan(700));
    const held = hold();
    const faked = fakes({
      plans: [large.summary],
      activities: {
        ...large.activities,
        restoreBatch: async (input) => {
          if (input.shard === '02') await held.pass();
          return large.activities.restoreBatch!(input);
        },
      },
    });
    await bench.scene(faked, async ({ start, client }) => {
      const handle = await start();
      const child = client.workflow.getHandle(`${handle.workflowId}/shard-02`);
      const seen = async (what: 'workflowExecutionSignaledEventAttributes' | 'activityTaskCompletedEventAttributes') =>
        ((await child.fetchHistory()).events ?? []).filter((event) => event[what]).length;
      // One of its seven batches is left when all lanes wait.
      await waitFor(() => faked.called('restoreBatch').filter((call) => call.includes('02/')).length === 6, {
        what: 'six batches under way',
        deadlineMs: 30_000,
      });
      await handle.signal(SIGNALS.pause);
      await waitFor(async () => (await seen('workflowExecutionSignaledEventAttributes')) === 1, {
        what: 'the pause of the shard',
        deadlineMs: 30_000,
      });
      held.release();
      await waitFor(async () => (await seen('activityTaskCompletedEventAttributes')) === 6, {
        what: 'the ends of what was under way',
        deadlineMs: 30_000,
      });
      await handle.signal(SIGNALS.resume);
      expect((await handle.result()).outcome).toBe('succeeded');
      expect(batches(faked, 'restoreBatch').filter((call) => call.includes('02/'))).toHaveLength(7);
      expect(batches(faked, 'restoreBatch')).toHaveLength(15);
    });
  });

  it(
    'ends with what no table can be blamed for, and with its report where the store is away',
    { timeout: 120_000 },
    async () => {
      const large = largePlan(plan(300));
      const faked = fakes({
        plans: [large.summary],
        activities: {
          ...large.activities,
          validateBatch: async () => {
            throw failure('INTERNAL', 'a bug');
          },
          saveLargeReport: async () => {
            throw failure('PLAN_UNAVAILABLE', 'the store is away');
          },
        },
      });
      await bench.scene(faked, async ({ start }) => {
        const report = await (await start()).result();
        expect(report).toMatchObject({ outcome: 'failed', problem: { code: 'INTERNAL' }, fence: 'held', tables: [] });
        expect(report.warnings.join()).toContain('the report could not be stored: the store is away');
      });
    },
  );
});
