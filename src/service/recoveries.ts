import {
  Client,
  Connection,
  isGrpcServiceError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  type WorkflowHandle,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { isErrorCode, problem, RecoveryError, type Problem } from '../domain/errors.js';
import {
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
import { parseBackupRequest, parseRequest } from '../domain/request.js';

const CONNECT_TIMEOUT_MS = 10_000;

/** Connects as the `temporal` CLI does: TEMPORAL_* environment, then the TOML profile. Throws TEMPORAL_UNAVAILABLE. */
export async function connect(): Promise<{ client: Client; close(): Promise<void> }> {
  const { connectionOptions, namespace } = loadClientConnectConfig();
  try {
    const connection = await Connection.connect({ ...connectionOptions, connectTimeout: CONNECT_TIMEOUT_MS });
    return { client: new Client({ connection, namespace: namespace ?? 'default' }), close: () => connection.close() };
  } catch (cause) {
    throw new RecoveryError(
      'TEMPORAL_UNAVAILABLE',
      `no Temporal server at ${connectionOptions.address ?? '127.0.0.1:7233'}: ${messageOf(cause)}`.slice(0, 300),
    );
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

export interface Started {
  id: string;
  runId: string;
  /** False: this incident has a recovery already, and this is its id. */
  started: boolean;
  /** Null where the server does not say. */
  workers: number | null;
}

/**
 * Starts a recovery. With an incident the id is derived from it, so that a repeat finds the run instead of starting
 * another. The request is checked here too, before anything is sent.
 */
export async function startRecovery(client: Client, value: unknown, taskQueue: string): Promise<Started> {
  const request = parseRequest(value);
  const suffix = request.incident === undefined ? timestamp() : `incident-${encodeURIComponent(request.incident)}`;
  const workflowId = `recover-${request.cluster}-${suffix}`;
  const handle = await client.workflow.start(WORKFLOWS.recover, {
    taskQueue,
    workflowId,
    args: [request],
    workflowIdConflictPolicy: request.incident === undefined ? 'FAIL' : 'USE_EXISTING',
    staticSummary: `recover ${request.cluster}`,
    staticDetails: request.incident === undefined ? undefined : `incident ${request.incident}`,
  });
  const started = request.incident === undefined || (await handle.describe()).runId === handle.firstExecutionRunId;
  return { id: workflowId, runId: handle.firstExecutionRunId, started, workers: await pollers(client, taskQueue) };
}

export async function startBackup(client: Client, value: unknown, taskQueue: string): Promise<Started> {
  const request = parseBackupRequest(value);
  const workflowId = `backup-${request.cluster}-${timestamp()}`;
  const handle = await client.workflow.start(WORKFLOWS.backup, {
    taskQueue,
    workflowId,
    args: [request],
    staticSummary: `back up ${request.cluster}`,
  });
  return {
    id: workflowId,
    runId: handle.firstExecutionRunId,
    started: true,
    workers: await pollers(client, taskQueue),
  };
}

function timestamp(): string {
  return `${new Date().toISOString().slice(0, 23).replace(/[:.]/g, '-')}-${Math.random().toString(36).slice(2, 6)}`;
}

/** How many workers poll the task queue: without one, a started run waits. */
async function pollers(client: Client, taskQueue: string): Promise<number | null> {
  try {
    const answer = await client.workflowService.describeTaskQueue({
      namespace: client.options.namespace,
      taskQueue: { name: taskQueue },
      taskQueueType: 1,
    });
    return answer.pollers?.length ?? null;
  } catch {
    return null;
  }
}

/** Temporal's errors as ours. A run that failed on bad input carries the problem in its failure. */
export function toRecoveryError(error: unknown): unknown {
  if (error instanceof WorkflowNotFoundError) return new RecoveryError('WORKFLOW_UNKNOWN', 'there is no such workflow');
  if (error instanceof WorkflowUpdateFailedError || error instanceof WorkflowFailedError) {
    const found = problemIn(error.cause);
    return new RecoveryError(found.code, found.message, { field: found.field, objects: found.objects });
  }
  if (isGrpcServiceError(error)) {
    const code = Number(error.code);
    // 5 NOT_FOUND, 14 UNAVAILABLE, 4 DEADLINE_EXCEEDED
    if (code === 5) return new RecoveryError('WORKFLOW_UNKNOWN', 'there is no such workflow');
    if (code === 14 || code === 4)
      return new RecoveryError('TEMPORAL_UNAVAILABLE', `Temporal does not answer: ${error.details}`);
  }
  return error;
}

function problemIn(cause: unknown): Problem {
  if (cause instanceof ApplicationFailure) {
    const [detail] = cause.details ?? [];
    if (typeof detail === 'object' && detail !== null && 'code' in detail && isErrorCode(detail.code))
      return detail as Problem;
    return problem(isErrorCode(cause.type) ? cause.type : 'INTERNAL', cause.message);
  }
  return problem('INTERNAL', cause instanceof Error ? cause.message : 'the workflow failed');
}

async function translated<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toRecoveryError(error);
  }
}

export class Recoveries {
  constructor(private readonly client: Client) {}

  private handle(id: string): WorkflowHandle {
    return this.client.workflow.getHandle(id);
  }

  /** Queries need a worker; a closed run answers from its history. */
  progress(id: string): Promise<Progress> {
    return translated(() => this.handle(id).query<Progress>(QUERIES.progress));
  }

  plan(id: string): Promise<Plan | null> {
    return translated(() => this.handle(id).query<Plan | null>(QUERIES.plan));
  }

  async status(id: string): Promise<string> {
    return translated(async () => (await this.handle(id).describe()).status.name);
  }

  approve(id: string, approval: Approval): Promise<string> {
    return translated(() => this.handle(id).executeUpdate<string, [Approval]>(UPDATES.approve, { args: [approval] }));
  }

  resolve(id: string, resolution: Resolution): Promise<void> {
    return translated(() => this.handle(id).signal(SIGNALS.resolve, resolution));
  }

  signal(id: string, name: 'abort' | 'pause' | 'resume'): Promise<void> {
    return translated(() => this.handle(id).signal(SIGNALS[name]));
  }

  /** The report of a closed run; throws WORKFLOW_UNKNOWN, or what the run failed on. Waits while it runs. */
  report(id: string): Promise<Report> {
    return translated(() => this.handle(id).result() as Promise<Report>);
  }

  backupResult(id: string): Promise<BackupResult> {
    return translated(() => this.handle(id).result() as Promise<BackupResult>);
  }

  /** Calls back with each new progress until the run is closed, then gives its report. */
  async watch(id: string, onProgress: (progress: Progress) => void, pollMs = 500): Promise<Report> {
    let open = true;
    const result = this.report(id).finally(() => {
      open = false;
    });
    // The loop below awaits `result` in the end; until then its rejection must not count as unhandled.
    result.catch(() => undefined);
    while (open) {
      try {
        onProgress(await this.progress(id));
      } catch (error) {
        // No worker answers queries for now: the run goes on when there is one again.
        if (error instanceof RecoveryError && error.code === 'WORKFLOW_UNKNOWN') throw error;
      }
      await Promise.race([new Promise((resolve) => setTimeout(resolve, pollMs)), result.catch(() => undefined)]);
    }
    return result;
  }
}
