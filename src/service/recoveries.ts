import { setTimeout as sleep } from 'node:timers/promises';
import { isGrpcServiceError, QueryNotRegisteredError, type Client, type WorkflowHandle } from '@temporalio/client';
import { emptyStages } from '../domain/build-report.js';
import type { ColdPlan, ColdProgress, ColdReport } from '../domain/cold.js';
import { RecoveryError } from '../domain/errors.js';
import {
  COLD_WORKFLOWS,
  QUERIES,
  SIGNALS,
  UPDATES,
  WORKFLOWS,
  type Approval,
  type BackupResult,
  type Progress,
  type Resolution,
} from '../domain/messages.js';
import type { Plan } from '../domain/plan.js';
import type { Report } from '../domain/report.js';
import { isTemplate } from '../domain/template.js';
import { progressOfReport } from './progress-of-report.js';
import { OnceStarter, type IdempotencyKey } from './once.js';
import { RunFinder, type FoundRun } from './runs.js';
import { startBackup, startCold, startRecovery, type Started } from './start.js';
import { makeTemplate, type Template } from './template.js';
import { noWorker, toRecoveryError, translated } from './temporal-errors.js';
import { pollers, silenceOf } from './workers.js';

export { connect } from './connect.js';
export { startBackup, startRecovery, type Started } from './start.js';
export { toRecoveryError } from './temporal-errors.js';
export type { FoundRun } from './runs.js';

/** A query or an update waits for ever where no worker polls: past this, say so instead. */
const ANSWER_TIMEOUT_MS = 10_000;
/** How long a wait for the end of a run outlives a Temporal server that is away. */
const OUTAGE_MS = 600_000;
/** A call that lasted longer than this was connected: the outage begins anew. */
const CONNECTED_MS = 60_000;
const RETRY_MS = 1_000;
const APPROVE_TRIES = 5;

/** Runs that take the same messages. */
const RECOVERIES: readonly string[] = [WORKFLOWS.recover];
const COLD_RUNS: readonly string[] = Object.values(COLD_WORKFLOWS);

const CLOSED = new Set(['COMPLETED', 'FAILED', 'CANCELLED', 'TERMINATED', 'TIMED_OUT']);

/** What the commands (and an API) ask of recoveries; `Recoveries` asks Temporal. */
export type RecoveryService = Pick<Recoveries, keyof Recoveries>;

export class Recoveries {
  private readonly finder: RunFinder;
  private readonly once: OnceStarter;

  constructor(
    private readonly client: Client,
    private readonly answerTimeoutMs = ANSWER_TIMEOUT_MS,
  ) {
    this.finder = new RunFinder(client, answerTimeoutMs);
    this.once = new OnceStarter(client, this.finder, answerTimeoutMs);
  }

  start(request: unknown, taskQueue: string): Promise<Started> {
    return startRecovery(this.client, request, taskQueue);
  }

  /** For programs that repeat themselves: see OnceStarter. */
  startOnce(request: unknown, taskQueue: string, key?: IdempotencyKey): Promise<Started> {
    return this.once.start(request, taskQueue, key);
  }

  /** The latest run with this id. Throws WORKFLOW_UNKNOWN, also where it is no recovery. */
  find(id: string): Promise<FoundRun> {
    return this.finder.find(id);
  }

  /** Newest first. */
  list(wanted: { open: boolean; limit: number; matches: (run: FoundRun) => boolean }): Promise<FoundRun[]> {
    return this.finder.list(wanted);
  }

  /** Leaves a run from which the form of the Temporal UI pre-fills. Throws WORKER_UNAVAILABLE and leaves none. */
  template(request: unknown, taskQueue: string): Promise<Template> {
    const order = { value: request, taskQueue, timeoutMs: this.answerTimeoutMs };
    return makeTemplate(this.client, order, (id) => this.silence(id));
  }

  startBackup(request: unknown, taskQueue: string): Promise<Started> {
    return startBackup(this.client, request, taskQueue);
  }

  startCold(kind: 'backup' | 'restore', request: unknown, taskQueue: string): Promise<Started> {
    return startCold(this.client, kind, request, taskQueue);
  }

  async coldProgress(id: string): Promise<ColdProgress> {
    await this.look(id, COLD_RUNS);
    return this.query<ColdProgress>(id, QUERIES.progress);
  }

  async coldPlan(id: string): Promise<ColdPlan | null> {
    await this.look(id, COLD_RUNS);
    return this.query<ColdPlan | null>(id, QUERIES.plan);
  }

