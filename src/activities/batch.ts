import { activityInfo } from '@temporalio/activity';
import { itemLabel, unitKey } from '../domain/build-report.js';
import { problem, RecoveryError, type Problem } from '../domain/errors.js';
import { compilePattern } from '../domain/names.js';
import type { PlanItem } from '../domain/plan.js';
import type { StageName } from '../domain/report.js';
import type { PlanRef } from '../domain/stored-plan.js';
import type { Tally } from '../domain/tally.js';
import { moved, type TimedStage } from '../domain/timeline.js';
import { asVerified, isBeside, needsData, tableInShard } from '../domain/unit-work.js';
import { ServerError, type Ports } from '../ports.js';
import { AdaptiveLanes } from './adaptive-lanes.js';
import type { Run } from './index.js';
import { promoteTables } from './promote.js';
import { restoreData } from './restore-data.js';
import { createObjects, restoreReplica } from './restore-replica.js';
import {
  findRecords,
  readRecords,
  recordOf,
  tallyRecords,
  writeRecords,
  type Records,
  type UnitRecord,
} from './results.js';
import { toProblem, withPatience, type StepContext } from './runtime.js';
import { readIndex, readPiece } from './stored-plan.js';
import { validateTable } from './validate.js';
import { verifyParts } from './verify-parts.js';

export interface BatchInput {
  run: Run;
  stored: PlanRef;
  shard: string;
  batch: number;
  /** Only what failed and matches one of these patterns is done again; none means all that failed. */
  again?: string[];
}

/** What a history has of a batch. */
export interface BatchSummary {
  tally: Tally;
  /** Per stage, when its first table came into it and its last one left; milliseconds, by Temporal's clock. */
  stages: Partial<Record<StageName, [from: number, to: number]>>;
  failedIn: StageName[];
}

/** What a heartbeat carries: a worker that takes over does not look at these units again. */
interface Checkpoint {
  done: Records;
}

/** An error that nobody foresaw is not believed at once. */
const MAX_TRIES = 3;

/** One for each shard, in this worker: what was found out about its servers is of use for the next batch. */
const lanes = new Map<string, AdaptiveLanes>();

/** A node that was waited for in vain is not waited for again by each of the tables that come next. */
const gaveUpAt = new Map<string, number>();

/**
 * Some tables of a stored plan, on all replicas of their shard, as the workflow does it with each table of a small one.
 * Safe to repeat: what the heartbeat has is not looked at again, everything else is observed before it is touched.
 */
export class Batch {
  private readonly checkpoint: Checkpoint = { done: {} };
  private readonly startedAt: number;
  private readonly timeBase: number;
  private isValidation = false;

  private constructor(
    private readonly ports: Ports,
    private readonly input: BatchInput,
    private readonly context: StepContext,
    private readonly items: PlanItem[],
    private readonly records: Records,
    private readonly embedded: ReadonlySet<string>,
    private readonly evidence: 'manifest' | 'backup' | null,
  ) {
    const info = activityInfo();
    this.startedAt = performance.now();
    this.timeBase = info.currentAttemptScheduledTimestampMs;
    const { done } = (info.heartbeatDetails ?? {}) as Partial<Checkpoint>;
    Object.assign(this.checkpoint.done, done);
    Object.assign(this.records, done);
    // Each second the last word goes out, so it is one object that changes.
    context.progress(this.checkpoint);
  }

  /** `isNew`: nothing may be known of it yet. */
  static async open(ports: Ports, input: BatchInput, context: StepContext, isNew = false): Promise<Batch> {
    const { plan } = await readIndex(ports, input.stored);
    const items = await readPiece(ports, input.stored, input.batch);
    const records = isNew
      ? ((await findRecords(ports, input.run, input.batch)) ?? {})
      : await readRecords(ports, input.run, input.batch);
    const embedded = new Set(plan.nodes.filter((each) => each.embedded).map(({ node }) => node.name));
    return new Batch(ports, input, context, items, records, embedded, plan.backup?.evidence ?? null);
  }

