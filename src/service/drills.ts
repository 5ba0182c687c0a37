import { randomUUID } from 'node:crypto';
import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  WorkflowFailedError,
  type Client,
  type ScheduleOptions,
} from '@temporalio/client';
import { ApplicationFailure, WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { drillScheduleId, parseDrillRequest, type DrillReport, type DrillRequest } from '../domain/drill.js';
import { RecoveryError } from '../domain/errors.js';
import { WORKFLOWS } from '../domain/messages.js';
import { sha256, type Started } from './start.js';
import { translated } from './temporal-errors.js';
import { pollers } from './workers.js';

/** A drill that was missed is not made up for later: the next one comes soon enough. Temporal's default is a year. */
const CATCHUP_WINDOW = '10 minutes';
/** Temporal answers an invalid cron expression with INVALID_ARGUMENT. */
const INVALID_ARGUMENT = 3;

export interface DrillSchedule {
  /** After a drill that failed: its error is the note. Nothing is started until `drill schedule` again. */
  paused: boolean;
  note: string;
  /** ISO 8601; null while paused. */
  next: string | null;
}

export type DrillService = Pick<Drills, keyof Drills>;

export class Drills {
  constructor(private readonly client: Client) {}

  /** With a key, a repeat finds the drill that it started, also after its end. Throws REQUEST_CONFLICT for another request. */
  async start(value: unknown, taskQueue: string, key?: { owner: string; key: string }): Promise<Started> {
    const request = parseDrillRequest(value);
    const hash = sha256(JSON.stringify(request));
    const id = key
      ? `drill-key-${sha256(JSON.stringify([key.owner, key.key]))}`
      : `drill-${request.cluster}-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}-${randomUUID().slice(0, 4)}`;
    return translated(async () => {
      const workers = await pollers(this.client, taskQueue);
      try {
        const handle = await this.client.workflow.start(WORKFLOWS.drill, {
          taskQueue,
          workflowId: id,
          args: [request],
          workflowIdReusePolicy: 'REJECT_DUPLICATE',
          memo: { requestHash: hash },
          staticSummary: `drill of ${request.cluster}`,
        });
        return { id, runId: handle.firstExecutionRunId, started: true, taskQueue, workers };
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
        const { runId, memo } = await this.client.workflow.getHandle(id).describe();
        if (memo?.['requestHash'] !== hash)
          throw new RecoveryError('REQUEST_CONFLICT', `there is a drill with another request: ${id}`, {
            objects: [id],
          });
        return { id, runId, started: false, taskQueue, workers };
      }
    });
  }

  /** Waits for its end. A drill that failed has a report too; throws where it ended without one. */
  async result(id: string): Promise<DrillReport> {
    return translated(async () => {
      try {
        return (await this.client.workflow.getHandle(id).result()) as DrillReport;
      } catch (error) {
        const report = error instanceof WorkflowFailedError ? reportIn(error.cause) : null;
        if (report) return report;
        throw error;
      }
    });
  }

  /** Creates the schedule of the cluster, or makes it what is asked for; one that was paused runs again. */
  async schedule(value: unknown, cron: string, taskQueue: string): Promise<{ id: string; created: boolean }> {
    const options = scheduleOf(parseDrillRequest(value), cron, taskQueue);
    const id = options.scheduleId;
    try {
      return await translated(async () => {
        try {
          await this.client.schedule.create(options);
          return { id, created: true };
        } catch (error) {
          if (!(error instanceof ScheduleAlreadyRunning)) throw error;
          const handle = this.client.schedule.getHandle(id);
          await handle.update(() => ({ ...options, state: { paused: false, note: '' } }));
          return { id, created: false };
        }
      });
    } catch (error) {
      if (grpcCode(error) !== INVALID_ARGUMENT) throw error;
      throw new RecoveryError('INPUT_INVALID', `cron: Temporal does not take ${JSON.stringify(cron.slice(0, 100))}`, {
        field: 'cron',
      });
    }
  }

  /** Whether there was one. */
  async unschedule(cluster: string): Promise<boolean> {
    return this.ifThere(async () => {
      await this.client.schedule.getHandle(drillScheduleId(cluster)).delete();
      return true;
    }, false);
  }

  async scheduled(cluster: string): Promise<DrillSchedule | null> {
    return this.ifThere<DrillSchedule | null>(async () => {
      const { state, info } = await this.client.schedule.getHandle(drillScheduleId(cluster)).describe();
      return {
        paused: state.paused,
        note: state.note ?? '',
        next: state.paused ? null : (info.nextActionTimes[0]?.toISOString() ?? null),
      };
    }, null);
  }

  private async ifThere<T>(call: () => Promise<T>, otherwise: T): Promise<T> {
    return translated(async () => {
      try {
        return await call();
      } catch (error) {
        if (error instanceof ScheduleNotFoundError) return otherwise;
        throw error;
      }
    });
  }
}

function scheduleOf(request: DrillRequest, cron: string, taskQueue: string): ScheduleOptions {
  return {
    scheduleId: drillScheduleId(request.cluster),
    spec: { cronExpressions: [cron] },
    action: {
      type: 'startWorkflow',
      workflowType: WORKFLOWS.drill,
      workflowId: `drill-${request.cluster}-scheduled`,
      args: [request],
      taskQueue,
      staticSummary: `drill of ${request.cluster}, by its schedule`,
    },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: CATCHUP_WINDOW, pauseOnFailure: true },
  };
}

function reportIn(cause: unknown): DrillReport | null {
  if (!(cause instanceof ApplicationFailure)) return null;
  const report = cause.details?.[1];
  return typeof report === 'object' && report !== null && 'drillId' in report ? (report as DrillReport) : null;
}

function grpcCode(error: unknown): number | null {
  const cause = error instanceof Error && 'code' in error ? error : error instanceof Error ? error.cause : null;
  return typeof cause === 'object' && cause !== null && 'code' in cause ? Number(cause.code) : null;
}
