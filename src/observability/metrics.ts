/**
 * The metrics of a worker. They go out through Temporal's own meter, so that a worker has one endpoint for both, and a
 * host that runs the plugin finds ours where its own are. No label holds what people name freely: `cluster` is a key of
 * recovery.yaml, the others are of closed lists.
 */
import type { MetricMeter } from '@temporalio/common';
import { isErrorCode, type ErrorCode } from '../domain/errors.js';
import { OUTCOMES, type Report } from '../domain/report.js';

/** Name, help and labels of every metric of a worker. What `ch-recover api` adds is in interfaces/http/metrics.ts. */
export const WORKER_METRICS = {
  ended: { name: 'ch_recover_recoveries_ended_total', help: 'recoveries that ended with a report' },
  duration: { name: 'ch_recover_recovery_duration_seconds', help: 'from the start of a recovery to its end (RTO)' },
  stage: { name: 'ch_recover_stage_duration_seconds', help: 'from the first table in a stage to the last out of it' },
  tables: { name: 'ch_recover_tables_ended_total', help: 'tables of recoveries that ended, a replica each' },
  running: { name: 'ch_recover_activities_running', help: 'activities that this worker runs now' },
  failures: { name: 'ch_recover_activity_failures_total', help: 'activities that failed, by code of the error table' },
} as const;

/** Upper bounds of the histograms, in seconds: a table takes seconds, a cluster hours. */
export const BUCKETS = [1, 5, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 43_200];

/** By metric, for `telemetryOptions.metrics.prometheus.histogramBucketOverrides`: Temporal's own end at a minute. */
export const BUCKET_OVERRIDES: Record<string, number[]> = {
  [WORKER_METRICS.duration.name]: BUCKETS,
  [WORKER_METRICS.stage.name]: BUCKETS,
};

export interface WorkerMetrics {
  /** Counters that begin with the first event look to Prometheus as if nothing had happened: they begin at 0. */
  begin(clusters: readonly string[]): void;
  /** Once a recovery. */
  ended(report: Report): void;
  /** Returns what to call when it has ended, with the error it ended on. */
  started(activity: string): (error?: unknown) => void;
}

export function createWorkerMetrics(meter: MetricMeter): WorkerMetrics {
  const counter = ({ name, help }: { name: string; help: string }) => meter.createCounter(name, undefined, help);
  const seconds = ({ name, help }: { name: string; help: string }) =>
    meter.createHistogram(name, 'float', undefined, help);
  const { name: running, help } = WORKER_METRICS.running;
  const gauge = meter.createGauge(running, 'int', undefined, help);
  const failures = counter(WORKER_METRICS.failures);
  const [ended, tables] = [counter(WORKER_METRICS.ended), counter(WORKER_METRICS.tables)];
  const [duration, stage] = [seconds(WORKER_METRICS.duration), seconds(WORKER_METRICS.stage)];
  const now = new Map<string, number>();
  const add = (activity: string, change: 1 | -1) => {
    now.set(activity, (now.get(activity) ?? 0) + change);
    gauge.set(now.get(activity) ?? 0, { activity });
  };
  return {
    begin: (clusters) => {
      for (const cluster of clusters) for (const outcome of OUTCOMES) ended.add(0, { cluster, outcome });
    },
    ended: (report) => {
      const { cluster, outcome } = report;
      ended.add(1, { cluster, outcome });
      duration.record(report.rtoSeconds, { cluster, outcome });
      for (const { name, startedAt, finishedAt, outcome: ending } of report.stages)
        if (startedAt !== null && finishedAt !== null)
          stage.record((Date.parse(finishedAt) - Date.parse(startedAt)) / 1000, {
            ...{ cluster, stage: name, outcome: ending },
          });
      const byOutcome = new Map<string, number>();
      for (const table of report.tables) byOutcome.set(table.outcome, (byOutcome.get(table.outcome) ?? 0) + 1);
      for (const [each, count] of Object.entries(report.omittedTables ?? {}))
        byOutcome.set(each, (byOutcome.get(each) ?? 0) + count);
      for (const [each, count] of byOutcome) tables.add(count, { cluster, outcome: each });
    },
    started: (activity) => {
      add(activity, 1);
      return (error) => {
        add(activity, -1);
        const code = codeOf(error);
        if (code) failures.add(1, { activity, code });
      };
    },
  };
}

/** Null where nothing failed: a cancellation is a wish. */
function codeOf(error: unknown): ErrorCode | null {
  if (error === undefined || (error instanceof Error && ['CancelledFailure', 'AbortError'].includes(error.name)))
    return null;
  const type = typeof error === 'object' && error !== null && 'type' in error ? error.type : undefined;
  return isErrorCode(type) ? type : 'INTERNAL';
}