  /** Restore data → verify parts → restore replica: of each table its authority, then the others. */
  restore(): Promise<BatchSummary> {
    return this.kept(async () => {
      const chosen = this.chosen();
      const tables = new Map<string, PlanItem[]>();
      for (const item of chosen) tables.set(tableInShard(item), [...(tables.get(tableInShard(item)) ?? []), item]);
      await this.sideBySide([...tables.values()], (replicas) => this.table(replicas));
    });
  }

  validate(): Promise<BatchSummary> {
    this.isValidation = true;
    return this.kept(() =>
      this.sideBySide(
        this.items.filter((item) => recordOf(this.records, item).state === 'validate'),
        (item) => this.validateUnit(item),
      ),
    );
  }

  /** Tables that are validated on all replicas of their shard get their names: whole tables, or none of it. */
  promote(): Promise<BatchSummary> {
    return this.kept(async () => {
      const state = (item: PlanItem) => recordOf(this.records, item).state;
      const ready = this.items.filter((item) => isBeside(item) && state(item) === 'done');
      const isWhole = (item: PlanItem) =>
        this.items.every(
          (other) =>
            !isBeside(other) ||
            tableInShard(other) !== tableInShard(item) ||
            ready.includes(other) ||
            state(other) === 'skipped',
        );
      const whole = new Set(ready.filter(isWhole));
      for (const item of ready)
        if (whole.has(item)) this.change(item, { validated: true });
        else
          this.change(item, {
            state: 'failed',
            problem: problem(
              'VALIDATION_FAILED',
              `${itemLabel(item)} waits in _recovery: another replica of the shard failed`,
            ),
          });
      const open = [...whole].filter((item) => !recordOf(this.records, item).promoted);
      await this.sideBySide(open, async (item) => {
        await this.attempt(item, null, (context) => promoteTables(this.ports, this.cluster, [item], context));
        if (state(item) !== 'failed') this.change(item, { promoted: true });
      });
    });
  }

  /** Views and other objects, node by node: they depend on each other. */
  objects(): Promise<BatchSummary> {
    return this.kept(async () => {
      const open = this.items.filter(
        (item) => item.action === 'create-object' && recordOf(this.records, item).state === 'waiting',
      );
      for (const node of new Set(open.map((item) => item.node.name))) {
        const here = open.filter((item) => item.node.name === node);
        const [first] = here;
        if (!first) continue;
        for (const item of here) this.enter(item, 'restore-replica');
        await this.attempt(first, 'restore-replica', (context) =>
          createObjects(this.ports, this.cluster, here, context),
        );
        const failed = recordOf(this.records, first);
        for (const item of here)
          if (failed.state === 'failed')
            this.change(item, { state: 'failed', failedIn: 'restore-replica', problem: failed.problem });
          else
            this.change(item, {
              state: 'validate',
              evidence: needsData(item) ? 'rows of the manifest' : 'definition',
            });
      }
    });
  }

  /** Failed ones stay as they are: a person said so. */
  skip(): Promise<BatchSummary> {
    return this.kept(async () => {
      for (const item of this.failed()) this.change(item, { state: 'skipped' });
    });
  }

  private get cluster(): string {
    return this.input.run.cluster;
  }

  private failed(): PlanItem[] {
    const patterns = (this.input.again ?? []).map(compilePattern);
    return this.items.filter(
      (item) =>
        recordOf(this.records, item).state === 'failed' &&
        (patterns.length === 0 || patterns.some((matches) => matches(item))),
    );
  }

