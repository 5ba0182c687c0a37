import { loadClientConnectConfig } from '@temporalio/envconfig';
import { DefaultLogger, NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker';
import type { AgentConfig } from '../config/agent.js';
import { hostTaskQueue } from '../domain/cold.js';
import { createAgentActivities } from './activities.js';

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
  try {
    const worker = await Worker.create({
      ...{ connection, namespace, taskQueue, activities: createAgentActivities(config) },
      // One thing at a time: its steps are steps of one service.
      maxConcurrentActivityTaskExecutions: 1,
      shutdownGraceTime: '30s',
      ...workerOptions,
    });
    const running = worker.run();
    onReady(taskQueue);
    await running;
  } finally {
    await connection.close();
  }
}
