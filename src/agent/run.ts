import { loadClientConnectConfig } from '@temporalio/envconfig';
import { DefaultLogger, NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import type { AgentConfig } from '../config/agent.js';
import { hostTaskQueue } from '../domain/cold.js';
import { partsTaskQueue, PLACE_LANES } from '../domain/cold-place.js';
import { createAgentActivities } from './activities.js';
import { createPartsActivities } from './place.js';

/** Polls the task queue of its own host until SIGINT or SIGTERM: it opens no port. */
export async function runAgent(
  config: AgentConfig,
  onReady: (taskQueue: string) => void,
  /** For tests: a fault between an activity and Temporal. */
  workerOptions: Partial<WorkerOptions> = {},
): Promise<void> {
  Runtime.install({
    logger: new DefaultLogger('WARN', ({ level, message }) => process.stderr.write(`${level} ${message}\n`)),
    shutdownSignals: ['SIGINT', 'SIGTERM'],
  });
  const { connectionOptions, namespace } = loadClientConnectConfig();
  const connection = await NativeConnection.connect(connectionOptions);
  const taskQueue = hostTaskQueue(config.cluster, config.name);
  const common = { connection, namespace, shutdownGraceTime: '30s', ...workerOptions } as const;
  try {
    const workers = [
      await Worker.create({
        ...{ taskQueue, activities: createAgentActivities(config), ...common },
        // One thing at a time: its steps are steps of one service.
        maxConcurrentActivityTaskExecutions: 1,
      }),
    ];
    // What a recovery asks of it beside a service that runs. ZooKeeper has no parts.
    if (config.role === 'clickhouse')
      workers.push(
        await Worker.create({
          ...{ taskQueue: partsTaskQueue(config.cluster, config.name), activities: createPartsActivities(config) },
          ...common,
          maxConcurrentActivityTaskExecutions: PLACE_LANES,
        }),
      );
    const running = Promise.all(workers.map((worker) => runWith(worker, workers)));
    onReady(taskQueue);
    await running;
  } finally {
    await connection.close();
  }
}

/** One that ends by itself takes the other along: half an agent looks as if it were whole. */
async function runWith(worker: Worker, all: readonly Worker[]): Promise<void> {
  try {
    await worker.run();
  } finally {
    for (const other of all) if (other.getState() === 'RUNNING') other.shutdown();
  }
}
