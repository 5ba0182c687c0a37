import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client, Connection, type WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import {
  bundleWorkflowCode,
  DefaultLogger,
  makeTelemetryFilterString,
  NativeConnection,
  Runtime,
  Worker,
  type WorkerOptions,
  type WorkflowBundleWithSourceMap,
} from '@temporalio/worker';
import { QUERIES, SEARCH_ATTRIBUTES, WORKFLOWS, type Phase, type Progress } from '../../src/domain/messages.js';
import type { RecoveryRequest } from '../../src/domain/request.js';
import type { recoverCluster } from '../../src/workflows/index.js';
import { scratchDir, waitFor } from '../support/processes.js';
import { startTemporalServer } from '../support/temporal-server.js';
import { repoRoot } from '../support/tools.js';
import type { Fakes } from './fakes.js';

export type Handle = WorkflowHandleWithFirstExecutionRunId<typeof recoverCluster>;

/** One worker with its own task queue and its own cluster name. */
export interface Scene {
  client: Client;
  taskQueue: string;
  cluster: string;
  /** Starts a recovery of the scene's cluster. */
  start: (request?: Partial<RecoveryRequest>) => Promise<Handle>;
  /** Starts one with any input. */
  startWith: (input: unknown) => Promise<Handle>;
  /** Runs `body` beside one more worker, such as the agent of a host. */
  beside: <T>(taskQueue: string, activities: object, body: () => Promise<T>) => Promise<T>;
}

export type Bench = Awaited<ReturnType<typeof startBench>>;

const quiet = new DefaultLogger('ERROR');

/** Without the warnings that belong to what is tested: failed workflow tasks, activities that outlive their run. */
export function quietRuntime(): void {
  Runtime.install({
    logger: quiet,
    telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'ERROR', other: 'ERROR' }) } },
  });
}

export function bundleWorkflows(workflowsPath = join(repoRoot, 'src/workflows/index.ts')) {
  return bundleWorkflowCode({ workflowsPath, logger: quiet });
}

/** A real Temporal server, and the current workflow code, bundled once. `identity`: the worker's and client's in histories. */
export async function startBench({ identity = 'test', dynamicConfig = [] as readonly string[] } = {}) {
  quietRuntime();
  const dir = scratchDir('tcr-workflow');
  const searchAttributes = Object.fromEntries(
    Object.values(SEARCH_ATTRIBUTES).map((name) => [name, 'Keyword' as const]),
  );
  const [server, workflowBundle] = await Promise.all([
    startTemporalServer({ dir: dir.path, searchAttributes, dynamicConfig }),
    bundleWorkflows(),
  ]);
  const connection = await Connection.connect({ address: server.address });
  const native = await NativeConnection.connect({ address: server.address });
  const client = new Client({ connection, identity });

  return {
    client,
    /** Runs `body` beside a worker with these activities. */
    async scene<T>(
      { activities }: Pick<Fakes, 'activities'>,
      body: (scene: Scene) => Promise<T>,
      options: Partial<WorkerOptions> = {},
    ): Promise<T> {
      const id = randomUUID().slice(0, 8);
      const taskQueue = `test-${id}`;
      const cluster = `c-${id}`;
      const worker = await createWorker({
        native,
        taskQueue,
        workflowBundle,
        activities,
        options: { identity, ...options },
      });
      const startWith = (input: unknown) =>
        client.workflow.start<typeof recoverCluster>(WORKFLOWS.recover, {
          taskQueue,
          workflowId: `recovery-${randomUUID().slice(0, 8)}`,
          args: [input],
          workflowExecutionTimeout: '2 minutes',
        });
      const beside: Scene['beside'] = async (queue, own, work) =>
        (await createWorker({ native, taskQueue: queue, activities: own, options: { identity, ...options } })).runUntil(
          work,
        );
      const start = (request: Partial<RecoveryRequest> = {}) => startWith({ cluster, ...request });
      return worker.runUntil(body({ client, taskQueue, cluster, startWith, start, beside }));
    },
    async stop(): Promise<void> {
      await native.close();
      await connection.close();
      await server.stop();
      dir.remove();
    },
  };
}

interface WorkerParts {
  native: NativeConnection;
  taskQueue: string;
  workflowBundle?: WorkflowBundleWithSourceMap;
  activities: object;
  options: Partial<WorkerOptions>;
}

function createWorker({ native, taskQueue, workflowBundle, activities, options }: WorkerParts): Promise<Worker> {
  return Worker.create({
    connection: native,
    taskQueue,
    workflowBundle,
    activities,
    shutdownForceTime: '10s',
    // A cancellation reaches an activity with the answer to its heartbeat.
    maxHeartbeatThrottleInterval: '200ms',
    ...options,
  });
}

export function progressOf(handle: Handle): Promise<Progress> {
  return handle.query<Progress>(QUERIES.progress);
}

export function untilPhase(handle: Handle, phase: Phase): Promise<Progress> {
  return waitFor(
    async () => {
      const progress = await progressOf(handle);
      return progress.phase === phase && progress;
    },
    { what: `phase ${phase}`, deadlineMs: 90_000, everyMs: 30 },
  );
}
