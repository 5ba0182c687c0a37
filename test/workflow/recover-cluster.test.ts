import { setTimeout as delay } from 'node:timers/promises';
import { Client, WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Activities } from '../../src/activities/index.js';
import { problem, type Problem } from '../../src/domain/errors.js';
import { lockId, QUERIES, SIGNALS, UPDATES, type Approval, type Resolution } from '../../src/domain/messages.js';
import type { Plan } from '../../src/domain/plan.js';
import type { Report } from '../../src/domain/report.js';
import { Recoveries } from '../../src/service/recoveries.js';
import { waitFor } from '../support/processes.js';
import { progressOf, startBench, untilPhase, type Bench, type Handle, type Scene } from './bench.js';
import {
  failure,
  fakes,
  HASH,
  hold,
  N1,
  N2,
  NEXT_HASH,
  planOf,
  refused,
  table,
  valid,
  view,
  type Fakes,
  type FakesOptions,
} from './fakes.js';

let bench: Bench;

beforeAll(async () => {
  bench = await startBench();
});

afterAll(async () => {
  await bench?.stop();
});

/** Asks again where a query contradicts the rejection, as `Recoveries.approve` does. */
async function approve(handle: Handle, planHash: string, by = 'ada'): Promise<string> {
  for (let tries = 1; ; tries++)
    try {
      return await handle.executeUpdate<string, [Approval]>(UPDATES.approve, { args: [{ planHash, by }] });
    } catch (error) {
      const waiting = await progressOf(handle);
      if (tries >= 5 || waiting.phase !== 'waiting-for-approval' || waiting.planHash !== planHash) throw error;
    }
}
const resolve = (handle: Handle, resolution: unknown) => handle.signal(SIGNALS.resolve, resolution as Resolution);
const stagesOf = (report: Report) => Object.fromEntries(report.stages.map(({ name, outcome }) => [name, outcome]));
const outcomesOf = (report: Report) =>
  Object.fromEntries(report.tables.map((each) => [`${each.table}@${each.replica}`, each.outcome]));