  /** Waits for its end. Throws what the run failed on. */
  coldReport(id: string): Promise<ColdReport> {
    return this.result<ColdReport>(id);
  }

  /** How many workers poll the task queue; null where the server does not say. */
  workers(taskQueue: string): Promise<number | null> {
    return pollers(this.client, taskQueue);
  }

  /** A closed run answers from its result, an open one needs a worker. Throws what a failed run failed on. */
  async progress(id: string): Promise<Progress> {
    const { closed } = await this.look(id);
    return closed ? progressOfReport(await this.report(id)) : this.queryProgress(id);
  }

  async plan(id: string): Promise<Plan | null> {
    await this.look(id);
    return this.query<Plan | null>(id, QUERIES.plan);
  }

  /**
   * Throws PLAN_STALE when the hash is not that of the plan that waits. A worker that has just taken the run over may ask
   * the validator before it has replayed the plan (as in temporalio/sdk-python issue 848), so a rejection is believed once
   * a query agrees with it.
   */
  async approve(id: string, approval: Approval): Promise<string> {
    const handle = await this.openRun(id, [...RECOVERIES, ...COLD_RUNS]);
    for (let tries = 1; ; tries++)
      try {
        return await this.answered(id, () =>
          handle.executeUpdate<string, [Approval]>(UPDATES.approve, { args: [approval] }),
        );
      } catch (error) {
        if (!(error instanceof RecoveryError && error.code === 'PLAN_STALE') || tries >= APPROVE_TRIES) throw error;
        const waiting = await this.queryProgress(id).catch(() => null);
        if (waiting?.phase !== 'waiting-for-approval' || waiting.planHash !== approval.planHash) throw error;
      }
  }

  async resolve(id: string, resolution: Resolution): Promise<void> {
    const handle = await this.openRun(id);
    return translated(() => handle.signal(SIGNALS.resolve, resolution));
  }

  async signal(id: string, name: 'abort' | 'pause' | 'resume'): Promise<void> {
    const handle = await this.openRun(id, name === 'abort' ? [...RECOVERIES, ...COLD_RUNS] : RECOVERIES);
    return translated(() => handle.signal(SIGNALS[name]));
  }

  /**
   * The report; waits while the recovery runs, and tells `onSilence` where no worker runs it. Throws WORKFLOW_UNKNOWN,
   * or what the run failed on.
   */
  async report(id: string, onSilence: (reason: RecoveryError) => void = () => undefined): Promise<Report> {
    const { closed } = await this.look(id);
    const ended = new AbortController();
    if (!closed)
      this.queryProgress(id, ended.signal).catch((error: unknown) => {
        if (!ended.signal.aborted && isSilence(error)) onSilence(error);
      });
    return this.result<Report>(id).finally(() => ended.abort());
  }

  backupResult(id: string): Promise<BackupResult> {
    return this.result<BackupResult>(id);
  }

  /**
   * Calls back with each new progress until the run is closed, the last time from its report, which it returns.
   * `onSilence`: nobody answers for now (no worker, or Temporal is away); the run goes on when somebody does again.
   */
  async watch(
    id: string,
    onProgress: (progress: Progress) => void,
    pollMs = 500,
    onSilence: (reason: RecoveryError) => void = () => undefined,
  ): Promise<Report> {
    await this.look(id);
    let open = true;
    let asking = new AbortController();
    const result = this.result<Report>(id).finally(() => {
      open = false;
      asking.abort();
    });
    const ended = result.then(
      () => undefined,
      () => undefined,
    );
    while (open) {
      // One for each question: the client adds a listener to it that it never takes away.
      asking = new AbortController();
      const asked = this.queryProgress(id, asking.signal).then(
        (progress) => {
          if (open) onProgress(progress);
        },
        (error: unknown) => {
          if (open && isSilence(error)) onSilence(error);
        },
      );
      await Promise.race([asked, ended]);
      await Promise.race([sleep(pollMs), ended]);
    }
    const report = await result;
    onProgress(progressOfReport(report));
    return report;
  }

  private handle(id: string): WorkflowHandle {
    return this.client.workflow.getHandle(id);
  }

