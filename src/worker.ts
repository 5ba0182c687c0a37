import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import { createColdActivities } from './activities/cold/index.js';
import { createActivities } from './activities/index.js';
import { createPorts, type ClosablePorts } from './compose.js';
import type { Config } from './config/checks.js';
import { SEARCH_ATTRIBUTES, TASK_QUEUE } from './domain/messages.js';
import { reportToMarkdown } from './domain/render-report.js';
import type { Ports } from './ports.js';

export interface WorkerSettings {
  log: Ports['log'];
  taskQueue?: string;
  /** Called once the worker polls. */
  onReady?: () => void;
  /** For tests: decorates the ports, so that a fault can be put between an activity and a system. */
  decoratePorts?: (ports: ClosablePorts) => ClosablePorts;
  workerOptions?: Partial<WorkerOptions>;
}

/** Runs a worker until SIGINT or SIGTERM. Activities that run then get 30 s to reach a safe point. */
export async function runWorker(
  config: Config,
  { log, taskQueue = TASK_QUEUE, onReady, decoratePorts, workerOptions }: WorkerSettings,
): Promise<void> {
  const logger = new DefaultLogger('WARN', ({ level, message, meta }) =>
    level === 'ERROR' || level === 'WARN' ? log.warn({ level, ...safeMeta(meta) }, message) : log.info({}, message),
  );
  Runtime.install({ logger, shutdownSignals: ['SIGINT', 'SIGTERM'] });
  const { connectionOptions, namespace } = loadClientConnectConfig();
  const connection = await NativeConnection.connect(connectionOptions);
  const searchAttributes = await registerSearchAttributes(connectionOptions, namespace ?? 'default', log);
  const composed = createPorts(config, { log, searchAttributes, renderMarkdown: reportToMarkdown });
  const ports = decoratePorts ? decoratePorts(composed) : composed;
  try {
    const worker = await Worker.create({
      connection,
      namespace,
      taskQueue,
      ...(workerOptions?.workflowBundle ? {} : workflowCode()),
      activities: { ...createActivities(ports), ...createColdActivities(ports) },
      maxConcurrentActivityTaskExecutions: 100,
      shutdownGraceTime: '30s',
      ...workerOptions,
    });
    const running = worker.run();
    log.info({ taskQueue, namespace }, 'worker ready');
    onReady?.();
    await running;
  } finally {
    await ports.close();
    await connection.close();
  }
}

/** The bundle that `npm run build` makes, else the sources. */
function workflowCode(): Pick<WorkerOptions, 'workflowBundle' | 'workflowsPath'> {
  const bundle = fileURLToPath(new URL('./workflow-bundle.js', import.meta.url));
  if (existsSync(bundle)) return { workflowBundle: { codePath: bundle } };
  return { workflowsPath: fileURLToPath(new URL('./workflows/index.js', import.meta.url)) };
}

/** Temporal's log entries may carry an error with its cause: only the fields that name the run are kept. */
function safeMeta(meta: unknown): object {
  if (typeof meta !== 'object' || meta === null) return {};
  const { workflowId, runId, activityType, attempt, error } = meta as Record<string, unknown>;
  return {
    workflowId,
    runId,
    activityType,
    attempt,
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
