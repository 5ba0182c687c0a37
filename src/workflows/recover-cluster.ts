import {
  allHandlersFinished,
  CancellationScope,
  condition,
  isCancellation,
  patched,
  proxyActivities,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType, type SearchAttributeUpdatePair } from '@temporalio/common';
import type { Activities, Run, Settings } from '../activities/index.js';
import { buildReport, unitKey } from '../domain/build-report.js';
import { problem, type Problem } from '../domain/errors.js';
import { SEARCH_ATTRIBUTES, type Resolution } from '../domain/messages.js';
import { hasWork, nothingToDo, workOf, type Plan } from '../domain/plan.js';
import type { Policy } from '../domain/policy.js';
import type { Report } from '../domain/report.js';
import { parseBackupRef, parseRequest, type RecoveryRequest } from '../domain/request.js';
import type { StoredPlan } from '../domain/stored-plan.js';
import { NO_TALLY, type Tally } from '../domain/tally.js';
import { isTemplate, TEMPLATE_DETAILS } from '../domain/template.js';
import type { NodeRef } from '../domain/topology.js';
import { hasBeside } from '../domain/unit-work.js';
import { asFailure, isBadInput, problemOf } from './failures.js';
import { ColdCopies } from './place-parts.js';
import { RecoveryState } from './recovery-state.js';
import { createDatabases, Shards } from './shards.js';
import { takeLock } from './take-lock.js';
import {
  activitiesFor,
  fencedNodes,
  promote,
  proveReplication,
  runObjects,
  runUnits,
  validate,
  type Execution,
} from './units.js';

/** Reads the configuration only: a worker that does not answer soon is dead. */
const settings = proxyActivities<Activities>({ startToCloseTimeout: '5 seconds', retry: { maximumAttempts: 20 } });

/**
 * The whole recovery: inspect, plan, approve, then stop → restore data → verify parts → restore replica → validate.
 * Bad input fails the run at once; every other end is a report.
 */
export async function recoverCluster(input: unknown): Promise<Report> {
  const request = parse(input);
  // Not in the type: nobody who asks for a recovery gets a template.
  if (isTemplate(workflowInfo().memo)) return (await leaveTemplate(request)) as never;
  // First, so that questions and decisions find somebody to answer from the beginning.
  const state = new RecoveryState(workflowInfo().workflowId, request.cluster);
  const found = await settings.getPolicy({ cluster: request.cluster }).catch((error: unknown) => {
    throw asFailure(problemOf(error));
  });
  const recovery = new Recovery(request, state, found);
  const report = await recovery.run();
  // Also in a run that was cancelled: it ends with its report.
  await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
  return report;
}

/** Reads the configuration, so that a form for a cluster that is not there is not left. */
async function leaveTemplate({ cluster }: RecoveryRequest): Promise<null> {
  setCurrentDetails(TEMPLATE_DETAILS);
  await settings.getPolicy({ cluster }).catch((error: unknown) => {
    throw asFailure(problemOf(error));
  });
  return null;
}

function parse(input: unknown): RecoveryRequest {
  try {
    return parseRequest(input);
  } catch (error) {
    throw asFailure(problemOf(error));
  }
}

/** A run that was started in the UI like one that has ended begins with that one's stage and outcome: it has none yet. */
function staleAttributes(): SearchAttributeUpdatePair[] {
  return [SEARCH_ATTRIBUTES.stage, SEARCH_ATTRIBUTES.outcome]
    .map((name) => defineSearchAttributeKey(name, SearchAttributeType.KEYWORD))
    .filter((key) => workflowInfo().typedSearchAttributes.get(key) !== undefined)
    .map((key) => ({ key, value: null }));
}

/** Waits for all, also when one fails: a fence cannot be lifted under an activity that still runs. Throws the first failure. */
async function allOf(work: Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
}

class Recovery {
  private readonly startedAt = Date.now();
  private readonly id = workflowInfo().workflowId;
  private readonly recovery = workflowInfo().firstExecutionRunId;
  private readonly scope = new CancellationScope();
  private readonly activities;
  private readonly reports;
  private readonly largeReports;
  private approvedBy = '';
  private problem: Problem | null = null;
  private fence: Report['fence'] = 'never-raised';
  private readonly warnings: string[] = [];
  private readonly policy: Policy;
  private readonly nodes: NodeRef[];
  private readonly copies: ColdCopies | null;

