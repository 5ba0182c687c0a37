import type { Client } from '@temporalio/client';
import { WORKFLOWS } from '../domain/messages.js';
import { parseRequest } from '../domain/request.js';
import { TEMPLATE_MEMO, templateRequest } from '../domain/template.js';
import { timestamp } from './start.js';
import { translated } from './temporal-errors.js';

/** A run of the UI's form: what its link needs. */
export interface Template {
  id: string;
  runId: string;
  namespace: string;
  workflowType: string;
  taskQueue: string;
}

/**
 * Leaves a completed run of `recoverCluster` that touched nothing. A worker completes it, having looked the cluster's
 * name up; `silence` says why none does, and the run is taken back.
 */
export async function makeTemplate(
  client: Client,
  { value, taskQueue, timeoutMs }: { value: unknown; taskQueue: string; timeoutMs: number },
  silence: (id: string) => Promise<Error>,
): Promise<Template> {
  const request = templateRequest(parseRequest(value));
  const id = `template-${request.cluster}-${timestamp()}`;
  return translated(async () => {
    const handle = await client.workflow.start(WORKFLOWS.recover, {
      taskQueue,
      workflowId: id,
      args: [request],
      memo: TEMPLATE_MEMO,
      staticSummary: `recover ${request.cluster}`,
      workflowIdConflictPolicy: 'FAIL',
      workflowExecutionTimeout: timeoutMs * 2,
    });
    const ended = new AbortController();
    const timer = setTimeout(() => ended.abort(), timeoutMs);
    try {
      await client.withAbortSignal(ended.signal, () => handle.result());
    } catch (error) {
      if (!ended.signal.aborted) throw error;
      const reason = await silence(id);
      await handle.terminate('no worker completed this template');
      throw reason;
    } finally {
      clearTimeout(timer);
    }
    const { namespace } = client.options;
    return { id, runId: handle.firstExecutionRunId, namespace, workflowType: WORKFLOWS.recover, taskQueue };
  });
}
