import { ActivityCancellationType, CancellationScope, isCancellation, proxyActivities } from '@temporalio/workflow';
import type { Activities, Run } from '../activities/index.js';
import { itemLabel, unitKey } from '../domain/build-report.js';
import { problem } from '../domain/errors.js';
import { isChanged, type Plan, type PlanItem } from '../domain/plan.js';
import type { NodeRef } from '../domain/topology.js';
import type { Policy } from '../domain/policy.js';
import type { StageName } from '../domain/report.js';
import { problemOf } from './failures.js';
import { Lanes } from '../domain/lanes.js';
import type { ColdCopies } from './place-parts.js';
import { asVerified, isBeside, needsData, tableInShard } from '../domain/unit-work.js';
import type { RecoveryState } from './recovery-state.js';

export type ActivitiesOf = ReturnType<typeof activitiesFor>;

/**
 * Activities wait out outages and repeat their own work, so Temporal's retries are for workers that die: unlimited, and
 * soon. A statement may run up to its deadline; an activity has room for several, for each of its tables.
 */
export function activitiesFor(policy: Policy, tables = 1) {
  return proxyActivities<Activities>({
    startToCloseTimeout: (policy.statementDeadlineSeconds * 4 + policy.unavailableDeadlineSeconds * 2) * 1000 * tables,
    heartbeatTimeout: policy.heartbeatTimeoutSeconds * 1000,
    retry: { initialInterval: '1s', backoffCoefficient: 1.5, maximumInterval: '10s' },
    // An abort waits until what runs has reached a safe point: only then may a fence be lifted.
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  });
}

export interface Execution {
  run: Run;
  plan: Plan;
  policy: Policy;
  state: RecoveryState;
  activities: ActivitiesOf;
  /** Null: the backup, if any, is no cold copy. */
  copies: ColdCopies | null;
}

/** A table's failure stays with the table, but a cancelled run ends as aborted, not as failed. */
function noticeCancellation(state: RecoveryState, error: unknown): void {
  if (isCancellation(error) || CancellationScope.current().consideredCancelled) state.aborted = true;
}

/** Tables go through their steps side by side, `lanesPerNode` at once; in a shard, a table's authority goes first. */
export async function runUnits(execution: Execution, items: PlanItem[]): Promise<void> {
  const lanes = new Map(execution.plan.nodes.map(({ node }) => [node.name, new Lanes(execution.policy.lanesPerNode)]));
  const tables = new Map<string, PlanItem[]>();
  for (const item of items) tables.set(tableInShard(item), [...(tables.get(tableInShard(item)) ?? []), item]);
  const inLane = (item: PlanItem) => (lanes.get(item.node.name) ?? new Lanes(1)).run(() => runUnit(execution, item));
  await Promise.all(
    [...tables.values()].map(async (replicas) => {
      const first = replicas.filter((item) => item.authority);
      for (const item of first) await inLane(item);
      // Without its authority's parts in ZooKeeper, a later replica would become the first itself.
      const broken = first.find((item) => execution.state.results.get(unitKey(item))?.state === 'failed');
      for (const item of replicas.filter((candidate) => !candidate.authority)) {
        if (broken)
          execution.state.setResult(item, {
            state: 'failed',
            problem: execution.state.results.get(unitKey(broken))?.problem,
          });
        else await inLane(item);
      }
    }),
  );
}

/** One table on one replica: restore data → verify parts → restore replica. A failure stays with the table. */
async function runUnit({ run, plan, state, activities, copies }: Execution, item: PlanItem): Promise<void> {
  const input = {
    run,
    item: asVerified(item, state.verified.get(tableInShard(item))),
    embedded: plan.nodes.find((each) => each.node.name === item.node.name)?.embedded ?? false,
    evidence: plan.backup?.evidence ?? null,
  };
  const label = itemLabel(item);
  let current: StageName | null = null;
  const enter = async (stage: 'restore-data' | 'verify-parts' | 'restore-replica') => {
    await state.gate();
    current = stage;
    state.begin(stage);
    state.setResult(item, { state: stage });
  };
  try {
    if (needsData(item)) {
      await enter('restore-data');
      if (item.place && copies) await copies.restore(item, { run, activities, label });
      else await activities.restoreTableData.executeWithOptions({ summary: label }, [input]);
      state.touch('restore-data');
    }
    if (item.action === 'create-object') return state.setResult(item, { state: 'waiting' });
    if (item.action !== 'recreate-and-fetch') {
      await enter('verify-parts');
      const verified = await activities.verifyTableParts.executeWithOptions({ summary: label }, [input]);
      state.touch('verify-parts');
      if (item.authority) state.verified.set(tableInShard(item), verified.parts);
      state.setResult(item, {
        evidence: verified.evidence,
        rowsExpected: verified.parts.rows,
        partsExpected: verified.parts.parts,
      });
    }
    await enter('restore-replica');
    const restored = await activities.restoreTableReplica.executeWithOptions({ summary: label }, [input]);
    state.touch('restore-replica');
    state.setResult(item, { state: 'validate', rowsFound: restored.rows, partsFound: restored.parts });
  } catch (error) {
    noticeCancellation(state, error);
    if (current) state.fail(current, item);
    state.setResult(item, { state: 'failed', problem: problemOf(error) });
  }
}