  constructor(
    private readonly request: RecoveryRequest,
    private readonly state: RecoveryState,
    private readonly settings: Settings,
  ) {
    const { policy, nodes, searchAttributes, cold } = settings;
    this.policy = policy;
    this.nodes = nodes;
    const { cluster, backup } = request;
    const isCold = backup !== undefined && cold?.repositories.includes(parseBackupRef(backup).repository ?? '');
    this.copies =
      cold && isCold ? new ColdCopies({ cluster, nodes, policy, agentTimeoutSeconds: cold.agentTimeoutSeconds }) : null;
    this.activities = activitiesFor(policy);
    this.reports = proxyActivities<Activities>({
      startToCloseTimeout: '1 minute',
      heartbeatTimeout: policy.heartbeatTimeoutSeconds * 1000,
      retry: { maximumAttempts: 5 },
    });
    // It reads the whole plan and all results first; whether its worker lives, the heartbeat tells.
    this.largeReports = proxyActivities<Activities>({
      startToCloseTimeout: '15 minutes',
      heartbeatTimeout: policy.heartbeatTimeoutSeconds * 1000,
      retry: { maximumAttempts: 5 },
    });
    state.onAbort = () => this.scope.cancel();
    this.state.searchAttributes = searchAttributes;
    if (searchAttributes)
      upsertSearchAttributes([
        {
          key: defineSearchAttributeKey(SEARCH_ATTRIBUTES.cluster, SearchAttributeType.KEYWORD),
          value: request.cluster,
        },
        ...staleAttributes(),
      ]);
  }

  async run(): Promise<Report> {
    try {
      await this.scope.run(() => this.sequence());
    } catch (error) {
      // Cancelled from the UI, or aborted by signal: both end as a report, fence and all.
      if (isCancellation(error)) this.state.aborted = true;
      this.problem ??= problemOf(error);
    }
    // Bad input fails the run, unless something is fenced already: then there is something to report.
    if (this.problem && isBadInput(this.problem) && this.fence === 'never-raised') throw asFailure(this.problem);
    return CancellationScope.nonCancellable(() => this.close());
  }

  private async sequence(): Promise<void> {
    const plan = await this.approvedPlan();
    if (!plan || !hasWork(plan)) return;
    const execution: Execution = {
      run: { cluster: this.request.cluster, recovery: this.recovery, plan: plan.hash },
      plan,
      policy: this.policy,
      state: this.state,
      activities: this.activities,
      copies: this.copies,
    };
    this.state.setPhase('executing');
    await this.stop(execution);
    if (plan.stored) await this.recoverLarge(execution, plan.stored);
    else {
      await this.restore(execution);
      await this.validateAndResolve(execution);
    }
    await this.state.gate();
  }

  /** What `restore` and `validateAndResolve` do, where the tables are too many for one history. */
  private async recoverLarge(execution: Execution, stored: StoredPlan): Promise<void> {
    const { state } = execution;
    const shards = new Shards(stored, state);
    state.tally = () => shards.tally();
    await state.gate();
    await createDatabases(execution, stored);
    await shards.run(execution);
    for (;;) {
      this.finishStages();
      await this.proveIfWhole(execution, shards.tally().failed === 0);
      if (shards.tally().failed === 0 || this.isAutomatic()) return;
      const resolution = await this.resolution();
      if (!resolution) return;
      const patterns = resolution.tables ?? [];
      if (resolution.action === 'skip') {
        await shards.skip(execution, patterns);
        if (shards.tally().failed === 0) return;
      } else {
        state.setPhase('executing');
        await shards.run(execution, patterns);
      }
    }
  }

  /** Null: nothing is to be executed. */
  private async approvedPlan(): Promise<Plan | null> {
    // Runs that were begun by an older worker made it before the lock as well.
    return this.isDecided() && patched('one-plan-where-nobody-is-asked')
      ? this.planUnderLock()
      : this.planThatIsAsked();
  }

  /** Nobody has to see the plan first: it is made once. */
  private async planUnderLock(): Promise<Plan | null> {
    this.state.setPhase('waiting-for-lock');
    if (!(await this.lock())) return null;
    this.state.setPhase('inspecting');
    const plan = await this.inspect();
    if (this.problem || nothingToDo(plan) || !hasWork(plan)) return null;
    await this.approve(plan);
    return plan;
  }

  /** Inspects until a plan is approved that is still the plan once the lock is ours. */
  private async planThatIsAsked(): Promise<Plan | null> {
    for (;;) {
      this.state.setPhase('inspecting');
      const plan = await this.inspect();
      if (this.problem || nothingToDo(plan) || !hasWork(plan)) return null;
      await this.approve(plan);
      if (this.problem) return null;
      this.state.setPhase('waiting-for-lock');
      const release = await this.lock();
      if (!release) return null;
      const again = await this.inspect();
      if (this.problem) return null;
      // Of a run that an older worker began.
      const anyPlan = this.isAutomatic() && this.request.approve === undefined;
      if (again.hash === plan.hash || anyPlan) return again;
      this.approvedBy = '';
      this.warnings.push('the cluster changed after the approval: a new plan was made');
      await release();
    }
  }

