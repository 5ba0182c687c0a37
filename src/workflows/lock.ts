import { CancellationScope, condition, isCancellation } from '@temporalio/workflow';

/** Holds its workflow id until its parent ends (parent close policy TERMINATE) or lets go of it (cancellation). */
export async function clusterLock(_holder: { holder: string }): Promise<void> {
  try {
    await CancellationScope.cancellable(() => condition(() => false));
  } catch (error) {
    if (!isCancellation(error)) throw error;
  }
}
