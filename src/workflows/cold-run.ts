import {
  allHandlersFinished,
  CancellationScope,
  condition,
  defineQuery,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import type { ColdActivities } from '../activities/cold/index.js';
import {
  COLD_STEPS,
  type ColdHost,
  type ColdPhase,
  type ColdPlan,
  type ColdProgress,
  type ColdReport,
  type ColdStepName,
  type CopiedHost,
} from '../domain/cold.js';
import { ERRORS, problem, RecoveryError, type Problem } from '../domain/errors.js';
import { QUERIES, SEARCH_ATTRIBUTES, type Approval } from '../domain/messages.js';
import { coldProgressToMarkdown } from '../domain/render-cold.js';
import { ColdHosts } from './cold-hosts.js';
import { asFailure, isBadInput, problemOf } from './failures.js';
import { approveUpdate } from './recovery-state.js';
import { abortSignal } from './signals.js';
import { takeLock } from './take-lock.js';

const coldProgressQuery = defineQuery<ColdProgress>(QUERIES.progress);
const coldPlanQuery = defineQuery<ColdPlan | null>(QUERIES.plan);
const coldReportQuery = defineQuery<ColdReport | null>(QUERIES.report);
const clusterAttribute = defineSearchAttributeKey(SEARCH_ATTRIBUTES.cluster, SearchAttributeType.KEYWORD);

/** Reads the configuration only: a worker that does not answer soon is dead. */
const { coldSettings } = proxyActivities<ColdActivities>({
  startToCloseTimeout: '5 seconds',
  retry: { maximumAttempts: 20 },
});

type Settings = Awaited<ReturnType<ColdActivities['coldSettings']>>;

interface Request {
  cluster: string;
  approval?: 'required' | 'auto';
  approve?: string;
}

interface BringUp {
  /** Once ZooKeeper has a quorum, and no ClickHouse server has started. */
  onQuorum?: () => Promise<void>;
  /** Hosts that were up before. @default all */
  only?: ReadonlySet<string>;
  /** A service that does not start fails it, since there is something to go back to. @default false */
  mayFail?: boolean;
}

/**
 * What a cold backup and a cold restore have in common: plan, approval, lock, and above all that the cluster is brought up
 * again, whatever happens between its stop and its start.
 */
export class ColdRun {
  readonly id = workflowInfo().workflowId;
  readonly run = workflowInfo().firstExecutionRunId;
  readonly hosts: ColdHosts;
  readonly activities;
  private readonly reports;
  readonly warnings: string[] = [];
  /** By host. */
  readonly copied = new Map<string, CopiedHost>();
  /** Set before the first stop. */
  downSince: number | null = null;
  clusterUp = true;
  rolledBack = false;
  private upAt: number | null = null;
  private readonly startedAt = Date.now();
  private readonly scope = new CancellationScope();
  private readonly steps;
  private phase: ColdPhase = 'inspecting';
  private plan: ColdPlan | null = null;
  private approval: Approval | null = null;
  private approvedBy = '';
  private aborted = false;
  private problem: Problem | null = null;
  private report: ColdReport | null = null;

  private constructor(
    readonly kind: 'backup' | 'restore',
    readonly request: Request,
    readonly settings: Settings,
  ) {
    this.steps = COLD_STEPS[kind].map((name): ColdReport['steps'][number] => ({
      ...{ name, startedAt: null, finishedAt: null, outcome: 'not-needed' },
    }));
    this.hosts = new ColdHosts(request.cluster, settings, () => this.publish());
    this.activities = proxyActivities<ColdActivities>({
      startToCloseTimeout: '24 hours',
      heartbeatTimeout: settings.policy.heartbeatTimeoutSeconds * 1000,
      retry: { initialInterval: '1s', maximumInterval: '10s' },
    });
    this.reports = proxyActivities<ColdActivities>({
      startToCloseTimeout: '1 minute',
      heartbeatTimeout: settings.policy.heartbeatTimeoutSeconds * 1000,
      retry: { maximumAttempts: 5 },
    });
    this.listen();
    if (settings.searchAttributes) upsertSearchAttributes([{ key: clusterAttribute, value: request.cluster }]);
  }

  static async create(kind: 'backup' | 'restore', request: Request): Promise<ColdRun> {
    const settings = await coldSettings({ cluster: request.cluster }).catch((error: unknown) => {
      throw asFailure(problemOf(error));
    });
    return new ColdRun(kind, request, settings);
  }

  private listen(): void {
    setHandler(
      approveUpdate,
      (approval) => {
        this.approval = approval;
        return `approved by ${approval.by.slice(0, 100)}`;
      },
      {
        description: 'Approve the plan. {"planHash":"<hash from the plan query>","by":"your name"}',
        validator: (approval: Approval) => {
          if (typeof approval?.by !== 'string' || typeof approval.planHash !== 'string')
            throw asFailure(problem('INPUT_INVALID', 'expected {"planHash": "…", "by": "…"}', { field: 'planHash' }));
          if (this.phase !== 'waiting-for-approval' || approval.planHash !== this.plan?.hash)
            throw asFailure(
              problem('PLAN_STALE', `not the hash of the plan that waits for approval (${this.plan?.hash ?? 'none'})`),
            );
        },
      },
    );
    setHandler(abortSignal, () => this.abort(), {
      description: 'Stop at the next safe point and bring the cluster up. No argument.',
    });
    setHandler(coldProgressQuery, () => this.progress(), { description: 'Phase, steps and hosts. No argument.' });
    setHandler(coldPlanQuery, () => this.plan, { description: 'The plan, its commands and its hash. No argument.' });
    setHandler(coldReportQuery, () => this.report, { description: 'The report, once there is one. No argument.' });
  }

  private abort(): void {
    this.aborted = true;
    this.scope.cancel();
  }

  /** `cleanUp` runs where the body did not succeed, and never is cancelled. */
  async execute(body: () => Promise<void>, cleanUp: () => Promise<void>): Promise<ColdReport> {
    try {
      await this.scope.run(body);
    } catch (error) {
      if (isCancellation(error)) this.aborted = true;
      this.problem ??= problemOf(error);
    }
    if (this.problem && isBadInput(this.problem) && this.downSince === null) throw asFailure(this.problem);
    return CancellationScope.nonCancellable(async () => {
      if (this.problem || this.aborted) await this.cleanUp(cleanUp);
      const report = await this.close();
      await condition(allHandlersFinished);
      return report;
    });
  }

  private async cleanUp(body: () => Promise<void>): Promise<void> {
    this.setPhase('bringing-up');
    try {
      await body();
    } catch (error) {
      const found = problemOf(error);
      this.warnings.push(`${found.code}: ${found.message}`);
    }
    if (this.hosts.down.length > 0)
      this.problem = problem(
        'CLUSTER_DOWN',
        `${this.hosts.down.join(', ')} could not be brought up${this.problem ? `; before, ${this.problem.code}: ${this.problem.message}` : ''}`.slice(
          0,
          1_000,
        ),
        { objects: this.hosts.down },
      );
  }

  /** Plans until what is approved is still the plan once the lock is ours. */
  async approved<Facts>(make: () => Promise<{ plan: ColdPlan; facts: Facts }>): Promise<Facts> {
    for (;;) {
      const { plan } = await this.inspect(make);
      await this.approve(plan);
      this.setPhase('waiting-for-lock');
      const lock = await takeLock(this.request.cluster);
      if ('problem' in lock) throw this.fail(lock.problem);
      const again = await this.inspect(make);
      if (again.plan.hash === plan.hash || (this.isAutomatic() && this.request.approve === undefined)) {
        this.setPhase('executing');
        return again.facts;
      }
      this.approvedBy = '';
      this.approval = null;
      this.warnings.push('the cluster changed after the approval: a new plan was made');
      await lock.release();
    }
  }

  private async inspect<Facts>(make: () => Promise<{ plan: ColdPlan; facts: Facts }>) {
    this.setPhase('inspecting');
    const made = await make();
    this.plan = made.plan;
    const [refusal] = made.plan.refusals;
    if (refusal) throw this.fail(refusal);
    return made;
  }

  private isAutomatic(): boolean {
    return (this.request.approval ?? this.settings.policy.approval) === 'auto';
  }

  private async approve(plan: ColdPlan): Promise<void> {
    if (this.request.approve !== undefined && this.approvedBy === '' && this.approval === null) {
      if (this.request.approve !== plan.hash)
        throw this.fail(
          problem('PLAN_STALE', `approved in advance was ${this.request.approve}, the plan is ${plan.hash}`, {
            field: 'approve',
          }),
        );
      this.approvedBy = 'approved in advance, by hash';
      return;
    }
    if (this.isAutomatic()) {
      this.approvedBy = 'approval: auto';
      return;
    }
    this.setPhase('waiting-for-approval');
    const seconds = this.settings.policy.approvalTimeoutSeconds;
    if (!(await condition(() => this.approval !== null, seconds * 1000)))
      throw this.fail(problem('APPROVAL_TIMEOUT', `nobody approved plan ${plan.hash} in ${seconds} s`));
    this.approvedBy = `approved by ${this.approval?.by.slice(0, 100) ?? ''} (as stated)`;
  }

  fail(found: Problem): Error {
    this.problem = found;
    return new RecoveryError(found.code, found.message, { field: found.field, objects: found.objects });
  }

  async step<T>(name: ColdStepName, body: () => Promise<T>): Promise<T> {
    const step = this.steps.find((candidate) => candidate.name === name);
    if (!step) throw this.fail(problem('INTERNAL', `there is no step ${name}`));
    step.startedAt ??= now();
    step.outcome = 'running';
    this.publish();
    try {
      const result = await body();
      step.outcome = 'done';
      return result;
    } catch (error) {
      step.outcome = 'failed';
      throw error;
    } finally {
      step.finishedAt = now();
      this.publish();
    }
  }

  /** The servers first, so that none loses its session to ZooKeeper while it writes. */
  async stopServers(): Promise<void> {
    this.downSince = Date.now();
    this.clusterUp = false;
    await this.step('stop-clickhouse', () => this.hosts.each('clickhouse', (host) => this.hosts.stop(host)));
  }

  async stopKeepers(): Promise<void> {
    await this.step('stop-keeper', () => this.hosts.each('keeper', (host) => this.hosts.stop(host)));
  }

  /**
   * ZooKeeper, its quorum, then ClickHouse. Where an agent is away it is waited for, and a person is told what to do: the
   * cluster is not left down because a process died.
   */
  async bringUp({ onQuorum, only, mayFail = false }: BringUp = {}): Promise<void> {
    const isWanted = ({ name }: ColdHost) => only === undefined || only.has(name);
    await this.step('start-keeper', async () => {
      await this.hosts.each('keeper', async (host) => isWanted(host) && this.hosts.start(host, mayFail));
      await this.hosts.each('keeper', async (host) => isWanted(host) && this.hosts.awaitServing(host, mayFail));
    });
    await onQuorum?.();
    await this.step('start-clickhouse', () =>
      this.hosts.each('clickhouse', async (host) => isWanted(host) && this.hosts.start(host, mayFail)),
    );
    // A stop whose agent was killed may have been under way still, and have taken down what was seen up.
    await this.hosts.each('all', async (host) => isWanted(host) && this.hosts.start(host, mayFail));
    this.clusterUp = this.settings.hosts.every(isWanted);
    this.upAt = Date.now();
  }

  /** All nodes are writable, and no part of the copy was lost or set aside by its server. */
  async validate(generation: string): Promise<void> {
    await this.step('validate', async () => {
      const { cluster } = this.request;
      await Promise.all(this.settings.nodes.map(({ name }) => this.activities.awaitNode({ cluster, node: name })));
      const findings: string[] = [];
      await this.hosts.each('clickhouse', async (host) => {
        const found = await this.hosts.agent(host).checkParts({ generation });
        findings.push(...found.findings.map((finding) => `${host.name}: ${finding}`));
      });
      if (findings.length > 0)
        throw new RecoveryError('COLD_VALIDATION_FAILED', findings.slice(0, 20).join('; ').slice(0, 2_000), {
          objects: findings.slice(0, 20).map((finding) => finding.slice(0, 200)),
        });
    });
  }

  private async close(): Promise<ColdReport> {
    this.phase = 'closed';
    const found = this.problem;
    const report: ColdReport = {
      ...{ schemaVersion: 1, id: this.id, kind: this.kind, cluster: this.request.cluster },
      generation: this.plan?.generation ?? '',
      outcome: this.aborted ? 'aborted' : found ? ERRORS[found.code].outcome : 'succeeded',
      plan: { hash: this.plan?.hash ?? null, approvedBy: this.approvedBy },
      steps: this.steps,
      hosts: [...this.copied.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
      downtimeSeconds: this.downSince === null || this.upAt === null ? null : (this.upAt - this.downSince) / 1000,
      ...{ clusterUp: this.clusterUp, rolledBack: this.rolledBack },
      ...{ startedAt: new Date(this.startedAt).toISOString(), finishedAt: now() },
      instead: this.plan?.instead ?? null,
      warnings: [...(this.plan?.warnings ?? []), ...this.warnings],
      problem: found,
    };
    // It is also this run's result: a store that is away must not keep it from ending.
    await this.reports.saveColdReport({ report }).catch((error: unknown) => {
      report.warnings.push(`the report could not be stored: ${problemOf(error).message}`);
    });
    this.report = report;
    this.publish();
    return report;
  }

  private setPhase(phase: ColdPhase): void {
    this.phase = phase;
    this.publish();
  }

  private progress(): ColdProgress {
    const { id, kind, phase, steps, report } = this;
    return {
      ...{ id, kind, cluster: this.request.cluster, phase, planHash: this.plan?.hash ?? null, steps },
      attention: this.hosts.attention(),
      report,
    };
  }

  private publish(): void {
    setCurrentDetails(coldProgressToMarkdown(this.progress()));
  }
}

const now = () => new Date(Date.now()).toISOString();
