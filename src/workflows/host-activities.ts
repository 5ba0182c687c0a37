import {
  ActivityCancellationType,
  ActivityFailure,
  proxyActivities,
  TimeoutFailure,
  type ActivityInterfaceFor,
} from '@temporalio/workflow';
import { TimeoutType } from '@temporalio/common';
import type { ColdHost } from '../domain/cold.js';
import { agentMissing } from '../domain/cold-plan.js';
import { RecoveryError } from '../domain/errors.js';

export interface HostQueue {
  cluster: string;
  taskQueue: string;
  /** How long an agent may take to begin. */
  agentTimeoutSeconds: number;
  heartbeatTimeoutSeconds: number;
}

/** The activities of one agent. One that does not take them in time is named in the error. */
export function hostActivities<A extends object>(
  host: ColdHost,
  { cluster, taskQueue, agentTimeoutSeconds, heartbeatTimeoutSeconds }: HostQueue,
  summary = host.name,
): ActivityInterfaceFor<A> {
  const activities = proxyActivities<Record<string, (...args: unknown[]) => Promise<unknown>>>({
    taskQueue,
    scheduleToStartTimeout: agentTimeoutSeconds * 1000,
    startToCloseTimeout: '7 days',
    heartbeatTimeout: heartbeatTimeoutSeconds * 1000,
    retry: { initialInterval: '1s', maximumInterval: '5s' },
    // What it does must have ended before its service is started, or a fence lifted.
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  });
  const call =
    (name: string) =>
    async (...args: unknown[]) => {
      try {
        return await activities[name]!.executeWithOptions({ summary }, args);
      } catch (error) {
        if (!isUntaken(error)) throw error;
        const { code, message, objects } = agentMissing(cluster, host);
        throw new RecoveryError(code, message, { objects });
      }
    };
  return new Proxy({} as ActivityInterfaceFor<A>, { get: (_, name) => call(String(name)) });
}

function isUntaken(error: unknown): boolean {
  return (
    error instanceof ActivityFailure &&
    error.cause instanceof TimeoutFailure &&
    error.cause.timeoutType === TimeoutType.SCHEDULE_TO_START
  );
}