/** Views and other objects of a node, in one activity: they depend on each other, not on the lanes. */
export async function runObjects({ run, plan, state, activities }: Execution, items: PlanItem[]): Promise<void> {
  await Promise.all(
    plan.nodes.map(async ({ node }) => {
      const here = items.filter(
        (item) =>
          item.node.name === node.name &&
          item.action === 'create-object' &&
          state.results.get(unitKey(item))?.state === 'waiting',
      );
      if (here.length === 0) return;
      try {
        await state.gate();
        state.begin('restore-replica');
        await activities.createObjects.executeWithOptions(
          { summary: `${here.length} objects @ ${node.shard}/${node.replica}` },
          [{ run, items: here }],
        );
        state.touch('restore-replica');
        for (const item of here)
          state.setResult(item, {
            state: 'validate',
            evidence: needsData(item) ? 'rows of the manifest' : 'definition',
          });
      } catch (error) {
        noticeCancellation(state, error);
        for (const item of here) state.fail('restore-replica', item);
        for (const item of here) state.setResult(item, { state: 'failed', problem: problemOf(error) });
      }
    }),
  );
}

/** Looks at everything that was worked on, in batches a node. */
const VALIDATION_BATCH = 50;

export async function validate({ run, plan, state, activities }: Execution): Promise<void> {
  state.begin('validate');
  await Promise.all(
    plan.nodes.map(async ({ node, embedded }) => {
      const items = plan.items.filter(
        (item) => item.node.name === node.name && state.results.get(unitKey(item))?.state === 'validate',
      );
      for (let from = 0; from < items.length; from += VALIDATION_BATCH) {
        const batch = items.slice(from, from + VALIDATION_BATCH);
        try {
          await state.gate();
          const results = await activities.validateTables.executeWithOptions(
            { summary: `${batch.length} tables @ ${node.shard}/${node.replica}` },
            [
              {
                run,
                items: batch.map((item) => ({
                  item: asVerified(item, state.verified.get(tableInShard(item))),
                  embedded,
                  key: unitKey(item),
                })),
              },
            ],
          );
          for (const item of batch) {
            const found = results.find((result) => result.key === unitKey(item));
            if (!found) continue;
            const { key: _key, rowsExpected, partsExpected, ...rest } = found;
            state.setResult(item, {
              ...rest,
              state: found.problem ? 'failed' : 'done',
              ...(rowsExpected === null ? {} : { rowsExpected }),
              ...(partsExpected === null ? {} : { partsExpected }),
            });
          }
        } catch (error) {
          noticeCancellation(state, error);
          for (const item of batch) state.setResult(item, { state: 'failed', problem: problemOf(error) });
        }
      }
    }),
  );
}

/** Tables that are validated on all replicas of their shard get their names: whole tables, or none of it. */
export async function promote({ run, plan, state, activities }: Execution): Promise<void> {
  const ready = plan.items.filter((item) => isBeside(item) && state.results.get(unitKey(item))?.state === 'done');
  const whole = ready.filter((item) =>
    plan.items.every(
      (other) =>
        !isBeside(other) ||
        other.node.shard !== item.node.shard ||
        other.database !== item.database ||
        other.table !== item.table ||
        ready.includes(other) ||
        state.results.get(unitKey(other))?.state === 'skipped',
    ),
  );
  for (const item of whole) state.validated.add(unitKey(item));
  for (const item of ready)
    if (!whole.includes(item))
      state.setResult(item, {
        state: 'failed',
        problem: problem(
          'VALIDATION_FAILED',
          `${itemLabel(item)} waits in _recovery: another replica of the shard failed`,
        ),
      });
  await Promise.all(
    plan.nodes.map(async ({ node }) => {
      const items = whole.filter((item) => item.node.name === node.name && !state.promoted.has(unitKey(item)));
      if (items.length === 0) return;
      try {
        await state.gate();
        await activities.promoteTables.executeWithOptions(
          { summary: `${items.length} tables into place @ ${node.shard}/${node.replica}` },
          [{ run, items }],
        );
        for (const item of items) state.promoted.add(unitKey(item));
      } catch (error) {
        noticeCancellation(state, error);
        for (const item of items) state.setResult(item, { state: 'failed', problem: problemOf(error) });
      }
    }),
  );
}

/** The nodes whose tables are changed. */
export function fencedNodes(plan: Plan, nodes: NodeRef[]): NodeRef[] {
  // Plans of before 0.2 have no method: in their histories all nodes were fenced.
  if (plan.nodes.some(({ method }) => (method as string | undefined) === undefined)) return nodes;
  const { stored } = plan;
  return nodes.filter(({ name }) => (stored ? stored.changed.includes(name) : isChanged(name, plan.items)));
}

function hasWorkIn({ items, stored }: Plan, shard: string): boolean {
  return stored
    ? stored.shards.some((each) => each.shard === shard)
    : items.some((item) => item.node.shard === shard && item.action !== 'none');
}

/** A row goes from each replica to the others, in every shard that was worked on. Embedded nodes do not replicate. */
export async function proveReplication({ run, plan, state, activities }: Execution): Promise<string[]> {
  const live = plan.nodes.filter(({ node, embedded, method }) => {
    // Plans of before 0.2 have no method: their histories have no canary.
    const isLive = (method as string | undefined) !== undefined && !embedded;
    return isLive && hasWorkIn(plan, node.shard);
  });
  const shards = [...new Set(live.map(({ node }) => node.shard))];
  await state.gate();
  const proved = await Promise.all(
    shards.map((shard) =>
      activities.proveReplication.executeWithOptions({ summary: `canary @ shard ${shard}` }, [{ run, shard }]),
    ),
  );
  return proved.flatMap(({ warnings }) => warnings);
}