  /** Whether it is there, a recovery, and closed: a signal to another workflow would be accepted and do nothing. */
  private async look(id: string, types = RECOVERIES): Promise<{ closed: boolean; status: string }> {
    if (id === '') throw new RecoveryError('INPUT_INVALID', 'the id is empty', { field: 'id' });
    const { type, status, memo } = await translated(() =>
      this.client.withDeadline(Date.now() + this.answerTimeoutMs, () => this.handle(id).describe()),
    ).catch((error: unknown) => {
      throw error instanceof RecoveryError && error.code === 'WORKFLOW_UNKNOWN' ? unknown(id) : error;
    });
    if (!types.includes(type))
      throw new RecoveryError('WORKFLOW_UNKNOWN', `workflow ${id} is not a recovery but ${type}`);
    if (isTemplate(memo))
      throw new RecoveryError('WORKFLOW_UNKNOWN', `workflow ${id} is not a recovery but a template`);
    return { closed: CLOSED.has(status.name), status: status.name };
  }

  private async openRun(id: string, types = RECOVERIES): Promise<WorkflowHandle> {
    const { closed, status } = await this.look(id, types);
    if (closed) throw new RecoveryError('RECOVERY_ENDED', `recovery ${id} has ended already (${status})`);
    return this.handle(id);
  }

  private async queryProgress(id: string, signal?: AbortSignal): Promise<Progress> {
    try {
      return await this.query<Progress>(id, QUERIES.progress, signal);
    } catch (error) {
      // The workflow answers once it has read its policy; until then there is nothing to tell.
      if (error instanceof QueryNotRegisteredError) return unborn(id);
      throw error;
    }
  }

  private query<T>(id: string, name: string, signal?: AbortSignal): Promise<T> {
    return this.answered(id, () => this.handle(id).query<T>(name), signal);
  }

  /**
   * Something that a worker has to answer. `signal`: nobody wants the answer any more. A call that is left behind would
   * retry on a closed connection, which throws where nobody can catch it.
   */
  private async answered<T>(id: string, call: () => Promise<T>, signal = new AbortController().signal): Promise<T> {
    return this.client.withAbortSignal(signal, async () => {
      try {
        return await this.client.withDeadline(Date.now() + this.answerTimeoutMs, call);
      } catch (error) {
        const found = isUnanswered(error) ? noWorker() : toRecoveryError(error);
        const isNoWorker = found instanceof RecoveryError && found.code === 'WORKER_UNAVAILABLE';
        throw isNoWorker && !signal.aborted ? await this.silence(id) : found;
      }
    });
  }

  /** Whether there is no worker at all, or one that does not answer. */
  private async silence(id: string): Promise<RecoveryError> {
    try {
      const { taskQueue } = await this.handle(id).describe();
      return noWorker(silenceOf(taskQueue, await pollers(this.client, taskQueue), this.answerTimeoutMs));
    } catch {
      return noWorker();
    }
  }

  /** Outlives a Temporal server that restarts or is away for some minutes. */
  private async result<T>(id: string): Promise<T> {
    let awaySince: number | null = null;
    for (;;) {
      const calledAt = Date.now();
      try {
        return await translated(() => this.handle(id).result() as Promise<T>);
      } catch (error) {
        if (!(error instanceof RecoveryError) || error.code !== 'TEMPORAL_UNAVAILABLE') throw error;
        if (Date.now() - calledAt > CONNECTED_MS) awaySince = null;
        awaySince ??= Date.now();
        if (Date.now() - awaySince > OUTAGE_MS) throw error;
        await sleep(RETRY_MS);
      }
    }
  }
}

function unknown(id: string): RecoveryError {
  return new RecoveryError('WORKFLOW_UNKNOWN', `there is no such workflow: ${id}`);
}

/** Nobody answers for now; a run goes on when somebody does again. */
function isSilence(error: unknown): error is RecoveryError {
  return error instanceof RecoveryError && ['WORKER_UNAVAILABLE', 'TEMPORAL_UNAVAILABLE'].includes(error.code);
}

/** 1 and 4: our deadline passed (a query that waits for a worker is cancelled then). 9: the server knows that nobody polls. */
function isUnanswered(error: unknown): boolean {
  const grpc = error instanceof Error && !isGrpcServiceError(error) ? error.cause : error;
  return isGrpcServiceError(grpc) && [1, 4, 9].includes(Number(grpc.code));
}

function unborn(id: string): Progress {
  return {
    recoveryId: id,
    cluster: '',
    phase: 'inspecting',
    planHash: null,
    stages: emptyStages(),
    units: [],
    paused: false,
    outcome: null,
    problem: null,
  };
}
