import {
  ChildWorkflowCancellationType,
  ParentClosePolicy,
  setHandler,
  startChild,
  workflowInfo,
  type ChildWorkflowHandle,
} from '@temporalio/workflow';
import { RecoveryError } from '../domain/errors.js';
import type { StageName } from '../domain/report.js';
import { batchesAtOnce, type StoredPlan } from '../domain/stored-plan.js';
import { addTallies, NO_TALLY, type Tally } from '../domain/tally.js';
import { lostShard, recoverShard, type ShardProgress, type ShardResult, type StageTimes } from './recover-shard.js';
import { pauseSignal, resumeSignal, shardProgressSignal } from './signals.js';
import type { RecoveryState } from './recovery-state.js';
import type { Execution } from './units.js';

/** Reports of progress that a history takes for one pass over the plan: each is an event, and a task of some more. */
const MAX_REPORTS = 200;
const MAX_REPORTS_OF_SHARD = 20;

/** A large plan, which is executed by a child a shard, each with a history of its own. */
export class Shards {
  private readonly results = new Map<string, ShardProgress>();
  private readonly running = new Set<ChildWorkflowHandle<typeof recoverShard>>();
  /** Shards without a result. */
  private readonly open = new Set<string>();

  constructor(
    private readonly stored: StoredPlan,
    private readonly state: RecoveryState,
  ) {
    setHandler(shardProgressSignal, (progress) => this.told(progress));
    state.onPause = (paused) => {
      for (const child of this.running) void child.signal(paused ? pauseSignal : resumeSignal).catch(() => undefined);
    };
  }

  /** What is refused stands in no shard's result where a shard has nothing else. */
  tally(): Tally {
    const done = [...this.results.values()].reduce((sum, { tally }) => addTallies(sum, tally), NO_TALLY);
    const { work, refused, refusal } = this.stored;
    return { ...done, work, refused, refusal };
  }

  /** Throws the first problem that is not one of a table. `again`: see ShardInput. */
  async run({ run, policy }: Execution, again?: string[]): Promise<void> {
    const { stored, state } = this;
    await state.gate();
    const results = await Promise.all(
      stored.shards.map(async (shard) => {
        const reports = Math.min(MAX_REPORTS_OF_SHARD, Math.max(2, Math.floor(MAX_REPORTS / stored.shards.length)));
        const ref = { hash: stored.hash, index: stored.index };
        const input = {
          run,
          stored: ref,
          shard,
          isBeside: stored.isBeside,
          policy,
          window: batchesAtOnce(stored.shards.length),
          reports,
          ...(again ? { again } : {}),
        };
        this.open.add(shard.shard);
        const result = await this.child(shard.shard, input).catch((error: unknown) => lostShard(shard.shard, error));
        this.open.delete(shard.shard);
        this.results.set(shard.shard, result);
        this.show(result.stages);
        return result;
      }),
    );
    if (results.some(({ isAborted }) => isAborted)) state.aborted = true;
    state.stagesFailed = [...new Set(results.flatMap(({ failedIn }) => failedIn))];
    const lost = results.find(({ problem }) => problem !== null)?.problem;
    // Of no table, so nobody can decide about one: it ends the run.
    if (lost && !state.aborted) throw new RecoveryError(lost.code, lost.message, { objects: lost.objects });
    await state.gate();
  }

  /** What failed and matches stays as it is. */
  async skip({ run, activities }: Execution, again: string[]): Promise<void> {
    const { stored } = this;
    const ref = { hash: stored.hash, index: stored.index };
    await Promise.all(
      stored.shards.map(async ({ shard, first, tables, objects }) => {
        const known = this.results.get(shard);
        if (!known || known.tally.failed === 0) return;
        const batches = tables + objects;
        const tally = await activities.skipFailed({ run, stored: ref, shard, batch: first, batches, again });
        this.results.set(shard, { ...known, tally });
      }),
    );
    this.state.publish();
  }

  private async child(shard: string, input: Parameters<typeof recoverShard>[0]): Promise<ShardResult> {
    const child = await startChild(recoverShard, {
      workflowId: `${workflowInfo().workflowId}/shard-${shard}`,
      args: [input],
      staticSummary: `shard ${shard}`,
      // An abort waits until what runs has reached a safe point: only then may a fence be lifted.
      cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
      parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
    });
    this.running.add(child);
    try {
      // Paused while it was started.
      if (this.state.paused) await child.signal(pauseSignal);
      return await child.result();
    } finally {
      this.running.delete(child);
    }
  }

  private told(progress: ShardProgress): void {
    // A late word is not to take the place of the result.
    if (!this.open.has(progress.shard)) return;
    this.results.set(progress.shard, progress);
    this.show(progress.stages);
  }

  private show(stages: StageTimes): void {
    for (const [name, [from, to]] of Object.entries(stages) as [StageName, [number, number]][])
      this.state.sawStage(name, from, to);
    this.state.publish();
  }
}

/** Of a large plan, on each node that lacks one. */
export async function createDatabases({ run, activities }: Execution, stored: StoredPlan): Promise<void> {
  const ref = { hash: stored.hash, index: stored.index };
  await Promise.all(
    stored.databases.map((node) =>
      activities.createPlannedDatabases.executeWithOptions({ summary: `databases @ ${node}` }, [
        { run, stored: ref, node },
      ]),
    ),
  );
}