  private async inspect(): Promise<Plan> {
    const copies = this.copies ? await this.copies.inspect(this.request) : null;
    const plan = await this.activities.planRecovery(this.request, copies, true);
    this.state.plan = plan;
    this.problem = plan.refusals[0] ?? null;
    return plan;
  }

  private isDecided(): boolean {
    return this.isAutomatic() || this.request.approve !== undefined;
  }

  private isAutomatic(): boolean {
    return (this.request.approval ?? this.policy.approval) === 'auto';
  }

  private async approve(plan: Plan): Promise<void> {
    if (this.request.approve !== undefined && this.approvedBy === '') {
      if (this.request.approve !== plan.hash) {
        this.problem = problem(
          'PLAN_STALE',
          `approved in advance was ${this.request.approve}, the plan is ${plan.hash}`,
          { field: 'approve' },
        );
        throw asFailure(this.problem);
      }
      this.approvedBy = 'approved in advance, by hash';
      return;
    }
    if (this.isAutomatic()) {
      this.approvedBy = 'approval: auto';
      return;
    }
    this.state.approval = null;
    this.state.setPhase('waiting-for-approval');
    const decided = await condition(
      () => this.state.approval !== null || this.state.aborted,
      this.policy.approvalTimeoutSeconds * 1000,
    );
    if (!decided)
      this.problem = problem(
        'APPROVAL_TIMEOUT',
        `nobody approved plan ${plan.hash} in ${this.policy.approvalTimeoutSeconds} s`,
      );
    else if (this.state.approval) this.approvedBy = `approved by ${this.state.approver()} (as stated)`;
  }

  /** Temporal's uniqueness of the child's id is the lock; it ends with this run, however that ends. */
  private async lock(): Promise<(() => Promise<void>) | null> {
    const lock = await takeLock(this.request.cluster);
    if ('release' in lock) return lock.release;
    this.problem = lock.problem;
    return null;
  }

  private async stop({ run, plan, state, activities }: Execution): Promise<void> {
    await state.gate();
    state.begin('stop');
    this.fence = 'held';
    try {
      await allOf(
        fencedNodes(plan, this.nodes).map((node) =>
          activities.fenceNode.executeWithOptions({ summary: `fence ${node.name}` }, [{ run, node }]),
        ),
      );
      state.finish('stop', 'done');
    } catch (error) {
      state.finish('stop', 'failed');
      throw error;
    }
  }

  private async restore(execution: Execution): Promise<void> {
    const { run, plan, state, activities } = execution;
    await state.gate();
    for (const item of workOf(plan)) state.setResult(item, { state: 'waiting' });
    await allOf(
      plan.nodes
        .filter(({ databases }) => databases.length > 0)
        .map(({ node, databases }) =>
          activities.createDatabases.executeWithOptions({ summary: `databases @ ${node.name}` }, [
            { run, node, statements: databases },
          ]),
        ),
    );
    await runUnits(execution, workOf(plan));
    if (!hasBeside(plan.nodes)) await runObjects(execution, workOf(plan));
    this.finishStages();
  }

  private finishStages(): void {
    for (const stage of ['restore-data', 'verify-parts', 'restore-replica'] as const) this.state.finish(stage, 'done');
  }

  /** Validates; where a person is there, failed tables wait for a decision: retry, skip or abort. */
  private async validateAndResolve(execution: Execution): Promise<void> {
    const { state } = execution;
    for (;;) {
      await validate(execution);
      if (hasBeside(execution.plan.nodes)) {
        await promote(execution);
        await runObjects(execution, workOf(execution.plan));
        await validate(execution);
      }
      const failed = state.failed();
      await this.proveIfWhole(execution, failed.length === 0);
      if (failed.length === 0 || this.isAutomatic()) return;
      const resolution = await this.resolution();
      if (!resolution) return;
      const chosen = state.matching(failed, resolution.tables);
      if (resolution.action === 'skip') for (const item of chosen) state.setResult(item, { state: 'skipped' });
      else await this.retry(execution, chosen);
      if (state.failed().length === 0 && resolution.action === 'skip') return;
    }
  }

