import type { Client } from '@temporalio/client';

/** TASK_QUEUE_TYPE_WORKFLOW in temporal.api.enums.v1.TaskQueueType. */
const WORKFLOW_TASKS = 1;

/**
 * How many workers poll the task queue; null where the server does not say. 0 is certain, more is not: Temporal
 * remembers a poller for five minutes, also one that was killed.
 */
export async function pollers(client: Client, taskQueue: string): Promise<number | null> {
  try {
    const answer = await client.workflowService.describeTaskQueue({
      namespace: client.options.namespace,
      taskQueue: { name: taskQueue },
      taskQueueType: WORKFLOW_TASKS,
    });
    return answer.pollers?.length ?? null;
  } catch {
    return null;
  }
}

/** Why nobody answered, as far as the server knows. */
export function silenceOf(taskQueue: string, workers: number | null, waitedMs: number): string {
  if (workers === 0) return `no worker polls task queue ${taskQueue}`;
  const seen = workers === null ? '' : `; ${workers} polled task queue ${taskQueue} in the last five minutes`;
  return `no worker answers within ${Math.ceil(waitedMs / 1000)} s${seen}`;
}
