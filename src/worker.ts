import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { Connection } from '@temporalio/client';
import {
  DefaultLogger,
  NativeConnection,
  Runtime,
  Worker,
  type Logger,
  type RuntimeOptions,
  type WorkerOptions,
} from '@temporalio/worker';
import { createAllActivities } from './activities/all.js';
import { HEARTBEAT_THROTTLE_MS } from './activities/runtime.js';
import { createPorts, type ClosablePorts } from './compose.js';
import type { Address } from './config/api.js';
import type { Config } from './config/checks.js';
import { RecoveryError } from './domain/errors.js';
import { SEARCH_ATTRIBUTES, TASK_QUEUE } from './domain/messages.js';
import { observeActivities, withActivityIds, workerMetrics } from './observability/activities.js';
import { watchDrills } from './observability/drill-gauges.js';
import { drillSource } from './observability/drills.js';
import { BUCKET_OVERRIDES } from './observability/metrics.js';
import { SUBJECT_FIELDS } from './observability/subject.js';
import { startTracing } from './observability/tracing.js';
import type { Ports } from './ports.js';

export interface WorkerSettings {
  log: Ports['log'];
  taskQueue?: string;
  /** Where Prometheus finds this worker's metrics, under /metrics: Temporal's own and ours. @default nowhere */
  metrics?: Address;
  /** Called once the worker polls. */
  onReady?: () => void;
  /** For tests: decorates the ports, so that a fault can be put between an activity and a system. */
  decoratePorts?: (ports: ClosablePorts) => ClosablePorts;
  workerOptions?: Partial<WorkerOptions>;
}

/** Runs a worker until SIGINT or SIGTERM. Activities that run then get 30 s to reach a safe point. */
export async function runWorker(
  config: Config,
  { log, taskQueue = TASK_QUEUE, metrics, onReady, decoratePorts, workerOptions }: WorkerSettings,
): Promise<void> {
  installRuntime({ logger: loggerOf(log), shutdownSignals: ['SIGINT', 'SIGTERM'] }, metrics);
  const tracing = await startTracing();
  const { connectionOptions, namespace } = loadClientConnectConfig();
  const connection = await NativeConnection.connect(connectionOptions);
  const searchAttributes = await registerSearchAttributes(connectionOptions, namespace ?? 'default', log);
  const composed = createPorts(config, { log: withActivityIds(log), searchAttributes });
  const ports = decoratePorts ? decoratePorts(composed) : composed;
  const activities = createAllActivities(ports);
  const drillGauges = watchDrills(Runtime.instance().metricMeter, drillSource(ports.drills, config.clusters), { log });
  try {
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue,
      // What traces workflows is bundled with them.
      ...(workerOptions?.workflowBundle ? {} : tracing ? { workflowsPath: WORKFLOWS_PATH } : workflowCode()),
      activities,
      interceptors: { activity: [observeActivities(activities)] },
      plugins: tracing ? [tracing.plugin] : [],
      maxConcurrentActivityTaskExecutions: 100,
      shutdownGraceTime: '30s',
      maxHeartbeatThrottleInterval: HEARTBEAT_THROTTLE_MS,
      ...workerOptions,
    });
    workerMetrics().begin(Object.keys(config.clusters));
    const running = worker.run();
    log.info({ taskQueue, namespace }, 'worker ready');
    onReady?.();
    await running;
  } finally {
    drillGauges.stop();
    await ports.close();
    await connection.close();
    await tracing?.stop();
  }
}

/** DEBUG: that is where the SDK says that an activity has ended; 'started' comes without a table, we say that ourselves. */
function loggerOf(log: Ports['log']): Logger {
  return new DefaultLogger('DEBUG', ({ level, message, meta }) => {
    const fields = safeMeta(meta);
    const [line = ''] = message.split('\n');
    if (level === 'ERROR' || level === 'WARN') log.warn(fields, line);
    else if (level === 'INFO' || ('activityId' in fields && line !== 'Activity started')) log.info(fields, line);
  });
}

/** Throws INPUT_INVALID where the address of the metrics is taken. */
function installRuntime(options: RuntimeOptions, metrics: Address | undefined): void {
  if (!metrics) return void Runtime.install(options);
  const host = metrics.host.includes(':') ? `[${metrics.host}]` : metrics.host;
  const prometheus = { bindAddress: `${host}:${metrics.port}`, histogramBucketOverrides: BUCKET_OVERRIDES };
  try {
    Runtime.install({ ...options, telemetryOptions: { metrics: { prometheus } } });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.slice(0, 200) : 'error';
    throw new RecoveryError('INPUT_INVALID', `cannot listen on ${prometheus.bindAddress} (${reason})`, {
      field: 'metrics',
    });
  }
}

const WORKFLOWS_PATH = fileURLToPath(new URL('./workflows/index.js', import.meta.url));

/** The bundle that `npm run build` makes, else the sources. */
function workflowCode(): Pick<WorkerOptions, 'workflowBundle' | 'workflowsPath'> {
  const bundle = fileURLToPath(new URL('./workflow-bundle.js', import.meta.url));
  if (existsSync(bundle)) return { workflowBundle: { codePath: bundle } };
  return { workflowsPath: WORKFLOWS_PATH };
}

/** Fields of Temporal's log entries that name the run and the activity, and those that our interceptor adds. */
const NAMED = ['workflowId', 'runId', 'activityType', 'activityId', 'attempt', 'durationMs', ...SUBJECT_FIELDS];

/** They may also carry an error with its cause: only its message is kept. */
function safeMeta(meta: unknown): object {
  if (typeof meta !== 'object' || meta === null) return {};
  const given = meta as Record<string, unknown>;
  const kept = NAMED.filter((name) => given[name] !== undefined).map((name) => [name, given[name]]);
  const { error } = given;
  return {
    ...(Object.fromEntries(kept) as object),
    ...(error instanceof Error ? { error: error.message.slice(0, 500) } : {}),
  };
}

/** KEYWORD in temporal.api.enums.v1.IndexedValueType. */
const KEYWORD = 2;

/** Registers our search attributes. Where that is not allowed, recoveries run without them. */
async function registerSearchAttributes(
  options: Parameters<typeof Connection.connect>[0],
  namespace: string,
  log: Ports['log'],
): Promise<boolean> {
  const connection = await Connection.connect(options);
  const names = Object.values(SEARCH_ATTRIBUTES);
  try {
    const known = await connection.operatorService.listSearchAttributes({ namespace });
    const missing = names.filter((name) => !(name in known.customAttributes));
    if (missing.length > 0)
      await connection.operatorService.addSearchAttributes({
        namespace,
        searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
      });
    return true;
  } catch (error) {
    log.info(
      { reason: error instanceof Error ? error.message.slice(0, 200) : '' },
      'search attributes are not registered: going on without them',
    );
    return false;
  } finally {
    await connection.close();
  }
}
