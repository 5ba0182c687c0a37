import {
  CancellationScope,
  getExternalWorkflowHandle,
  ParentClosePolicy,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { problem, type Problem } from '../domain/errors.js';
import { lockId } from '../domain/messages.js';
import { clusterLock } from './lock.js';

/** Temporal's uniqueness of the child's id is the lock; it ends with this run, however that ends. */
export async function takeLock(cluster: string): Promise<{ release: () => Promise<void> } | { problem: Problem }> {
  const workflowId = lockId(cluster);
  const holder = workflowInfo().workflowId;
  try {
    // Not cancelled with the rest: the lock is held until the clean-up is over.
    const child = await CancellationScope.nonCancellable(() =>
      startChild(clusterLock, {
        workflowId,
        args: [{ holder }],
        parentClosePolicy: ParentClosePolicy.TERMINATE,
        staticSummary: `held by ${holder}`,
      }),
    );
    return {
      release: async () => {
        await getExternalWorkflowHandle(workflowId, child.firstExecutionRunId).cancel();
        await child.result().catch(() => undefined);
      },
    };
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    return {
      problem: problem('RECOVERY_RUNNING', `workflow ${workflowId} is held by another recovery of this cluster`, {
        objects: [workflowId],
      }),
    };
  }
}
