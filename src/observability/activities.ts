import { AsyncLocalStorage } from 'node:async_hooks';
import { asyncLocalStorage } from '@temporalio/activity';
import { Runtime, type ActivityInterceptorsFactory } from '@temporalio/worker';
import type { Report } from '../domain/report.js';
import type { Ports } from '../ports.js';
import { createWorkerMetrics, type WorkerMetrics } from './metrics.js';
import { subjectOf } from './subject.js';

type Activities = Record<string, unknown>;

/** What an activity is about, for the lines that are logged in it. */
const subjects = new AsyncLocalStorage<object>();

/** One for a runtime: a meter that is asked twice for the same gauge would have two that overwrite each other. */
const metricsOf = new WeakMap<Runtime, WorkerMetrics>();

/** Those of the runtime that is installed. */
export function workerMetrics(): WorkerMetrics {
  const runtime = Runtime.instance();
  const known = metricsOf.get(runtime) ?? createWorkerMetrics(runtime.metricMeter);
  metricsOf.set(runtime, known);
  return known;
}

/**
 * Metrics of our activities, and cluster, shard, replica and table in every line that the SDK logs of them. Activities
 * of a host pass through untouched.
 */
export function observeActivities(ours: Activities): ActivityInterceptorsFactory {
  return ({ info, log }) => {
    if (!Object.hasOwn(ours, info.activityType)) return {};
    let subject: object = {};
    return {
      inbound: {
        execute: async (input, next) => {
          subject = subjectOf(input.args[0]);
          // The SDK's own 'Activity started' is from before anybody knew what it is about.
          log.debug('Activity runs');
          const metrics = workerMetrics();
          // The first attempt only, and also where the store is away: the recovery ended once.
          if (info.activityType === 'saveReport' && info.attempt === 1)
            metrics.ended((input.args[0] as { report: Report }).report);
          const isLarge = info.activityType === 'saveLargeReport' && info.attempt === 1;
          const ended = metrics.started(info.activityType);
          try {
            const result = await subjects.run(subject, () => next(input));
            ended();
            // Of a large recovery the tables are known once their report is made.
            if (isLarge) metrics.ended(result as Report);
            return result;
          } catch (error) {
            ended(error);
            if (isLarge) metrics.ended((input.args[0] as { report: Report }).report);
            throw error;
          }
        },
      },
      outbound: {
        getLogAttributes: (attributes, next) =>
          next({ ...attributes, runId: info.workflowExecution?.runId, ...subject }),
      },
    };
  };
}

/** Adds to each line in an activity which workflow, run and table it is about. */
export function withActivityIds(log: Ports['log']): Ports['log'] {
  const ids = () => {
    const info = asyncLocalStorage.getStore()?.info;
    if (!info) return {};
    const { workflowExecution, activityType, activityId, attempt } = info;
    return { ...workflowExecution, activityType, activityId, attempt, ...subjects.getStore() };
  };
  return {
    info: (fields, message) => log.info({ ...ids(), ...fields }, message),
    warn: (fields, message) => log.warn({ ...ids(), ...fields }, message),
  };
}
