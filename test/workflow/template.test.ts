import { SearchAttributeType, defineSearchAttributeKey, TypedSearchAttributes } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SEARCH_ATTRIBUTES, WORKFLOWS } from '../../src/domain/messages.js';
import { Recoveries } from '../../src/service/recoveries.js';
import { failure, fakes, planOf, table } from './fakes.js';
import { startBench, type Bench } from './bench.js';

let bench: Bench;
beforeAll(async () => {
  bench = await startBench();
});
afterAll(async () => {
  await bench?.stop();
});

const work = () => fakes({ plans: [planOf([table('a')])], searchAttributes: true });

describe('a template', () => {
  it('completes, has asked nothing but the name of the cluster, and is no recovery to anybody', async () => {
    await bench.scene(work(), async ({ client, cluster, taskQueue }) => {
      const recoveries = new Recoveries(client, 5_000);
      const { id, runId, ...rest } = await recoveries.template({ cluster, backup: 'latest' }, taskQueue);
      expect(rest).toEqual({ namespace: 'default', workflowType: 'recoverCluster', taskQueue });
      const handle = client.workflow.getHandle(id, runId);
      expect((await handle.describe()).status.name).toBe('COMPLETED');
      const { events } = await handle.fetchHistory();
      const asked = (events ?? []).flatMap(
        (each) => each.activityTaskScheduledEventAttributes?.activityType?.name ?? [],
      );
      expect(asked).toEqual(['getPolicy']);
      const { currentDetails } = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
      expect(currentDetails).toContain('nothing was done');

      for (const ask of [() => recoveries.find(id), () => recoveries.report(id), () => recoveries.plan(id)])
        await expect(ask()).rejects.toMatchObject({ code: 'WORKFLOW_UNKNOWN' });
      // A run like it, as the UI starts one, is a recovery.
      const like = await client.workflow.start(WORKFLOWS.recover, {
        ...{ taskQueue, workflowId: id },
        args: [{ cluster, approval: 'auto' }],
      });
      expect(await like.result()).toMatchObject({ outcome: 'succeeded' });
      expect(await recoveries.report(id)).toMatchObject({ outcome: 'succeeded' });
    });
  });

  it('of a cluster that is not there: says so, as a failed run', async () => {
    const unknown = failure('CLUSTER_UNKNOWN', 'there is no cluster "x"');
    const faked = work();
    faked.activities.getPolicy = () => Promise.reject(unknown);
    await bench.scene(faked, async ({ client, cluster, taskQueue }) => {
      const made = new Recoveries(client, 5_000).template({ cluster }, taskQueue);
      await expect(made).rejects.toMatchObject({ code: 'CLUSTER_UNKNOWN' });
    });
  });

  it('without a worker: says so, and takes it back', async () => {
    const recoveries = new Recoveries(bench.client, 1_000);
    await expect(recoveries.template({ cluster: 'lonely' }, 'nobody')).rejects.toMatchObject({
      code: 'WORKER_UNAVAILABLE',
      message: 'no worker polls task queue nobody',
    });
    const left = bench.client.workflow.list({
      query: `WorkflowId STARTS_WITH 'template-lonely' AND ExecutionStatus = 'Running'`,
    });
    for await (const each of left) expect.unreachable(`${each.workflowId} runs`);
  });
});

it('a run that is started like one that succeeded has not succeeded yet', async () => {
  const key = (name: string) => defineSearchAttributeKey(name, SearchAttributeType.KEYWORD);
  const [stage, outcome] = [key(SEARCH_ATTRIBUTES.stage), key(SEARCH_ATTRIBUTES.outcome)];
  await bench.scene(work(), async ({ client, cluster, taskQueue }) => {
    const handle = await client.workflow.start(WORKFLOWS.recover, {
      ...{ taskQueue, workflowId: `like-${cluster}`, args: [{ cluster, approval: 'auto' }] },
      typedSearchAttributes: new TypedSearchAttributes([
        { key: stage, value: 'validate' },
        { key: outcome, value: 'succeeded' },
      ]),
    });
    await handle.result();
    const { events } = await handle.fetchHistory();
    const [first] = (events ?? []).flatMap(
      (each) => each.upsertWorkflowSearchAttributesEventAttributes?.searchAttributes?.indexedFields ?? [],
    ) as Record<string, { data?: Uint8Array | null }>[];
    for (const name of [SEARCH_ATTRIBUTES.stage, SEARCH_ATTRIBUTES.outcome])
      expect(Buffer.from(first?.[name]?.data ?? 'absent').toString()).toMatch(/^(|null|\[\])$/);
    const { typedSearchAttributes } = await handle.describe();
    expect(typedSearchAttributes.get(outcome)).toBe('succeeded');
  });
});
