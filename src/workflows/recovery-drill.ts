import {
  ActivityCancellationType,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  ChildWorkflowCancellationType,
  isCancellation,
  ParentClosePolicy,
  proxyActivities,
  setCurrentDetails,
  sleep,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import type { DrillActivities, DrillTarget } from '../activities/drills.js';
import {
  buildDrillReport,
  drillLockId,
  parseDrillRequest,
  type DrilledBackup,
  type DrillReport,
  type DrillRequest,
  type DrillSettings,
  type Measured,
} from '../domain/drill.js';
import { foundRows } from '../domain/drill-rows.js';
import { problem, type Problem } from '../domain/errors.js';
import { drillToMarkdown } from '../domain/render-drill.js';
import type { Report } from '../domain/report.js';
import type { RecoveryRequest } from '../domain/request.js';
import { asFailure, problemOf } from './failures.js';
import { clusterLock } from './lock.js';
import { recoverCluster } from './recover-cluster.js';

const settings = proxyActivities<DrillActivities>({
  startToCloseTimeout: '5 seconds',
  retry: { maximumAttempts: 20 },
});
/** They wait out outages themselves: Temporal's retries are for workers that die. */
const stepsWith = (heartbeatTimeoutSeconds: number, cancellationType: ActivityCancellationType) =>
  proxyActivities<DrillActivities>({
    startToCloseTimeout: '24 hours',
    heartbeatTimeout: heartbeatTimeoutSeconds * 1000,
    retry: { initialInterval: '1s', backoffCoefficient: 1.5, maximumInterval: '10s' },
    cancellationType,
  });
const reports = proxyActivities<DrillActivities>({
  startToCloseTimeout: '1 minute',
  heartbeatTimeout: '15 seconds',
  retry: { maximumAttempts: 5 },
});

/**
 * A rehearsal: the newest backup of a cluster is recovered into its scratch target, by the workflow that recovers
 * production, measured, compared with the objectives, and cleaned up. Whatever is not good fails the run.
 */
export async function recoveryDrill(input: unknown): Promise<DrillReport> {
  try {
    return await new Drill(parseDrillRequest(input)).run();
  } catch (error) {
    if (error instanceof ApplicationFailure || isCancellation(error)) throw error;
    throw asFailure(problemOf(error));
  }
}

class Drill {
  private readonly startedAt = Date.now();
  private readonly id = workflowInfo().workflowId;
  private readonly recoveryId = `${workflowInfo().workflowId}/${workflowInfo().runId}`;
  private steps = stepsWith(15, ActivityCancellationType.WAIT_CANCELLATION_COMPLETED);
  private settings: DrillSettings | null = null;
  private target: DrillTarget | null = null;
  private backup: DrilledBackup | null = null;
  private recovery: Report | null = null;
  private measured: Measured | null = null;
  private problem: Problem | null = null;
  private skipped: Problem | null = null;
  private aborted = false;
  private started = false;
  /** From here on the target has to be cleaned up. */
  private touched = false;

  constructor(private readonly request: DrillRequest) {}

  async run(): Promise<DrillReport> {
    try {
      await this.sequence();
      // A recovery that is cancelled ends with a report, as if nothing had happened.
      if (CancellationScope.current().consideredCancelled) this.aborted = true;
    } catch (error) {
      if (isCancellation(error)) this.aborted = true;
      else this.problem ??= problemOf(error);
    }
    const report = await CancellationScope.nonCancellable(() => this.close());
    if (report.outcome === 'passed' || report.outcome === 'skipped') return report;
    if (report.outcome === 'aborted') throw new CancelledFailure('the drill was cancelled; its target is clean');
    throw failed(report);
  }

  private async sequence(): Promise<void> {
    const { cluster } = this.request;
    const { settings: found, target, heartbeatTimeoutSeconds } = await settings.getDrill({ cluster });
    [this.settings, this.target] = [found, target];
    // What changes the target is waited for also when it is cancelled: only then it can be cleaned up.
    const steps = stepsWith(heartbeatTimeoutSeconds, ActivityCancellationType.WAIT_CANCELLATION_COMPLETED);
    this.steps = steps;
    const running = await steps.findRecovery({ cluster });
    if (running !== null) return this.stepAside(running);
    if (!(await this.lock(found.target))) return;
    this.say('proving that the target is apart from production');
    await steps.proveDrill({ view: target.view });
    this.backup = await steps.chooseDrillBackup({ cluster, backup: this.request.backup ?? found.backup });
    this.touched = true;
    await this.onTarget(
      'claim',
      (node) => ({ view: target.view, node, drill: this.recoveryId }),
      steps.claimDrillTarget,
    );
    const watching = stepsWith(heartbeatTimeoutSeconds, ActivityCancellationType.TRY_CANCEL);
    await this.recover(found, target.view, watching);
    if (this.problem || this.skipped || this.recovery?.outcome !== 'succeeded') return;
    this.say('measuring what was restored');
    const { backup, recovery } = this;
    const { leftOut, tables, omittedTables } = recovery;
    const { takenAt } = backup;
    // Of a large recovery, the tables are in the stored report, if anywhere: those that are not named here are not lost.
    const isElsewhere = omittedTables !== undefined || tables.length === 0;
    const counted = isElsewhere ? { found: null, stored: recovery.recoveryId } : { found: foundRows(tables) };
    this.measured = await steps.measureDrill({ view: target.view, takenAt, backup, leftOut, ...counted });
  }

  private stepAside(recovery: string): void {
    const { cluster } = this.request;
    this.skipped ??= problem(
      'RECOVERY_RUNNING',
      `cluster ${cluster} is in recovery: ${recovery}. The drill stepped aside`,
      {
        objects: [recovery],
      },
    );
  }

  /** One drill a target, until this run ends. Not the lock of a recovery. */
  private async lock(target: string): Promise<boolean> {
    try {
      await CancellationScope.nonCancellable(() =>
        startChild(clusterLock, {
          workflowId: drillLockId(target),
          args: [{ holder: this.id }],
          parentClosePolicy: ParentClosePolicy.TERMINATE,
          staticSummary: `held by ${this.id}`,
        }),
      );
      return true;
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      this.skipped = problem('DRILL_RUNNING', `target ${target} is used by another drill`, {
        objects: [drillLockId(target)],
      });
      return false;
    }
  }

  /** On all nodes, also when one fails: nothing is cleaned up under an activity that still runs. */
  private async onTarget<Input>(
    what: string,
    input: (node: DrillTarget['nodes'][number]) => Input,
    step: { executeWithOptions(options: { summary: string }, args: [Input]): Promise<unknown> },
  ): Promise<void> {
    const results = await Promise.allSettled(
      (this.target?.nodes ?? []).map((node) =>
        step.executeWithOptions({ summary: `${what} ${node.name}` }, [input(node)]),
      ),
    );
    const rejected = results.find((each) => each.status === 'rejected');
    if (rejected) throw rejected.reason;
  }

  /** The recovery itself, until it ends, takes too long, or an incident begins on the source. */
  private async recover(found: DrillSettings, view: string, watching: ReturnType<typeof stepsWith>): Promise<void> {
    const work = new CancellationScope();
    const watch = new CancellationScope();
    const recovery = work.run(() => this.startRecovery(view));
    const interrupted = (why: () => void) => {
      why();
      work.cancel();
    };
    // Settled from the beginning: a rejection that nobody waits for yet would fail the workflow task, for ever.
    const watchers = Promise.allSettled([
      watch.run(async () => {
        const incident = await watching.awaitRecovery({ cluster: this.request.cluster });
        interrupted(() => this.stepAside(incident));
      }),
      watch.run(async () => {
        await sleep(found.timeoutSeconds * 1000);
        interrupted(() => {
          this.problem = problem('DRILL_TIMEOUT', `the drill did not end within ${found.timeoutSeconds} s`);
        });
      }),
    ]);
    try {
      this.recovery = await recovery;
      if (this.recovery.backup) this.backup = this.recovery.backup;
    } catch (error) {
      if (!(isCancellation(error) && (this.skipped || this.problem))) throw error;
    } finally {
      watch.cancel();
      await watchers;
    }
  }

  private async startRecovery(view: string): Promise<Report> {
    const { repository, name } = this.backup ?? { repository: '', name: '' };
    const request: RecoveryRequest = { cluster: view, backup: `${repository}/${name}`, approval: 'auto' };
    this.say(`recovering ${repository}/${name}`);
    const child = await startChild(recoverCluster, {
      workflowId: this.recoveryId,
      args: [request],
      // Its activities must have ended before the target is cleaned up.
      cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
      parentClosePolicy: ParentClosePolicy.TERMINATE,
      staticSummary: `drill of ${this.request.cluster}`,
    });
    this.started = true;
    return child.result();
  }

  /** Clean-up and report: on every exit. */
  private async close(): Promise<DrillReport> {
    let cleanUpProblem: Problem | null = null;
    const view = this.target?.view ?? '';
    if (this.touched) {
      this.say('cleaning up');
      await this.onTarget('clean up', (node) => ({ view, node }), this.steps.cleanDrillTarget).catch(
        (error: unknown) => {
          const found = problemOf(error);
          cleanUpProblem = problem('DRILL_NOT_CLEAN', `${found.code}: ${found.message}`, { objects: found.objects });
        },
      );
    }
    const report = buildDrillReport({
      drillId: this.id,
      recoveryId: this.started ? this.recoveryId : '',
      cluster: this.request.cluster,
      settings: this.settings,
      backup: this.backup,
      recovery: this.recovery,
      measured: this.measured,
      problem: this.problem,
      skipped: this.skipped,
      aborted: this.aborted,
      cleanedUp: this.touched ? cleanUpProblem === null : null,
      cleanUpProblem,
      startedAt: this.startedAt,
      finishedAt: Date.now(),
    });
    await reports.saveDrillReport({ report }).catch((error: unknown) => {
      report.warnings.push(`the report could not be stored: ${problemOf(error).message}`);
    });
    setCurrentDetails(drillToMarkdown(report));
    return report;
  }

  private say(what: string): void {
    setCurrentDetails(`**Drill of ${this.request.cluster} into ${this.settings?.target ?? ''}** — ${what}`);
  }
}

/** Fails the run, loudly: a schedule pauses on it, with this message as its note. The report is its second detail. */
function failed(report: DrillReport): ApplicationFailure {
  const [first] = report.problems;
  const found = first ?? problem('INTERNAL', 'the drill failed and does not say why');
  const more =
    report.problems.length > 1
      ? ` (and ${report.problems
          .slice(1)
          .map(({ code }) => code)
          .join(', ')})`
      : '';
  return ApplicationFailure.create({
    type: found.code,
    message: `${found.message}${more} — ${found.hint}`,
    nonRetryable: true,
    details: [found, report],
  });
}
