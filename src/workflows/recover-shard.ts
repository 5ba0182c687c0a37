import {
  CancellationScope,
  CancelledFailure,
  condition,
  ContinueAsNew,
  continueAsNew,
  getExternalWorkflowHandle,
  isCancellation,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { BatchSummary, Run } from '../activities/index.js';
import { problem, type Problem } from '../domain/errors.js';
import type { Policy } from '../domain/policy.js';
import type { StageName } from '../domain/report.js';
import { BATCH_TABLES, type PlanRef, type StoredShard } from '../domain/stored-plan.js';
import { addTallies, NO_TALLY, type Tally } from '../domain/tally.js';
import { problemOf } from './failures.js';
import { pauseSignal, resumeSignal, shardProgressSignal } from './signals.js';
import { activitiesFor } from './units.js';

const PASSES = {
  inPlace: ['restore', 'objects', 'validate'],
  // What depends on tables that are made beside their places comes after their promotion.
  beside: ['restore', 'validate', 'promote', 'objects', 'validate'],
} as const;
type Pass = 'restore' | 'objects' | 'validate' | 'promote';

export type StageTimes = Partial<Record<StageName, [from: number, to: number]>>;

export interface ShardInput {
  run: Run;
  stored: PlanRef;
  shard: StoredShard;
  isBeside: boolean;
  policy: Policy;
  /** Only what failed and matches; none: everything. */
  again?: string[];
  /** Batches under way at once. @default 2 */
  window?: number;
  /** Told to the parent so many times at most: each is an event in its history. */
  reports: number;
  /** Where the run before this one stopped, with what it had counted. */
  from?: Cursor;
}

interface Cursor {
  /** Index of the pass, and of the batch in it that comes next. */
  pass: number;
  batch: number;
  paused: boolean;
  /** Of the pass so far. */
  tally: Tally;
  stages: StageTimes;
  failedIn: StageName[];
}

export interface ShardProgress {
  shard: string;
  tally: Tally;
  stages: StageTimes;
}

export interface ShardResult extends ShardProgress {
  failedIn: StageName[];
  isAborted: boolean;
  /** What no table can be blamed for. */
  problem: Problem | null;
}

/** Batches under way at once in a run that was started when nothing told it. */
const OLD_WINDOW = 2;

/**
 * The tables of one shard of a large plan, in batches, pass after pass. Its history holds numbers and the first failures;
 * plan and results are in the report store. Continues as new when Temporal suggests it.
 */
export async function recoverShard(input: ShardInput): Promise<ShardResult> {
  return new Shard(input).run();
}

class Shard {
  private readonly cursor: Cursor;
  private readonly activities;
  private readonly passes: readonly Pass[];
  private steps = 0;
  private readonly every: number;

  constructor(private readonly input: ShardInput) {
    const { policy, shard, isBeside, from } = input;
    this.activities = activitiesFor(policy, BATCH_TABLES);
    this.passes = isBeside ? PASSES.beside : PASSES.inPlace;
    this.cursor = from ?? {
      ...{ pass: 0, batch: 0, paused: false, tally: NO_TALLY, stages: {}, failedIn: [] },
    };
    const batches = (shard.tables + shard.objects) * this.passes.length;
    this.every = Math.max(1, Math.ceil(batches / Math.max(1, input.reports)));
    setHandler(pauseSignal, () => void (this.cursor.paused = true));
    setHandler(resumeSignal, () => void (this.cursor.paused = false));
  }

  async run(): Promise<ShardResult> {
    let found: Problem | null = null;
    try {
      for (; this.cursor.pass < this.passes.length; this.begin(this.cursor.pass + 1)) await this.pass();
    } catch (error) {
      if (error instanceof ContinueAsNew) throw error;
      if (!isAbort(error)) found = problemOf(error);
    }
    const { tally, stages, failedIn } = this.cursor;
    const isAborted = CancellationScope.current().consideredCancelled;
    return { shard: this.input.shard.shard, tally, stages, failedIn, isAborted, problem: found };
  }

  private begin(pass: number): void {
    const isLast = pass === this.passes.length;
    Object.assign(this.cursor, { pass, batch: 0 }, isLast ? {} : { tally: NO_TALLY, failedIn: [] });
  }

  /** The batches of a pass, some at once. Throws the first failure, once all that were begun have ended. */
  private async pass(): Promise<void> {
    const { shard } = this.input;
    const pass = this.passes[this.cursor.pass] as Pass;
    const last = shard.tables + shard.objects;
    if (pass === 'objects') this.cursor.batch = Math.max(this.cursor.batch, shard.tables);
    if (pass === 'objects' && shard.objects === 0) return;
    const failures: unknown[] = [];
    const isOver = () => this.cursor.batch >= last || failures.length > 0 || workflowInfo().continueAsNewSuggested;
    const lane = async () => {
      for (;;) {
        try {
          // Another lane may take the last batch meanwhile. An abort is a failure as any: what is under way ends first.
          while (this.cursor.paused && !isOver()) await condition(() => !this.cursor.paused || isOver());
        } catch (error) {
          failures.push(error);
        }
        if (isOver()) return;
        const batch = this.cursor.batch++;
        try {
          if (pass === 'promote' && batch >= shard.tables) continue;
          this.count(await this.batch(pass, batch));
        } catch (error) {
          failures.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: pass === 'objects' ? 1 : (this.input.window ?? OLD_WINDOW) }, lane));
    if (failures.length > 0) throw failures[0];
    if (this.cursor.batch >= last) return;
    // It would go with the run that ends.
    if (CancellationScope.current().consideredCancelled) throw new CancelledFailure('the recovery was aborted');
    await continueAsNew<typeof recoverShard>({ ...this.input, from: this.cursor });
  }

  private batch(pass: Pass, batch: number): Promise<BatchSummary> {
    const { run, stored, shard, again } = this.input;
    const input = { run, stored, shard: shard.shard, batch: shard.first + batch, ...(again ? { again } : {}) };
    const total = shard.tables + shard.objects;
    const options = { summary: `${pass} ${batch + 1} of ${total} @ shard ${shard.shard}` };
    const { restoreBatch, validateBatch, promoteBatch, createBatchObjects } = this.activities;
    const activity = {
      restore: restoreBatch,
      validate: validateBatch,
      promote: promoteBatch,
      objects: createBatchObjects,
    };
    return activity[pass].executeWithOptions(options, [input]);
  }

  private count({ tally, stages, failedIn }: BatchSummary): void {
    const { cursor } = this;
    cursor.tally = addTallies(cursor.tally, tally);
    cursor.stages = addStages(cursor.stages, stages);
    cursor.failedIn = [...new Set([...cursor.failedIn, ...failedIn])];
    if (++this.steps % this.every === 0) this.tell();
  }

  private tell(): void {
    const { cursor, input } = this;
    const { parent } = workflowInfo();
    const pass = this.passes[cursor.pass];
    setCurrentDetails(
      `**shard ${input.shard.shard}: ${pass}** — ${cursor.batch} of ${input.shard.tables + input.shard.objects} batches, ${cursor.tally.failed} tables failed`,
    );
    if (!parent) return;
    const progress: ShardProgress = { shard: input.shard.shard, tally: cursor.tally, stages: cursor.stages };
    // A parent that has ended wants to hear nothing.
    getExternalWorkflowHandle(parent.workflowId, parent.runId)
      .signal(shardProgressSignal, progress)
      .catch(() => undefined);
  }
}

export function addStages(a: StageTimes, b: StageTimes): StageTimes {
  const sum = { ...a };
  for (const [name, [from, to]] of Object.entries(b) as [StageName, [number, number]][]) {
    const known = sum[name];
    sum[name] = known ? [Math.min(known[0], from), Math.max(known[1], to)] : [from, to];
  }
  return sum;
}

const isAbort = (error: unknown) => isCancellation(error) || CancellationScope.current().consideredCancelled;

/** What a shard says that could not be run at all. */
export function lostShard(shard: string, error: unknown): ShardResult {
  const found = problemOf(error);
  return {
    ...{ shard, tally: NO_TALLY, stages: {}, failedIn: [], isAborted: isCancellation(error) },
    problem: problem(found.code, `shard ${shard}: ${found.message}`, { objects: found.objects }),
  };
}
