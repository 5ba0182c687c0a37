import { createHash } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { parseColdBackup, parseColdRestore } from '../domain/cold.js';
import { RecoveryError } from '../domain/errors.js';
import { COLD_WORKFLOWS, WORKFLOWS } from '../domain/messages.js';
import { parseBackupRequest, parseRequest, type RecoveryRequest } from '../domain/request.js';
import { translated } from './temporal-errors.js';
import { pollers } from './workers.js';

/** Temporal accepts 1,000 bytes. Shorter, so that an id still fits on a line with the command around it. */
const MAX_ID_LENGTH = 255;

export interface Started {
  id: string;
  runId: string;
  /** False: this incident has a recovery already, and this is its id. */
  started: boolean;
  taskQueue: string;
  /** Null where the server does not say. 0: the run waits for one. */
  workers: number | null;
}

/**
 * Starts a recovery. With an incident the id is derived from it, so that a repeat finds the run instead of starting
 * another; a repeat that asks for something else is refused. The request is checked here too, before anything is sent.
 */
export async function startRecovery(client: Client, value: unknown, taskQueue: string): Promise<Started> {
  const request = parseRequest(value);
  return startRun(client, { id: recoveryIdOf(request), request, taskQueue });
}

export interface Run {
  id: string;
  request: RecoveryRequest;
  taskQueue: string;
  /** The id is never used again, also not when its run has ended. @default false */
  onlyOnce?: boolean;
}

export async function startRun(client: Client, run: Run): Promise<Started> {
  const { id, request, taskQueue, onlyOnce = false } = run;
  return translated(async () => {
    const workers = await pollers(client, taskQueue);
    try {
      // FAIL, not USE_EXISTING: that one answers with the run but does not say whether it was there before.
      const handle = await client.workflow.start(WORKFLOWS.recover, {
        taskQueue,
        workflowId: id,
        args: [request],
        workflowIdConflictPolicy: 'FAIL',
        workflowIdReusePolicy: onlyOnce ? 'REJECT_DUPLICATE' : 'ALLOW_DUPLICATE',
        memo: { requestHash: hashOf(request) },
        staticSummary: `recover ${request.cluster}`,
        staticDetails: request.incident === undefined ? undefined : `incident ${request.incident}`,
      });
      return { id, runId: handle.firstExecutionRunId, started: true, taskQueue, workers };
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      return { ...(await standingRun(client, run)), workers };
    }
  });
}

/** The run with this id. Throws WORKFLOW_UNKNOWN where there is none, REQUEST_CONFLICT where it is for another request. */
export async function standingRun(client: Client, { id, request, taskQueue }: Run): Promise<Started> {
  const { runId, memo } = await translated(() => client.workflow.getHandle(id).describe());
  if (memo?.['requestHash'] !== undefined && memo['requestHash'] !== hashOf(request))
    throw new RecoveryError('REQUEST_CONFLICT', `there is a recovery with another request: ${id}`, { objects: [id] });
  return { id, runId, started: false, taskQueue, workers: null };
}

export async function startBackup(client: Client, value: unknown, taskQueue: string): Promise<Started> {
  const request = parseBackupRequest(value);
  const id = `backup-${request.cluster}-${timestamp()}`;
  return translated(async () => {
    const handle = await client.workflow.start(WORKFLOWS.backup, {
      taskQueue,
      workflowId: id,
      args: [request],
      staticSummary: `back up ${request.cluster}`,
    });
    const workers = await pollers(client, taskQueue);
    return { id, runId: handle.firstExecutionRunId, started: true, taskQueue, workers };
  });
}

export async function startCold(
  client: Client,
  kind: 'backup' | 'restore',
  value: unknown,
  taskQueue: string,
): Promise<Started> {
  const request = kind === 'backup' ? parseColdBackup(value) : parseColdRestore(value);
  const id = `cold-${kind}-${request.cluster}-${timestamp()}`;
  return translated(async () => {
    const handle = await client.workflow.start(COLD_WORKFLOWS[kind], {
      taskQueue,
      workflowId: id,
      args: [request],
      staticSummary: `cold ${kind} of ${request.cluster}`,
    });
    const workers = await pollers(client, taskQueue);
    return { id, runId: handle.firstExecutionRunId, started: true, taskQueue, workers };
  });
}

/** The same incident always gives the same id. */
export function recoveryIdOf({ cluster, incident }: RecoveryRequest): string {
  if (incident === undefined) return `recover-${cluster}-${timestamp()}`;
  const readable = `recover-${cluster}-incident-${encodeURIComponent(incident)}`;
  return readable.length <= MAX_ID_LENGTH ? readable : `recover-${sha256(readable)}`;
}

function hashOf(request: RecoveryRequest): string {
  return sha256(JSON.stringify(request));
}

export function sha256(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

export function timestamp(): string {
  return `${new Date().toISOString().slice(0, 23).replace(/[:.]/g, '-')}-${Math.random().toString(36).slice(2, 6)}`;
}
