import { sleep } from '@temporalio/workflow';

/** What no release may do without `patched`: the first command is a timer, not getPolicy. */
export async function recoverCluster(): Promise<void> {
  await sleep('1 second');
}

/** And not getDrill. */
export const recoveryDrill = recoverCluster;