  private async proveIfWhole(execution: Execution, isWhole: boolean): Promise<void> {
    const { state } = execution;
    if (isWhole)
      this.warnings.push(
        ...(await proveReplication(execution).catch((error: unknown) => {
          state.finish('validate', 'failed');
          throw error;
        })),
      );
    state.finish('validate', isWhole ? 'done' : 'failed');
  }

  /** What a person decides about the tables that failed; null: nobody does in time, or it ends here. */
  private async resolution(): Promise<Resolution | null> {
    const { state } = this;
    state.setPhase('waiting-for-resolve');
    const resolution = await state.nextResolution(this.policy.resolveTimeoutSeconds);
    await state.gate();
    if (resolution?.action !== 'abort') return resolution;
    state.aborted = true;
    return null;
  }

  private async retry(execution: Execution, items: Plan['items']): Promise<void> {
    execution.state.setPhase('executing');
    execution.state.forgetFailures(items);
    for (const item of items) execution.state.setResult(item, { state: 'waiting', problem: undefined });
    // What was validated on all replicas may be in use on one: it is not filled again, only put into its place.
    const { validated } = execution.state;
    for (const item of items) if (validated.has(unitKey(item))) execution.state.setResult(item, { state: 'done' });
    await runUnits(
      execution,
      items.filter((item) => !validated.has(unitKey(item))),
    );
    if (!hasBeside(execution.plan.nodes)) await runObjects(execution, items);
    this.finishStages();
  }

  /** Clean-up and report. Runs on every exit; a failure in it is a warning, never a success. */
  private async close(): Promise<Report> {
    this.state.setPhase('finishing');
    const report = () =>
      buildReport({
        recoveryId: this.id,
        request: this.request,
        plan: this.state.plan,
        approvedBy: this.approvedBy,
        results: this.state.results,
        timelines: this.state.timelines,
        stages: this.state.stages,
        fence: this.fence,
        startedAt: this.startedAt,
        finishedAt: Date.now(),
        aborted: this.state.aborted,
        problem: this.problem,
        ...(this.state.plan?.stored ? { tally: this.tally(this.state.plan.stored) } : {}),
        warnings: this.warnings,
        objectives: this.settings.objectives,
      });
    const run = { cluster: this.request.cluster, recovery: this.recovery, plan: this.state.plan?.hash ?? '' };
    const succeeded = report().outcome === 'succeeded';
    if (this.fence === 'held' && (succeeded || this.policy.onFailure === 'unfence')) {
      // Runs that were begun by an older worker did it one node after the other.
      if (this.nodes.length > 1 && patched('close-nodes-side-by-side'))
        await Promise.all(this.nodes.map((node) => this.closeNode(run, node, succeeded)));
      else for (const node of this.nodes) await this.closeNode(run, node, succeeded);
      if (!this.warnings.some((warning) => warning.includes('may still be fenced'))) this.fence = 'lifted';
    }
    if (this.fence === 'held')
      this.warnings.push(`the fence is up: ch-recover unfence --cluster ${this.request.cluster} lifts it`);
    const final = await this.saved(report(), run);
    this.state.close(final);
    return final;
  }

  private async closeNode(run: Run, node: NodeRef, succeeded: boolean): Promise<void> {
    const { keepAside } = this.state.plan ?? {};
    if (succeeded)
      await this.activities
        .finishNode({ run, node, ...(keepAside === undefined ? {} : { keepAside }) })
        .catch((error: unknown) => {
          this.warnings.push(
            `node ${node.name}: what is left in _recovery was not set aside: ${problemOf(error).message}`,
          );
        });
    await this.activities.liftFence
      .executeWithOptions({ summary: `unfence ${node.name}` }, [{ run, node }])
      .catch((error: unknown) => {
        this.warnings.push(
          `node ${node.name} may still be fenced: ${problemOf(error).message}. Run ch-recover unfence --cluster ${this.request.cluster}`,
        );
      });
  }

  /** A large plan that was not executed has work all the same. */
  private tally({ work, refused, refusal }: StoredPlan): Tally {
    return this.state.tally?.() ?? { ...NO_TALLY, work, refused, refusal };
  }

  private async saved(final: Report, run: Run): Promise<Report> {
    const { stored } = this.state.plan ?? {};
    // The report is also this run's result: a store that is away must not keep the recovery from ending.
    const kept = (error: unknown) => {
      final.warnings.push(`the report could not be stored: ${problemOf(error).message}`);
      return final;
    };
    if (!stored) return this.reports.saveReport({ id: this.id, report: final }).then(() => final, kept);
    const ref = { hash: stored.hash, index: stored.index };
    return this.largeReports.saveLargeReport({ id: this.id, run, stored: ref, report: final }).catch(kept);
  }
}
