import {
  condition,
  defineQuery,
  defineUpdate,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { emptyStages, itemLabel, unitKey, type UnitResult } from '../domain/build-report.js';
import { RecoveryError, type Problem } from '../domain/errors.js';
import {
  QUERIES,
  SEARCH_ATTRIBUTES,
  UPDATES,
  type Approval,
  type Phase,
  type Progress,
  type Resolution,
} from '../domain/messages.js';
import type { PartsDigest } from '../domain/inventory.js';
import { compilePattern } from '../domain/names.js';
import type { Plan, PlanItem } from '../domain/plan.js';
import { progressToMarkdown } from '../domain/render-progress.js';
import type { Report, StageName } from '../domain/report.js';
import { moved, type TimedStage } from '../domain/timeline.js';
import { NO_TALLY, type Tally } from '../domain/tally.js';
import { asFailure } from './failures.js';
import { abortSignal, pauseSignal, resolveSignal, resumeSignal } from './signals.js';

export const approveUpdate = defineUpdate<string, [Approval]>(UPDATES.approve);
export const progressQuery = defineQuery<Progress>(QUERIES.progress);
export const planQuery = defineQuery<Plan | null>(QUERIES.plan);
export const reportQuery = defineQuery<Report | null>(QUERIES.report);

const stageAttribute = defineSearchAttributeKey(SEARCH_ATTRIBUTES.stage, SearchAttributeType.KEYWORD);
const outcomeAttribute = defineSearchAttributeKey(SEARCH_ATTRIBUTES.outcome, SearchAttributeType.KEYWORD);

/** What people see and say while a recovery runs: its progress, and approve, resolve, pause, resume, abort. */
export class RecoveryState {
  phase: Phase = 'inspecting';
  plan: Plan | null = null;
  report: Report | null = null;
  approval: Approval | null = null;
  aborted = false;
  paused = false;
  searchAttributes = false;
  /** Set by the recovery: stops what runs. */
  onAbort: () => void = () => undefined;
  /** Set where shards run in children: they pause, too. */
  onPause: (paused: boolean) => void = () => undefined;
  /** Of a large plan, whose results are not here: how they are in sum. */
  tally: (() => Tally) | null = null;
  /** Of a large plan: stages in which a table failed. */
  stagesFailed: StageName[] = [];
  /** The stage in which a table failed, by its key. */
  private readonly failedIn = new Map<string, StageName>();
  readonly stages = emptyStages();
  readonly results = new Map<string, UnitResult>();
  /** When each table was in which stage. */
  readonly timelines = new Map<string, TimedStage[]>();
  /** Keys of tables that were made beside their place and are in it now. */
  readonly promoted = new Set<string>();
  /** What the replica that goes first had in its clone, by table and shard. */
  readonly verified = new Map<string, PartsDigest>();
  /** Keys of tables that were validated on all replicas of their shard, so that they may be put into their places. */
  readonly validated = new Set<string>();
  private readonly resolutions: Resolution[] = [];
  /** When the last activity of a stage ended: tables are in different stages at the same time. */
  private readonly lastEnd = new Map<StageName, string>();
  private problem: Problem | null = null;
  private publishing = false;

  constructor(
    private readonly recoveryId: string,
    private readonly cluster: string,
  ) {
    setHandler(approveUpdate, (approval) => this.approve(approval), {
      description: 'Approve the plan. {"planHash":"<hash from the plan query>","by":"your name"}',
      validator: (approval: Approval) => this.checkApproval(approval),
    });
    setHandler(resolveSignal, (resolution) => this.decide(resolution), {
      description:
        'Decide about failed tables. {"action":"retry","tables":["db.*"],"by":"your name"} — action: retry, skip or abort',
    });
    setHandler(abortSignal, () => this.abort(), { description: 'Stop at the next safe point. No argument.' });
    setHandler(pauseSignal, () => this.setPaused(true), {
      description: 'Start no further step until resume. No argument.',
    });
    setHandler(resumeSignal, () => this.setPaused(false), { description: 'Go on after pause. No argument.' });
    setHandler(progressQuery, () => this.progress(), { description: 'Phase, stages and tables. No argument.' });
    setHandler(planQuery, () => this.plan, { description: 'The plan with its exact SQL and its hash. No argument.' });
    setHandler(reportQuery, () => this.report, { description: 'The report, once there is one. No argument.' });
  }

  private checkApproval(approval: Approval): void {
    if (typeof approval?.planHash !== 'string' || typeof approval?.by !== 'string')
      throw asFailure({
        code: 'INPUT_INVALID',
        message: 'expected {"planHash": "…", "by": "…"}',
        hint: 'send both as text',
        field: 'planHash',
      });
    if (this.phase !== 'waiting-for-approval' || this.plan?.hash !== approval.planHash)
      throw asFailure({
        code: 'PLAN_STALE',
        message: `not the hash of the plan that waits for approval${this.plan ? ` (${this.plan.hash})` : ''}`,
        hint: 'read the plan again',
        field: 'planHash',
      });
  }

  private approve(approval: Approval): string {
    this.approval = approval;
    return `approved by ${approval.by.slice(0, 100)}`;
  }

  /** A decision that nobody waits for, or that is none, is dropped: it must not decide about the next failure. */
  private decide(resolution: Resolution): void {
    const { action, tables } = (resolution ?? {}) as Partial<Resolution>;
    const patterns =
      tables === undefined || (Array.isArray(tables) && tables.every((each) => typeof each === 'string'));
    if ((this.phase !== 'waiting-for-resolve' && !this.hasFailed()) || !patterns) return;
    if (action === 'retry' || action === 'skip' || action === 'abort') this.resolutions.push(resolution);
  }

  approver(): string {
    return this.approval?.by ?? '';
  }

  private abort(): void {
    this.aborted = true;
    this.onAbort();
  }

  private setPaused(paused: boolean): void {
    this.paused = paused;
    this.onPause(paused);
    this.publish();
  }

  /** Waits while paused; throws when aborted. Called before every step. */
  async gate(): Promise<void> {
    if (this.paused) await condition(() => !this.paused || this.aborted);
    if (this.aborted) throw new RecoveryError('REJECTED', 'the recovery was aborted');
  }

  /** The next decision about failed tables; null when nobody decides in time. */
  async nextResolution(timeoutSeconds: number): Promise<Resolution | null> {
    const decided = await condition(() => this.resolutions.length > 0 || this.aborted, timeoutSeconds * 1000);
    return decided ? (this.resolutions.shift() ?? null) : null;
  }

  setPhase(phase: Phase): void {
    this.phase = phase;
    this.publish();
  }

  begin(name: StageName): void {
    const stage = this.stages.find((candidate) => candidate.name === name);
    if (!stage || stage.startedAt !== null) return;
    stage.startedAt = new Date(Date.now()).toISOString();
    if (this.searchAttributes) upsertSearchAttributes([{ key: stageAttribute, value: name }]);
    this.publish();
  }

  fail(name: StageName, item: PlanItem): void {
    this.failedIn.set(unitKey(item), name);
  }

  /** Before these are tried again. */
  forgetFailures(items: PlanItem[]): void {
    for (const item of items) this.failedIn.delete(unitKey(item));
  }

  touch(name: StageName): void {
    this.lastEnd.set(name, new Date(Date.now()).toISOString());
  }

  finish(name: StageName, outcome: 'done' | 'failed' | 'not-needed'): void {
    const stage = this.stages.find((candidate) => candidate.name === name);
    if (!stage) return;
    stage.finishedAt = stage.startedAt === null ? null : (this.lastEnd.get(name) ?? new Date(Date.now()).toISOString());
    stage.outcome = stage.startedAt === null ? 'not-needed' : this.isFailedIn(name) ? 'failed' : outcome;
    this.publish();
  }

  private isFailedIn(name: StageName): boolean {
    return this.stagesFailed.includes(name) || [...this.failedIn.values()].includes(name);
  }

  /** Of a large plan: when its tables were in a stage, as the batches say. Milliseconds since the epoch. */
  sawStage(name: StageName, from: number, to: number): void {
    const stage = this.stages.find((candidate) => candidate.name === name);
    if (!stage) return;
    if (stage.startedAt === null) {
      this.begin(name);
      stage.startedAt = new Date(from).toISOString();
    }
    const end = new Date(to).toISOString();
    if (end > (this.lastEnd.get(name) ?? '')) this.lastEnd.set(name, end);
  }

  setResult(item: PlanItem, change: Partial<UnitResult>): void {
    const before = this.results.get(unitKey(item)) ?? {
      state: 'waiting',
      rowsFound: null,
      partsFound: null,
      rowsExpected: item.expected?.rows ?? null,
      partsExpected: item.expected?.parts ?? null,
      detachedLeft: 0,
      evidence: '',
      activation: '',
    };
    this.results.set(unitKey(item), { ...before, ...change });
    if (change.state !== undefined)
      this.timelines.set(unitKey(item), moved(this.timelines.get(unitKey(item)) ?? [], change.state, Date.now()));
    this.publish();
  }

  hasFailed(): boolean {
    return this.tally ? this.tally().failed > 0 : this.failed().length > 0;
  }

  failed(): PlanItem[] {
    return (this.plan?.items ?? []).filter((item) => this.results.get(unitKey(item))?.state === 'failed');
  }

  matching(items: PlanItem[], patterns: string[] | undefined): PlanItem[] {
    if (!patterns || patterns.length === 0) return items;
    const matchers = patterns.map(compilePattern);
    return items.filter((item) => matchers.some((matches) => matches(item)));
  }

  close(report: Report): void {
    this.report = report;
    this.problem = report.problem ?? null;
    this.phase = 'closed';
    if (this.searchAttributes) upsertSearchAttributes([{ key: outcomeAttribute, value: report.outcome }]);
    this.publish();
  }

  progress(): Progress {
    const { stored } = this.plan ?? {};
    const tally = stored ? (this.tally?.() ?? { ...NO_TALLY, work: stored.work }) : null;
    return {
      recoveryId: this.recoveryId,
      cluster: this.cluster,
      phase: this.phase,
      planHash: this.plan?.hash ?? null,
      stages: this.stages,
      ...(tally
        ? {
            totals: {
              units: tally.work,
              done: tally.done,
              failed: tally.failed + tally.refused,
              skipped: tally.skipped,
            },
          }
        : {}),
      units: tally
        ? tally.failures.map((failure) => ({ ...failure, state: 'failed' as const, rows: null }))
        : this.units(),
      paused: this.paused,
      outcome: this.report?.outcome ?? null,
      problem: this.problem,
    };
  }

  private units(): Progress['units'] {
    return (this.plan?.items ?? [])
      .filter((item) => item.action !== 'none')
      .map((item) => {
        const result = this.results.get(unitKey(item));
        const problem = result?.problem ?? item.problem;
        return {
          label: itemLabel(item),
          state: result?.state ?? (item.action === 'needs-operator' ? 'failed' : 'waiting'),
          rows: result?.rowsFound ?? null,
          ...(problem ? { problem } : {}),
        };
      });
  }

  /** Once for all that changes in one go: of many tables, each word about one is a table of all. */
  publish(): void {
    if (this.publishing) return;
    this.publishing = true;
    void Promise.resolve().then(() => {
      this.publishing = false;
      setCurrentDetails(progressToMarkdown(this.progress()));
    });
  }
}