  /** All that has work, or of a retry what failed. What is behind us stays so. */
  private chosen(): PlanItem[] {
    const isDone = (item: PlanItem) => unitKey(item) in this.checkpoint.done;
    if (this.input.again === undefined)
      return this.items.filter(
        (item) =>
          item.action !== 'none' &&
          item.action !== 'needs-operator' &&
          ['waiting', 'restore-data', 'verify-parts', 'restore-replica'].includes(recordOf(this.records, item).state) &&
          !isDone(item),
      );
    const failed = this.failed().filter((item) => !isDone(item));
    for (const item of failed) {
      // What was validated on all replicas may be in use on one: it is not filled again, only put into its place.
      const { validated } = recordOf(this.records, item);
      this.change(item, { state: validated ? 'done' : 'waiting', problem: undefined, failedIn: undefined });
    }
    return failed.filter((item) => !recordOf(this.records, item).validated);
  }

  private async table(replicas: PlanItem[]): Promise<void> {
    const first = replicas.filter((item) => item.authority);
    for (const item of first) await this.unit(item);
    // Without its authority's parts in ZooKeeper, a later replica would become the first itself.
    const broken = first.map((item) => recordOf(this.records, item)).find((record) => record.state === 'failed');
    for (const item of replicas.filter((candidate) => !candidate.authority))
      if (broken) this.finish(item, { state: 'failed', problem: broken.problem });
      else await this.unit(item);
  }

  private async unit(given: PlanItem): Promise<void> {
    const item = asVerified(given, this.verifiedOf(given));
    const { ports, cluster, input } = this;
    const embedded = this.embedded.has(item.node.name);
    const isFailed = () => recordOf(this.records, item).state === 'failed';
    if (needsData(item))
      await this.attempt(item, 'restore-data', (context) => restoreData(ports, cluster, item, input.run, context));
    if (isFailed()) return this.finish(item, {});
    if (item.action === 'create-object') return this.finish(item, { state: 'waiting' });
    if (item.action !== 'recreate-and-fetch') {
      const found = await this.attempt(item, 'verify-parts', (context) =>
        verifyParts(ports, cluster, item, this.evidence, embedded, context),
      );
      if (!found) return this.finish(item, {});
      this.change(item, {
        evidence: found.evidence,
        rowsExpected: found.parts.rows,
        partsExpected: found.parts.parts,
        ...(item.authority ? { verified: found.parts } : {}),
      });
    }
    const checked = asVerified(item, this.verifiedOf(item));
    const restored = await this.attempt(item, 'restore-replica', (context) =>
      restoreReplica(ports, cluster, checked, embedded, context),
    );
    if (!restored) return this.finish(item, {});
    this.finish(item, { state: 'validate', rowsFound: restored.rows, partsFound: restored.parts });
  }

  private async validateUnit(given: PlanItem): Promise<void> {
    const item = asVerified(given, this.verifiedOf(given));
    const found = await this.attempt(item, null, (context) =>
      validateTable(this.ports, this.cluster, item, this.embedded.has(item.node.name), context),
    );
    if (!found) return;
    const { rowsExpected, partsExpected, ...rest } = found;
    this.change(item, {
      ...rest,
      state: found.problem ? 'failed' : 'done',
      ...(rowsExpected === null ? {} : { rowsExpected }),
      ...(partsExpected === null ? {} : { partsExpected }),
    });
  }

  private verifiedOf(item: PlanItem) {
    const first = this.items.find((each) => each.authority && tableInShard(each) === tableInShard(item));
    return first && recordOf(this.records, first).verified;
  }

  /** One step of a unit. Its failure stays with the unit; null then. Throws where the whole attempt is over. */
  private async attempt<T>(
    item: PlanItem,
    stage: StageName | null,
    work: (context: StepContext) => Promise<T>,
  ): Promise<T | null> {
    this.context.assertFresh();
    if (stage) this.enter(item, stage);
    const context: StepContext = { ...this.context, progress: () => undefined };
    for (let tries = 1; ; tries++)
      try {
        const done = await withPatience(this.patience(item), context, () => work(context));
        // It is back: the next outage is waited for again.
        gaveUpAt.delete(this.nodeKey(item));
        return done;
      } catch (error) {
        if (this.context.signal.aborted || (error instanceof RecoveryError && error.code === 'STALE_ATTEMPT'))
          throw error;
        if (!(error instanceof RecoveryError || error instanceof ServerError) && tries < MAX_TRIES) continue;
        this.fail(item, stage, toProblem(error));
        return null;
      }
  }