/** The first cause of a failed run: what somebody sees in the UI. */
async function failureOf(handle: Handle): Promise<{ type: string; message: string; problem: Problem }> {
  const error = await handle.result().then(
    (report) => expect.unreachable(`ended with outcome ${report.outcome}`),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(WorkflowFailedError);
  const { cause } = error as WorkflowFailedError;
  expect(cause).toBeInstanceOf(ApplicationFailure);
  const { type, message, details } = cause as ApplicationFailure;
  return { type: type ?? '', message, problem: details?.[0] as Problem };
}

/**
 * What the workflow has done so far, once it waits. Without workflow tasks: the server keeps those of a rejected update
 * when the whole history had to be replayed for it.
 */
async function settledHistory(handle: Handle): Promise<string[]> {
  return waitFor(
    async () => {
      const { events } = await handle.fetchHistory();
      const kinds = (events ?? []).flatMap((event) => Object.keys(event).filter((key) => key.endsWith('Attributes')));
      return kinds.includes('timerStartedEventAttributes') && kinds.filter((kind) => !kind.startsWith('workflowTask'));
    },
    { what: 'the timer of the wait', deadlineMs: 10_000 },
  );
}

const N3 = { name: 'n3', shard: '02', replica: 'r1' };
const onBothNodes = () => [planOf([table('a'), table('b', N2)])];
const oneTable = () => [planOf([table('a')])];

describe.each([
  { mode: 'workflows cached', options: {} },
  { mode: 'every workflow task replayed from the start', options: { maxCachedWorkflows: 0 } },
])('recoverCluster, $mode', { concurrent: true }, ({ options }) => {
  const scene = <T>(faked: Fakes, body: (scene: Scene) => Promise<T>) => bench.scene(faked, body, options);
  /** A whole run without anybody there. */
  const runToEnd = async (given: FakesOptions, request: Parameters<Scene['start']>[0] = {}) => {
    const faked = fakes(given);
    const report = await scene(faked, async ({ start }) => (await start(request)).result());
    return { report, ...faked };
  };

  describe('bad input', () => {
    it.each([
      { what: 'a string', input: 'demo', field: '(input)' },
      { what: 'nothing', input: undefined, field: '(input)' },
      { what: 'an unknown field', input: { cluster: 'c', aproval: 'auto' }, field: 'aproval' },
      { what: 'a wrong type', input: { cluster: 'c', tables: 'db.*' }, field: 'tables' },
      { what: 'a pattern without a dot', input: { cluster: 'c', tables: ['db.*', 'db'] }, field: 'tables.1' },
      { what: 'a hash that is none', input: { cluster: 'c', approve: 'yes' }, field: 'approve' },
    ])('fails the run at once: $what', async ({ input, field }) => {
      const faked = fakes({ plans: oneTable() });
      const found = await scene(faked, async ({ startWith }) => failureOf(await startWith(input)));
      expect(found.type).toBe('INPUT_INVALID');
      expect(found.problem).toMatchObject({ code: 'INPUT_INVALID', field });
      expect(found.problem.hint).toContain('schema');
      expect(found.message).toContain(found.problem.hint);
      expect(faked.calls).toEqual([]);
    });

    it('fails the run for a cluster that is not in the configuration', async () => {
      const activities: Partial<Activities> = {
        getPolicy: async () => {
          throw failure('CLUSTER_UNKNOWN', 'no cluster c');
        },
      };
      const faked = fakes({ plans: oneTable(), activities });
      const found = await scene(faked, async ({ start }) => failureOf(await start()));
      expect(found).toMatchObject({ type: 'CLUSTER_UNKNOWN', problem: { message: 'no cluster c' } });
      expect(faked.calls).toEqual(['getPolicy']);
    });

    it('fails the run for patterns that match no table', async () => {
      const refusal = problem('TABLES_MATCH_NOTHING', 'db.x matches no table', { field: 'tables.0' });
      const faked = fakes({ plans: [planOf([], { refusals: [refusal] })] });
      const found = await scene(faked, async ({ start }) => failureOf(await start({ tables: ['db.x'] })));
      expect(found).toMatchObject({ type: 'TABLES_MATCH_NOTHING', problem: refusal });
      expect(faked.calls).toEqual(['getPolicy', 'planRecovery']);
    });
  });

  describe('plan', () => {
    it('touches nothing when the plan is refused', async () => {
      const refusal = problem('WRONG_MACROS', 'n1 says it is 02/r1');
      const { report, calls, saved } = await runToEnd({ plans: [planOf([table('a')], { refusals: [refusal] })] });
      expect(report).toMatchObject({ outcome: 'needs-operator', problem: refusal, fence: 'never-raised' });
      expect(calls).toEqual(['getPolicy', 'planRecovery', 'saveReport']);
      expect(saved).toEqual([report]);
    });

    it('touches nothing when every table waits for a person', async () => {
      const { report, calls } = await runToEnd({ plans: [planOf([refused('a', 'REPLICAS_DIVERGED')])] });
      expect(report).toMatchObject({ outcome: 'needs-operator', problem: { code: 'REPLICAS_DIVERGED' } });
      expect(report.unrecovered).toMatchObject([{ table: 'a' }]);
      expect(calls).toEqual(['getPolicy', 'planRecovery', 'saveReport']);
    });

    it('has nothing to do on a healthy cluster, approval or not', async () => {
      const healthy = planOf([table('a', N1, { situation: 'healthy', action: 'none', statements: [] })]);
      const { report, calls } = await runToEnd({ plans: [healthy], policy: { approval: 'required' } });
      expect(report).toMatchObject({ outcome: 'nothing-to-do', fence: 'never-raised', unrecovered: [] });
      expect(outcomesOf(report)).toEqual({ 'a@r1': 'unchanged' });
      expect(calls).toEqual(['getPolicy', 'planRecovery', 'saveReport']);
    });
  });

  describe('success', () => {
    it('goes stop, restore data, verify, restore replica, objects, validate, finish, unfence', async () => {
      const { report, calls, saved } = await runToEnd(
        { plans: [planOf([table('a'), view('v')])] },
        { incident: 'INC-1' },
      );
      expect(calls).toEqual([
        'getPolicy',
        'planRecovery',
        'fenceNode n1',
        'createDatabases n1',
        'restoreTableData db.a @ 01/r1',
        'verifyTableParts db.a @ 01/r1',
        'restoreTableReplica db.a @ 01/r1',
        'createObjects db.v @ 01/r1',
        'validateTables db.a @ 01/r1, db.v @ 01/r1',
        'proveReplication 01',
        'finishNode n1',
        'liftFence n1',
        'saveReport',
      ]);
      expect(report).toMatchObject({
        outcome: 'succeeded',
        incident: 'INC-1',
        plan: { hash: HASH, approvedBy: 'approval: auto' },
        backup: { repository: 'local', name: 'b1' },
        rpo: { restoredFrom: 'b1' },
        fence: 'lifted',
        warnings: [],
        unrecovered: [],
      });
      expect(report.problem).toBeUndefined();
      expect(report.tables[0]).toMatchObject({
        outcome: 'recovered',
        ...{ rowsExpected: 10, rowsFound: 10, partsExpected: 2, partsFound: 2 },
        evidence: 'part hashes of the manifest',
        activation: 'active',
      });
      expect(outcomesOf(report)).toEqual({ 'a@r1': 'recovered', 'v@r1': 'recovered' });
      expect(Object.values(stagesOf(report))).toEqual(Array(5).fill('done'));
      expect(saved).toEqual([report]);
    });

    it('fences every node that is changed before the first table, and lifts every fence', async () => {
      const { report, calls } = await runToEnd({ plans: onBothNodes(), nodes: [N1, N2, N3] });
      expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
      const first = calls.indexOf('createDatabases n1');
      expect(calls.slice(0, first)).toEqual(expect.arrayContaining(['fenceNode n1', 'fenceNode n2']));
      expect(calls).not.toContain('fenceNode n3');
      expect(calls.filter((call) => call.startsWith('liftFence')).sort()).toEqual([
        'liftFence n1',
        'liftFence n2',
        'liftFence n3',
      ]);
    });

    it('tells its stage and outcome in search attributes where they are registered', async () => {
      await scene(fakes({ plans: oneTable(), searchAttributes: true }), async ({ client, cluster, start }) => {
        const handle = await start();
        await handle.result();
        const query = `ClickHouseCluster = '${cluster}' AND ClickHouseRecoveryOutcome = 'succeeded' AND ClickHouseRecoveryStage = 'validate'`;
        await waitFor(async () => (await client.workflow.count(query)).count === 1, {
          what: 'the search attributes',
          deadlineMs: 10_000,
        });
      });
    });

    it('ends needs-operator when a table of the plan waits for a person, with the others recovered', async () => {
      const { report, calls } = await runToEnd({
        plans: [planOf([table('a'), refused('b', 'EXPLICIT_KEEPER_PATH')])],
      });
      expect(report).toMatchObject({ outcome: 'needs-operator', problem: { code: 'EXPLICIT_KEEPER_PATH' } });
      expect(outcomesOf(report)).toEqual({ 'a@r1': 'recovered', 'b@r1': 'failed' });
      expect(calls).not.toContain('liftFence n1');
    });
  });

  describe('approval', () => {
    it('rejects a stale hash without a trace in the history, and goes on with the right one', async () => {
      const faked = fakes({ plans: oneTable(), policy: { approval: 'required' } });
      await scene(faked, async ({ start }) => {
        const handle = await start();
        await untilPhase(handle, 'waiting-for-approval');
        const before = await settledHistory(handle);
        for (const wrong of [NEXT_HASH, '']) {
          const error: unknown = await approve(handle, wrong).catch((reason: unknown) => reason);
          expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
          expect((error as WorkflowUpdateFailedError).cause).toMatchObject({ type: 'PLAN_STALE' });
        }
        const error: unknown = await handle
          .executeUpdate(UPDATES.approve, { args: [{ hash: HASH }] })
          .catch((reason: unknown) => reason);
        expect((error as WorkflowUpdateFailedError).cause).toMatchObject({ type: 'INPUT_INVALID' });
        expect(await settledHistory(handle)).toEqual(before);
        expect(faked.called('fenceNode')).toEqual([]);
        expect(await handle.query<Plan>(QUERIES.plan)).toMatchObject({ hash: HASH });

        expect(await approve(handle, HASH)).toBe('approved by ada');
        const report = await handle.result();
        expect(report).toMatchObject({
          outcome: 'succeeded',
          plan: { hash: HASH, approvedBy: 'approved by ada (as stated)' },
        });
      });
    });

    it('asks again where a validator rejects what a query shows to wait', async () => {
      const faked = fakes({ plans: oneTable(), policy: { approval: 'required' } });
      await scene(faked, async ({ client, start }) => {
        const handle = await start();
        await untilPhase(handle, 'waiting-for-approval');
        let rejections = 1;
        const stale = problem('PLAN_STALE', 'not the hash of the plan that waits for approval');
        const cause = ApplicationFailure.create({ type: stale.code, message: stale.message, details: [stale] });
        const doubtful = new Client({
          connection: client.connection,
          interceptors: {
            workflow: [
              {
                startUpdate: (input, next) => {
                  if (rejections-- > 0) throw new WorkflowUpdateFailedError('Workflow Update failed', cause);
                  return next(input);
                },
              },
            ],
          },
        });
        const recoveries = new Recoveries(doubtful);
        expect(await recoveries.approve(handle.workflowId, { planHash: HASH, by: 'ada' })).toBe('approved by ada');
        expect(rejections).toBe(-1);
        expect(await handle.result()).toMatchObject({ outcome: 'succeeded' });
      });
    });

    it('takes the request over the policy', async () => {
      const { report } = await runToEnd({ plans: oneTable(), policy: { approval: 'required' } }, { approval: 'auto' });
      expect(report).toMatchObject({ outcome: 'succeeded', plan: { approvedBy: 'approval: auto' } });
    });

    it('takes an approval in advance', async () => {
      const { report } = await runToEnd({ plans: oneTable(), policy: { approval: 'required' } }, { approve: HASH });
      expect(report).toMatchObject({ outcome: 'succeeded', plan: { approvedBy: 'approved in advance, by hash' } });
    });

    it('fails the run when another plan was approved in advance, also where approval is auto', async () => {
      const faked = fakes({ plans: oneTable() });
      const found = await scene(faked, async ({ start }) => failureOf(await start({ approve: NEXT_HASH })));
      expect(found).toMatchObject({ type: 'PLAN_STALE', problem: { field: 'approve' } });
      expect(faked.called('fenceNode')).toEqual([]);
    });

    it('makes the plan once, under the lock, where nobody is asked, and again where somebody approved it', async () => {
      const courses: string[][] = [];
      for (const request of [{ approval: 'auto' }, { approve: HASH }, { approval: 'required' }] as const) {
        let scenes: { client: Client; cluster: string } | null = null;
        const course: string[] = [];
        const plan = planOf([table('a')]);
        const activities: FakesOptions['activities'] = {
          planRecovery: async () => {
            const lock = scenes!.client.workflow.getHandle(lockId(scenes!.cluster)).describe();
            course.push(
              await lock.then(
                ({ status }) => status.name,
                () => 'free',
              ),
            );
            return plan;
          },
        };
        await scene(fakes({ plans: [plan], activities }), async ({ client, cluster, start }) => {
          scenes = { client, cluster };
          const handle = await start(request);
          if ('approval' in request && request.approval === 'required') {
            await untilPhase(handle, 'waiting-for-approval');
            await approve(handle, HASH);
          }
          expect((await handle.result()).outcome).toBe('succeeded');
        });
        courses.push(course);
      }
      expect(courses).toEqual([['RUNNING'], ['RUNNING'], ['free', 'RUNNING']]);
    });

    it('gives up when nobody approves', async () => {
      const { report, called } = await runToEnd({
        plans: oneTable(),
        policy: { approval: 'required', approvalTimeoutSeconds: 1 },
      });
      expect(report).toMatchObject({
        outcome: 'failed',
        problem: { code: 'APPROVAL_TIMEOUT' },
        fence: 'never-raised',
        plan: { approvedBy: '' },
      });
      expect(called('fenceNode')).toEqual([]);
    });

    it('asks again when the plan changed after the approval, and does not hold the lock meanwhile', async () => {
      const plans = [planOf([table('a')]), planOf([table('a'), table('b')], { hash: NEXT_HASH })];
      const faked = fakes({ plans, policy: { approval: 'required' } });
      await scene(faked, async ({ client, cluster, start }) => {
        const handle = await start();
        await untilPhase(handle, 'waiting-for-approval');
        await approve(handle, HASH);
        await waitFor(async () => (await progressOf(handle)).planHash === NEXT_HASH, {
          what: 'the new plan',
          deadlineMs: 20_000,
        });
        await untilPhase(handle, 'waiting-for-approval');
        const lock = await client.workflow.getHandle(lockId(cluster)).describe();
        expect(lock.status.name).not.toBe('RUNNING');
        await expect(approve(handle, HASH)).rejects.toBeInstanceOf(WorkflowUpdateFailedError);
        expect(faked.called('fenceNode')).toEqual([]);

        await approve(handle, NEXT_HASH, 'grace');
        const report = await handle.result();
        expect(report).toMatchObject({
          outcome: 'succeeded',
          plan: { hash: NEXT_HASH, approvedBy: 'approved by grace (as stated)' },
          warnings: ['the cluster changed after the approval: a new plan was made'],
        });
        expect(outcomesOf(report)).toEqual({ 'a@r1': 'recovered', 'b@r1': 'recovered' });
      });
    });

    it('names no approver for a changed plan that nobody approved', async () => {
      const plans = [planOf([table('a')]), planOf([table('b')], { hash: NEXT_HASH })];
      const faked = fakes({ plans, policy: { approval: 'required', approvalTimeoutSeconds: 4 } });
      const report = await scene(faked, async ({ start }) => {
        const handle = await start();
        await untilPhase(handle, 'waiting-for-approval');
        await approve(handle, HASH);
        return handle.result();
      });
      expect(report).toMatchObject({
        problem: { code: 'APPROVAL_TIMEOUT' },
        plan: { hash: NEXT_HASH, approvedBy: '' },
      });
      expect(faked.called('fenceNode')).toEqual([]);
    });
  });

  describe('one recovery per cluster', () => {
    it('leaves a second recovery to a person, and does not fence', async () => {
      const held = hold();
      const faked = fakes({
        plans: oneTable(),
        activities: {
          restoreTableData: async () => {
            await held.pass();
            return {} as never;
          },
        },
      });
      await scene(faked, async ({ cluster, start }) => {
        const first = await start();
        await held.entered;
        const second = await (await start()).result();
        expect(second).toMatchObject({
          outcome: 'needs-operator',
          problem: { code: 'RECOVERY_RUNNING', objects: [lockId(cluster)] },
          fence: 'never-raised',
        });
        expect(faked.called('fenceNode')).toHaveLength(1);
        held.release();
        expect((await first.result()).outcome).toBe('succeeded');
      });
    });

    it('lets the next recovery begin as soon as one has ended', async () => {
      await scene(fakes({ plans: oneTable() }), async ({ start }) => {
        for (let round = 0; round < 5; round++) {
          const report = await (await start()).result();
          expect(report.problem).toBeUndefined();
        }
      });
    });

    it('holds the lock until the clean-up after an abort is over', async () => {
      const working = hold();
      const lifting = hold();
      const faked = fakes({
        plans: oneTable(),
        policy: { onFailure: 'unfence' },
        activities: {
          restoreTableData: async () => {
            await working.pass();
            return {} as never;
          },
          liftFence: async () => {
            await lifting.pass();
            return 'lifted';
          },
        },
      });
      await scene(faked, async ({ client, cluster, start }) => {
        const handle = await start();
        await working.entered;
        await handle.signal(SIGNALS.abort);
        await lifting.entered;
        // Time for a lock that was let go of to end.
        await delay(1_000);
        const lock = await client.workflow.getHandle(lockId(cluster)).describe();
        lifting.release();
        expect((await handle.result()).outcome).toBe('aborted');
        expect(lock.status.name).toBe('RUNNING');
      });
    });
  });

  describe('failure without a person (approval: auto)', () => {
    const oneFails = (policy: FakesOptions['policy'] = {}): FakesOptions => ({
      plans: [planOf([table('a'), table('b')])],
      policy,
      activities: {
        verifyTableParts: async ({ item }) => {
          if (item.table === 'a') throw failure('PART_BROKEN', 'part 1_1_1_0 of db.a');
          return { parts: item.expected!, evidence: 'part hashes of the manifest' };
        },
      },
    });

    it('ends by the code of the table that failed, with the others done and the fence up', async () => {
      const { report, calls } = await runToEnd(oneFails());
      expect(report).toMatchObject({
        outcome: 'needs-operator',
        problem: { code: 'PART_BROKEN' },
        fence: 'held',
        unrecovered: [{ table: 'a', reason: 'part 1_1_1_0 of db.a' }],
      });
      expect(outcomesOf(report)).toEqual({ 'a@r1': 'failed', 'b@r1': 'recovered' });
      expect(report.warnings.join()).toContain(`ch-recover unfence --cluster ${report.cluster}`);
      expect(calls).not.toContain('restoreTableReplica db.a @ 01/r1');
      expect(calls).not.toContain('finishNode n1');
      expect(calls).not.toContain('liftFence n1');
    });

    it('lifts the fence where the policy says so, and drops no clones', async () => {
      const { report, calls } = await runToEnd(oneFails({ onFailure: 'unfence' }));
      expect(report).toMatchObject({ outcome: 'needs-operator', fence: 'lifted' });
      expect(calls).toContain('liftFence n1');
      expect(calls).not.toContain('finishNode n1');
    });

    it.each([
      { activity: 'restoreTableData', code: 'RESTORE_FAILED', stage: 'restore-data' },
      { activity: 'verifyTableParts', code: 'VERIFY_FAILED', stage: 'verify-parts' },
      { activity: 'restoreTableReplica', code: 'NO_PROGRESS', stage: 'restore-replica' },
    ] as const)('says failed for the stage in which a table failed: $stage', async ({ activity, code, stage }) => {
      const { report } = await runToEnd({
        plans: oneTable(),
        activities: {
          [activity]: async () => {
            throw failure(code);
          },
        },
      });
      expect(report).toMatchObject({ outcome: 'failed', problem: { code }, fence: 'held' });
      expect(stagesOf(report)[stage]).toBe('failed');
    });

    it('fails objects that cannot be created', async () => {
      const { report, calls } = await runToEnd({
        plans: [planOf([table('a'), view('v')])],
        activities: {
          createObjects: async () => {
            throw failure('STATEMENT_FAILED');
          },
        },
      });
      expect(report).toMatchObject({ outcome: 'failed', problem: { code: 'STATEMENT_FAILED' } });
      expect(outcomesOf(report)).toEqual({ 'a@r1': 'recovered', 'v@r1': 'failed' });
      expect(calls).toContain('validateTables db.a @ 01/r1');
    });

    it('fails, and stays fenced, when validation finds a problem', async () => {
      const { report, calls } = await runToEnd({
        plans: oneTable(),
        activities: {
          validateTables: async ({ items }) =>
            items.map(({ key }) => ({
              ...valid(key),
              rowsFound: 9,
              problem: problem('VALIDATION_FAILED', '9 rows of 10'),
            })),
        },
      });
      expect(report).toMatchObject({ outcome: 'failed', problem: { code: 'VALIDATION_FAILED' }, fence: 'held' });
      expect(report.tables[0]).toMatchObject({ outcome: 'failed', rowsExpected: 10, rowsFound: 9 });
      expect(stagesOf(report)).toMatchObject({ 'restore-replica': 'done', validate: 'failed' });
      expect(calls).not.toContain('liftFence n1');
    });

    it('is no success when validation says nothing about a table', async () => {
      const { report } = await runToEnd({ plans: oneTable(), activities: { validateTables: async () => [] } });
      expect(report).toMatchObject({ outcome: 'failed', fence: 'held' });
      expect(outcomesOf(report)).not.toMatchObject({ 'a@r1': 'recovered' });
    });

    it('fails when a node cannot be fenced, and works on no table', async () => {
      const { report, called } = await runToEnd({
        plans: onBothNodes(),
        nodes: [N1, N2],
        activities: {
          fenceNode: async ({ node }) => {
            if (node.name === 'n2') throw failure('NODE_UNAVAILABLE');
            return { streamingTables: 0 };
          },
        },
      });
      expect(report).toMatchObject({ outcome: 'failed', problem: { code: 'NODE_UNAVAILABLE' }, fence: 'held' });
      expect(stagesOf(report)).toMatchObject({ stop: 'failed', 'restore-data': 'skipped', validate: 'skipped' });
      expect(called('createDatabases')).toEqual([]);
    });

    it('waits for the fences that are still being raised before it lifts them', async () => {
      const order: string[] = [];
      const faked = fakes({
        plans: onBothNodes(),
        nodes: [N1, N2],
        policy: { onFailure: 'unfence' },
        activities: {
          fenceNode: async ({ node }) => {
            if (node.name === 'n2') throw failure('NODE_UNAVAILABLE');
            await delay(1_000);
            order.push('raised n1');
            return { streamingTables: 0 };
          },
          liftFence: async ({ node }) => {
            order.push(`lifted ${node.name}`);
            return 'lifted';
          },
        },
      });
      await scene(faked, async ({ start }) => {
        await (await start()).result();
        await waitFor(() => order.includes('raised n1'), { what: 'the fence of n1', deadlineMs: 5_000 });
      });
      expect(order).toEqual(['raised n1', 'lifted n1', 'lifted n2']);
    });

    it('ends with a report, whatever the code, once the fence is up', async () => {
      const { report, saved } = await runToEnd({
        plans: onBothNodes(),
        nodes: [N1, N2],
        activities: {
          fenceNode: async ({ node }) => {
            if (node.name === 'n2') throw failure('SECRET_MISSING', 'the file of the password is gone');
            return { streamingTables: 0 };
          },
        },
      });
      expect(report).toMatchObject({ outcome: 'failed', problem: { code: 'SECRET_MISSING' }, fence: 'held' });
      expect(saved).toHaveLength(1);
    });
  });

  describe('failure with a person there (approval: required)', () => {
    /** The first restore of table a fails; table b has no trouble. */
    const attended = (policy: FakesOptions['policy'] = {}) => {
      let failed = false;
      return fakes({
        plans: [planOf([table('a'), table('b')])],
        policy: { approval: 'required', ...policy },
        activities: {
          restoreTableData: async ({ item }) => {
            if (item.table === 'a' && !failed) {
              failed = true;
              throw failure('DISK_FULL', 'no space on n1');
            }
            return {} as never;
          },
        },
      });
    };
    const untilFailed = async (start: Scene['start']) => {
      const handle = await start({ approve: HASH });
      const progress = await untilPhase(handle, 'waiting-for-resolve');
      expect(progress.units.map(({ label, state }) => `${label} ${state}`)).toEqual([
        'db.a @ 01/r1 failed',
        'db.b @ 01/r1 done',
      ]);
      return handle;
    };

    it('retry: repeats the failed table alone and succeeds', async () => {
      const faked = attended();
      const report = await scene(faked, async ({ start }) => {
        const handle = await untilFailed(start);
        await resolve(handle, { action: 'retry', tables: ['db.*'], by: 'ada' });
        return handle.result();
      });
      expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted', unrecovered: [] });
      expect(faked.called('restoreTableData').filter((call) => call.includes('db.b'))).toHaveLength(1);
      expect(faked.called('validateTables')).toEqual(['validateTables db.b @ 01/r1', 'validateTables db.a @ 01/r1']);
      expect(Object.values(stagesOf(report))).toEqual(Array(5).fill('done'));
    });

    it('skip: ends needs-operator, the table listed as not recovered, the fence up', async () => {
      const faked = attended();
      const report = await scene(faked, async ({ start }) => {
        const handle = await untilFailed(start);
        await resolve(handle, { action: 'skip' });
        return handle.result();
      });
      expect(report).toMatchObject({ outcome: 'needs-operator', fence: 'held', unrecovered: [{ table: 'a' }] });
      expect(outcomesOf(report)).toEqual({ 'a@r1': 'skipped', 'b@r1': 'recovered' });
      expect(faked.called('liftFence')).toEqual([]);
    });

    it('goes on waiting when the patterns match none of the failed tables', async () => {
      const report = await scene(attended(), async ({ start }) => {
        const handle = await untilFailed(start);
        await resolve(handle, { action: 'skip', tables: ['db.b'] });
        await untilPhase(handle, 'waiting-for-resolve');
        await resolve(handle, { action: 'skip', tables: ['db.a'] });
        return handle.result();
      });
      expect(report.outcome).toBe('needs-operator');
    });

    it('keeps the stage of a failed table failed when only another one is tried again', async () => {
      let first = true;
      const faked = fakes({
        plans: [planOf([table('a'), table('b')])],
        policy: { approval: 'required' },
        activities: {
          restoreTableData: async ({ item }) => {
            if (item.table === 'a' && first) {
              first = false;
              throw failure('DISK_FULL');
            }
            return {} as never;
          },
          verifyTableParts: async ({ item }) => {
            if (item.table === 'b') throw failure('PART_BROKEN');
            return { parts: item.expected!, evidence: 'part hashes of the manifest' };
          },
        },
      });
      const report = await scene(faked, async ({ start }) => {
        const handle = await start({ approve: HASH });
        await untilPhase(handle, 'waiting-for-resolve');
        await resolve(handle, { action: 'retry', tables: ['db.a'] });
        await waitFor(() => faked.called('validateTables').length > 0, { what: 'the retry', deadlineMs: 10_000 });
        await untilPhase(handle, 'waiting-for-resolve');
        await resolve(handle, { action: 'skip' });
        return handle.result();
      });
      expect(outcomesOf(report)).toEqual({ 'a@r1': 'recovered', 'b@r1': 'skipped' });
      expect(stagesOf(report)).toMatchObject({ 'restore-data': 'done', 'verify-parts': 'failed' });
    });

    it('abort: ends aborted', async () => {
      const report = await scene(attended(), async ({ start }) => {
        const handle = await untilFailed(start);
        await resolve(handle, { action: 'abort' });
        return handle.result();
      });
      expect(report).toMatchObject({ outcome: 'aborted', fence: 'held' });
      expect(outcomesOf(report)).toEqual({ 'a@r1': 'failed', 'b@r1': 'recovered' });
    });

    it('ends by the code of the failed table when nobody decides in time', async () => {
      const report = await scene(attended({ resolveTimeoutSeconds: 1 }), async ({ start }) =>
        (await untilFailed(start)).result(),
      );
      expect(report).toMatchObject({ outcome: 'needs-operator', problem: { code: 'DISK_FULL' }, fence: 'held' });
    });

    it.each([
      { what: 'nothing', resolution: undefined },
      { what: 'an unknown action', resolution: { action: 'ignore' } },
      { what: 'patterns that are no list', resolution: { action: 'retry', tables: 'db.*' } },
    ])('does not act on a resolution that is not valid, and goes on waiting: $what', async ({ resolution }) => {
      const faked = attended();
      await scene(faked, async ({ start }) => {
        const handle = await untilFailed(start);
        await resolve(handle, resolution);
        // A second message is handled after the first, so an answer to it shows what became of that.
        await handle.signal(SIGNALS.pause);
        await waitFor(async () => (await progressOf(handle)).paused, { what: 'the pause', deadlineMs: 5_000 });
        expect((await progressOf(handle)).phase).toBe('waiting-for-resolve');
        expect(faked.called('restoreTableData').filter((call) => call.includes('db.a'))).toHaveLength(1);
        await handle.signal(SIGNALS.resume);
        await resolve(handle, { action: 'retry' });
        expect((await handle.result()).outcome).toBe('succeeded');
      });
    });
  });

  describe('abort and cancellation', () => {
    /** Table a stands in `activity` until it is cancelled. */
    const stuckIn = (
      activity: 'fenceNode' | 'restoreTableData' | 'validateTables',
      policy: FakesOptions['policy'] = {},
    ) => {
      const held = hold();
      const faked = fakes({
        plans: oneTable(),
        policy,
        activities: {
          [activity]: async () => {
            await held.pass();
            return [];
          },
        },
      });
      return { held, ...faked };
    };

    for (const how of ['abort', 'cancel'] as const) {
      const end = (handle: Handle) => (how === 'abort' ? handle.signal(SIGNALS.abort) : handle.cancel());

      it.each(['fenceNode', 'restoreTableData', 'validateTables'] as const)(
        `${how}: ends with a report, aborted, while %s runs`,
        async (activity) => {
          const { held, saved, calls, ...faked } = stuckIn(activity);
          const report = await scene({ calls, saved, ...faked }, async ({ start }) => {
            const handle = await start();
            await held.entered;
            await end(handle);
            return handle.result();
          });
          expect(report).toMatchObject({ outcome: 'aborted', fence: 'held' });
          expect(saved).toEqual([report]);
          expect(calls.at(-1)).toBe('saveReport');
          expect(calls).not.toContain('liftFence n1');
        },
      );

      it(`${how}: cleans up as the policy says`, async () => {
        const { held, ...faked } = stuckIn('restoreTableData', { onFailure: 'unfence' });
        const report = await scene(faked, async ({ start }) => {
          const handle = await start();
          await held.entered;
          await end(handle);
          return handle.result();
        });
        expect(report).toMatchObject({ outcome: 'aborted', fence: 'lifted' });
        expect(faked.calls.slice(-2)).toEqual(['liftFence n1', 'saveReport']);
      });

      it(`${how}: lifts no fence before the activities that still run have ended`, async () => {
        const held = hold();
        const order: string[] = [];
        const faked = fakes({
          plans: oneTable(),
          policy: { onFailure: 'unfence' },
          activities: {
            restoreTableData: async () => {
              try {
                await held.pass();
                return {} as never;
              } finally {
                // A statement that was sent does not end at once.
                await delay(700);
                order.push('ended');
              }
            },
            liftFence: async () => {
              order.push('lifted');
              return 'lifted';
            },
          },
        });
        await scene(faked, async ({ start }) => {
          const handle = await start();
          await held.entered;
          await end(handle);
          await handle.result().catch(() => undefined);
          await waitFor(() => order.includes('ended'), { what: 'the end of the activity', deadlineMs: 5_000 });
        });
        expect(order).toEqual(['ended', 'lifted']);
      });

      it(`${how}: ends the wait for an approval, nothing touched`, async () => {
        const faked = fakes({ plans: oneTable(), policy: { approval: 'required' } });
        const report = await scene(faked, async ({ start }) => {
          const handle = await start();
          await untilPhase(handle, 'waiting-for-approval');
          await end(handle);
          return handle.result();
        });
        expect(report).toMatchObject({ outcome: 'aborted', fence: 'never-raised', plan: { approvedBy: '' } });
        expect(faked.called('fenceNode')).toEqual([]);
      });

      it(`${how}: ends the wait for a decision`, async () => {
        const faked = fakes({
          plans: oneTable(),
          activities: {
            restoreTableData: async () => {
              throw failure('DISK_FULL');
            },
          },
          policy: { approval: 'required' },
        });
        const report = await scene(faked, async ({ start }) => {
          const handle = await start({ approve: HASH });
          await untilPhase(handle, 'waiting-for-resolve');
          await end(handle);
          return handle.result();
        });
        expect(report).toMatchObject({ outcome: 'aborted', fence: 'held' });
      });

      it(`${how}: ends a pause`, async () => {
        const held = hold();
        const faked = fakes({
          plans: oneTable(),
          activities: {
            restoreTableData: async () => {
              await held.pass();
              return {} as never;
            },
          },
        });
        const report = await scene(faked, async ({ start }) => {
          const handle = await start();
          await held.entered;
          await handle.signal(SIGNALS.pause);
          held.release();
          await waitFor(async () => (await handle.describe()).raw.pendingActivities?.length === 0, {
            what: 'the end of the activity',
            deadlineMs: 5_000,
          });
          await end(handle);
          return handle.result();
        });
        expect(report.outcome).toBe('aborted');
        expect(faked.called('verifyTableParts')).toEqual([]);
      });
    }

    it('answers questions, and hears an abort, while the configuration is still being read', async () => {
      const held = hold();
      const plain = fakes({ plans: oneTable() });
      const faked = fakes({
        plans: oneTable(),
        activities: {
          getPolicy: async (input) => {
            await held.pass();
            return plain.activities.getPolicy(input);
          },
        },
      });
      const report = await scene(faked, async ({ cluster, start }) => {
        const handle = await start();
        await held.entered;
        expect(await progressOf(handle)).toMatchObject({ cluster, phase: 'inspecting', planHash: null, units: [] });
        await handle.signal(SIGNALS.abort);
        held.release();
        return handle.result();
      });
      expect(report).toMatchObject({ outcome: 'aborted', fence: 'never-raised' });
      expect(faked.called('fenceNode')).toEqual([]);
    });
  });

  describe('pause', () => {
    it.each(['fenceNode', 'restoreTableData', 'verifyTableParts', 'restoreTableReplica', 'validateTables'] as const)(
      'starts nothing more after %s until resume',
      async (activity) => {
        const held = hold();
        const plain = fakes({ plans: oneTable() });
        const faked = fakes({
          plans: oneTable(),
          activities: {
            [activity]: async (input: never) => {
              await held.pass();
              return (plain.activities[activity] as (input: never) => Promise<unknown>)(input);
            },
          },
        });
        const report = await scene(faked, async ({ start }) => {
          const handle = await start();
          await held.entered;
          await handle.signal(SIGNALS.pause);
          await waitFor(async () => (await progressOf(handle)).paused, { what: 'the pause', deadlineMs: 5_000 });
          held.release();
          await delay(700);
          expect(faked.calls.at(-1)?.split(' ')[0]).toBe(activity);
          await handle.signal(SIGNALS.resume);
          return handle.result();
        });
        expect(report.outcome).toBe('succeeded');
      },
    );
  });

  describe('clean-up that fails', () => {
    it('keeps its outcome when the report cannot be stored, and warns', async () => {
      const { report } = await runToEnd({
        plans: oneTable(),
        activities: {
          saveReport: async () => {
            throw failure('INTERNAL', 'disk away');
          },
        },
      });
      expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
      expect(report.warnings).toEqual(['the report could not be stored: disk away']);
    });

    it('warns and names ch-recover unfence when a fence cannot be lifted, and goes on with the other nodes', async () => {
      const { report, calls, saved } = await runToEnd({
        plans: oneTable(),
        nodes: [N1, N2],
        activities: {
          liftFence: async ({ node }) => {
            if (node.name === 'n1') throw failure('NODE_UNAVAILABLE', 'n1 is away');
            return 'lifted';
          },
        },
      });
      expect(report).toMatchObject({ outcome: 'succeeded', fence: 'held' });
      expect(report.warnings[0]).toContain('node n1 may still be fenced: n1 is away');
      expect(report.warnings[0]).toContain(`ch-recover unfence --cluster ${report.cluster}`);
      expect(calls).toContain('liftFence n2');
      expect(saved).toEqual([report]);
    });

    it('sets aside or drops safety clones as the approved plan says, whatever the configuration says by then', async () => {
      const given: unknown[] = [];
      for (const keepAside of [true, false])
        await runToEnd({
          plans: [planOf([table('a')], { keepAside })],
          policy: { keepAside: !keepAside },
          activities: {
            finishNode: async (input) => {
              given.push(input.keepAside);
              return { kept: 0, dropped: 0 };
            },
          },
        });
      expect(given).toEqual([true, false]);
    });

    it('lifts the fence also where what is left in _recovery cannot be set aside', async () => {
      const { report, calls } = await runToEnd({
        plans: oneTable(),
        nodes: [N1, N2],
        activities: {
          finishNode: async ({ node }) => {
            if (node.name === 'n1') throw failure('NODE_UNAVAILABLE', 'n1 is away');
            return { kept: 0, dropped: 0 };
          },
        },
      });
      expect(report).toMatchObject({ outcome: 'succeeded', fence: 'lifted' });
      expect(report.warnings[0]).toContain('node n1: what is left in _recovery was not set aside: n1 is away');
      expect(calls).toEqual(expect.arrayContaining(['liftFence n1', 'liftFence n2']));
    });
  });

  describe('several replicas and lanes', () => {
    const replicas = (name: string) => [
      table(name, N2, { authority: false, action: 'recreate-and-fetch', statements: [] }),
      table(name, N1),
    ];

    it('brings a table back on its authority before the other replicas', async () => {
      const { report, calls } = await runToEnd({ plans: [planOf([...replicas('a'), ...replicas('b')])] });
      expect(report.outcome).toBe('succeeded');
      for (const name of ['a', 'b']) {
        expect(calls.filter((call) => call.includes(`db.${name} @`) && call.startsWith('restore'))).toEqual([
          `restoreTableData db.${name} @ 01/r1`,
          `restoreTableReplica db.${name} @ 01/r1`,
          `restoreTableReplica db.${name} @ 01/r2`,
        ]);
      }
      expect(outcomesOf(report)).toEqual({
        ...{ 'a@r1': 'recovered', 'a@r2': 'recovered' },
        ...{ 'b@r1': 'recovered', 'b@r2': 'recovered' },
      });
    });

    it('fails the other replicas with the authority, and does not touch them', async () => {
      const { report, calls } = await runToEnd({
        plans: [planOf(replicas('a'))],
        activities: {
          restoreTableReplica: async () => {
            throw failure('NO_PROGRESS', 'db.a does not converge');
          },
        },
      });
      expect(report).toMatchObject({ outcome: 'failed', problem: { code: 'NO_PROGRESS' } });
      expect(outcomesOf(report)).toEqual({ 'a@r1': 'failed', 'a@r2': 'failed' });
      expect(calls.filter((call) => call.includes('01/r2'))).toEqual([]);
    });

    it('works on no more tables of a node at once than the policy allows', async () => {
      const running = new Map<string, number>();
      const most = new Map<string, number>();
      const counted = async (node: string) => {
        running.set(node, (running.get(node) ?? 0) + 1);
        most.set(node, Math.max(most.get(node) ?? 0, running.get(node)!));
        // The first waits for its neighbour; the rest of the time is for one too many to be seen.
        await waitFor(() => most.get(node)! >= 2, { what: 'the second lane', deadlineMs: 60_000 });
        await delay(150);
        running.set(node, running.get(node)! - 1);
      };
      const names = ['a', 'b', 'c', 'd', 'e'];
      const other = { ...N2, shard: '02' };
      const { report } = await runToEnd({
        plans: [planOf(names.flatMap((name) => [table(name), table(name, other)]))],
        policy: { lanesPerNode: 2 },
        activities: {
          restoreTableData: async ({ item }) => {
            await counted(item.node.name);
            return {} as never;
          },
          restoreTableReplica: async ({ item }) => {
            await counted(item.node.name);
            return { rows: 10, parts: 2 };
          },
        },
      });
      expect(report.outcome).toBe('succeeded');
      expect(most).toEqual(
        new Map([
          ['n1', 2],
          ['n2', 2],
        ]),
      );
    });
  });

  describe('what people see', () => {
    it('shows progress by query and as a Markdown table in the details of the UI', async () => {
      const held = hold();
      const faked = fakes({
        plans: [planOf([table('a'), table('b')])],
        policy: { lanesPerNode: 1 },
        activities: {
          verifyTableParts: async ({ item }) => {
            await held.pass();
            return { parts: item.expected!, evidence: 'part hashes of the manifest' };
          },
        },
      });
      await scene(faked, async ({ cluster, start }) => {
        const handle = await start();
        const details = async () =>
          (await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata')).currentDetails;
        await held.entered;
        const progress = await progressOf(handle);
        expect(progress).toMatchObject({ cluster, phase: 'executing', planHash: HASH, paused: false, outcome: null });
        expect(progress.units.map(({ label, state }) => ({ label, state }))).toEqual([
          { label: 'db.a @ 01/r1', state: 'verify-parts' },
          { label: 'db.b @ 01/r1', state: 'waiting' },
        ]);
        expect(await details()).toContain(
          '| table @ shard/replica | \u00a0\u00a0state | \u00a0\u00a0rows |\n|:---|:---|---:|\n',
        );
        expect(await details()).toContain('| db.a @ 01/r1 | \u00a0\u00a0▶\u00a0verify\u00a0parts |  |');
        expect(await details()).toContain('| stop | \u00a0\u00a0done |');
        expect(await handle.query<Report | null>(QUERIES.report)).toBeNull();

        held.release();
        const report = await handle.result();
        expect(await handle.query<Report>(QUERIES.report)).toEqual(report);
        expect(await progressOf(handle)).toMatchObject({ phase: 'closed', outcome: 'succeeded' });
        expect(await details()).toContain(`**${cluster}: succeeded** — 2 of 2 tables done, 0 failed`);
        expect(await details()).toContain('| db.a @ 01/r1 | \u00a0\u00a0✔\u00a0done | 10 |');
      });
    });

    it('says what to send while it waits for an approval', async () => {
      await scene(fakes({ plans: oneTable(), policy: { approval: 'required' } }), async ({ start }) => {
        const handle = await start();
        await untilPhase(handle, 'waiting-for-approval');
        const { currentDetails } = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
        expect(currentDetails).toContain(`{"planHash":"${HASH}","by":"you"}`);
        await handle.signal(SIGNALS.abort);
        await handle.result();
      });
    });
  });
});
