import { fileURLToPath } from 'node:url';
import { SimplePlugin } from '@temporalio/plugin';
import {
  Runtime,
  type ActivityInterceptorsFactory,
  type ReplayWorkerOptions,
  type Worker,
  type WorkerOptions,
} from '@temporalio/worker';
import { createAllActivities } from './activities/all.js';
import { HEARTBEAT_THROTTLE_MS } from './activities/runtime.js';
import { createPorts, type ClosablePorts } from './compose.js';
import type { Config } from './config/checks.js';
import { RecoveryError } from './domain/errors.js';
import { observeActivities, withActivityIds, workerMetrics } from './observability/activities.js';
import { watchDrills } from './observability/drill-gauges.js';
import { drillSource, type DrillSource } from './observability/drills.js';
import type { Ports } from './ports.js';

export interface ClickHouseRecoveryPluginOptions {
  /** recovery.yaml: `await loadConfig('recovery.yaml')`. */
  config: Config;
  /** Where lines of ours go, such as a pino logger. @default nowhere; the SDK logs activities in its own logger */
  log?: Ports['log'];
  /**
   * Whether ClickHouseCluster, ClickHouseRecoveryStage and ClickHouseRecoveryOutcome (keywords) are registered in the
   * namespace, so that recoveries set them. Where they are not, true would block every recovery. @default false
   */
  searchAttributes?: boolean;
}

const SILENT: Ports['log'] = { info: () => undefined, warn: () => undefined };

/**
 * Adds recoveries of ClickHouse clusters to a worker of yours: `plugins: [new ClickHouseRecoveryPlugin({ config })]`, on
 * the worker or on its connection, or on both.
 *
 * It brings the activities and what observes them: metrics, those of drills too, go where the `Runtime` of the host sends
 * its own, so that has to be installed with metrics, and `histogramBucketOverrides`, before the first worker or connection. A worker has one module of workflows, which stays yours: say
 * `export * from 'temporal-clickhouse-recovery/workflows'` in it. Only a worker without any gets ours. Data converters
 * are yours too: inputs and results are plain JSON, and secrets are in none of them.
 *
 * Throws RecoveryError `ACTIVITY_NAME_TAKEN` from `Worker.create` where the host has an activity with a name of ours,
 * and from `worker.run` where a later plugin has put one in its place: histories hold the names, so they are no choice.
 */
export class ClickHouseRecoveryPlugin extends SimplePlugin {
  private readonly ports: ClosablePorts;
  private readonly activities: ReturnType<typeof createAllActivities>;
  private readonly interceptor: ActivityInterceptorsFactory;
  private readonly drills: DrillSource;
  private readonly log: Ports['log'];
  private readonly running = new Set<Worker>();
  /** One for all workers: two would set the same gauges. */
  private drillGauges: { stop(): void } | null = null;

  constructor({ config, log = SILENT, searchAttributes = false }: ClickHouseRecoveryPluginOptions) {
    const ports = createPorts(config, { log: withActivityIds(log), searchAttributes });
    const activities = createAllActivities(ports);
    const interceptor = observeActivities(activities);
    super({ name: 'temporal-clickhouse-recovery', activities, workerInterceptors: { activity: [interceptor] } });
    this.ports = ports;
    this.activities = activities;
    this.interceptor = interceptor;
    this.drills = drillSource(ports.drills, config.clusters);
    this.log = log;
  }

  override configureWorker(options: WorkerOptions): WorkerOptions {
    // On a connection and on its worker it is asked twice.
    if (options.interceptors?.activity?.includes(this.interceptor)) return options;
    this.mustOwn((name) => (options.activities as Record<string, unknown> | undefined)?.[name], 'the worker');
    return super.configureWorker({ ...withWorkflows(options), maxHeartbeatThrottleInterval: HEARTBEAT_THROTTLE_MS });
  }

  override configureReplayWorker(options: ReplayWorkerOptions): ReplayWorkerOptions {
    return super.configureReplayWorker(withWorkflows(options));
  }

  /** Connections to ClickHouse and ZooKeeper end with the last worker; another one opens them again. */
  override async runWorker(worker: Worker, next: (worker: Worker) => Promise<void>): Promise<void> {
    if (this.running.has(worker)) return super.runWorker(worker, next);
    this.mustOwn((name) => worker.options.activities.get(name), 'another plugin');
    this.running.add(worker);
    workerMetrics().begin(this.ports.clusterNames());
    this.drillGauges ??= watchDrills(Runtime.instance().metricMeter, this.drills, { log: this.log });
    try {
      await super.runWorker(worker, next);
    } finally {
      this.running.delete(worker);
      if (this.running.size === 0) {
        this.drillGauges?.stop();
        this.drillGauges = null;
        await this.ports.close();
      }
    }
  }

  private mustOwn(activity: (name: string) => unknown, owner: string): void {
    const ours = Object.entries<unknown>(this.activities);
    const names = ours.filter(([name, own]) => ![undefined, own].includes(activity(name))).map(([name]) => name);
    if (names.length === 0) return;
    throw new RecoveryError('ACTIVITY_NAME_TAKEN', `${owner} has activities with names of ours: ${names.join(', ')}`, {
      objects: names,
    });
  }
}

/** One module is bundled, and the host's stays: ours is for a worker that has none. */
function withWorkflows<T extends Pick<WorkerOptions, 'workflowsPath' | 'workflowBundle'>>(options: T): T {
  if (options.workflowsPath !== undefined || options.workflowBundle !== undefined) return options;
  return { ...options, workflowsPath: fileURLToPath(new URL('./workflows/index.js', import.meta.url)) };
}