  private fail(item: PlanItem, stage: StageName | null, found: Problem): void {
    if (found.code === 'NODE_UNAVAILABLE') gaveUpAt.set(this.nodeKey(item), performance.now());
    this.change(item, { state: 'failed', problem: found, ...(stage ? { failedIn: stage } : {}) });
  }

  private nodeKey = (item: PlanItem) => JSON.stringify([this.cluster, item.node.name]);

  private patience(item: PlanItem): number {
    const { unavailableDeadlineSeconds } = this.ports.cluster(this.cluster).policy;
    const since = gaveUpAt.get(this.nodeKey(item));
    const isGivenUp = since !== undefined && performance.now() - since < unavailableDeadlineSeconds * 1000;
    return isGivenUp ? 0 : unavailableDeadlineSeconds;
  }

  private now(): number {
    return Math.round(this.timeBase + performance.now() - this.startedAt);
  }

  private enter(item: PlanItem, stage: StageName): void {
    if (stage !== 'stop') this.change(item, { state: stage });
  }

  private change(item: PlanItem, change: Partial<UnitRecord>): void {
    const before = recordOf(this.records, item);
    const timeline = change.state === undefined ? before.timeline : moved(before.timeline, change.state, this.now());
    this.records[unitKey(item)] = { ...before, ...change, timeline };
  }

  /** From now on a worker that takes over leaves it alone. */
  private finish(item: PlanItem, change: Partial<UnitRecord>): void {
    this.change(item, change);
    this.checkpoint.done[unitKey(item)] = recordOf(this.records, item);
  }

  /** Waits for all, also when one fails: nobody goes on with a table under one that still works on it. */
  private async sideBySide<T>(all: T[], work: (each: T) => Promise<void>): Promise<void> {
    const { policy, topology } = this.ports.cluster(this.cluster);
    const key = JSON.stringify([this.cluster, this.input.shard]);
    const replicas = topology.nodes.filter(({ shard }) => shard === this.input.shard).length;
    const found = lanes.get(key) ?? new AdaptiveLanes(policy.lanesPerNode * replicas, policy.maxTablesInFlight);
    lanes.set(key, found);
    const settled = await Promise.allSettled(
      all.map((each) =>
        found.run(async () => {
          this.context.assertFresh();
          await work(each);
        }),
      ),
    );
    const failed = settled.find((each) => each.status === 'rejected');
    if (failed) throw failed.reason;
  }

  /** What was found out is stored, also where the recovery is aborted in the middle. */
  private async kept(work: () => Promise<void>): Promise<BatchSummary> {
    try {
      await work();
    } finally {
      // Another one may be at it by now: what that one stores is not to be overwritten.
      if (this.context.isOurs()) await writeRecords(this.ports, this.input.run, this.input.batch, this.records);
    }
    return this.summary();
  }

  private summary(): BatchSummary {
    const stages: BatchSummary['stages'] = {};
    const records = this.items.map((item) => recordOf(this.records, item));
    for (const { stage, from, to } of records.flatMap(({ timeline }): TimedStage[] => timeline)) {
      // A table that is ready for validation waits for the others: that is not its validation.
      if (stage === 'validate') continue;
      const known = stages[stage];
      const end = to ?? this.now();
      stages[stage] = known ? [Math.min(known[0], from), Math.max(known[1], end)] : [from, end];
    }
    if (this.isValidation) stages.validate = [this.timeBase, this.now()];
    const failedIn = new Set(
      records.flatMap(({ state, failedIn: stage }) => (state === 'failed' && stage ? [stage] : [])),
    );
    return { tally: tallyRecords(this.items, this.records), stages, failedIn: [...failedIn] };
  }
}
