#!/usr/bin/env node
import pino from 'pino';
import { planRecovery } from './activities/plan-recovery.js';
import { detachedContext, withPatience } from './activities/runtime.js';
import { createPorts } from './compose.js';
import { loadConfig } from './config/load.js';
import { examineCluster } from './direct/doctor.js';
import { unfenceCluster } from './direct/unfence.js';
import { TASK_QUEUE } from './domain/messages.js';
import { createProgram } from './interfaces/cli/program.js';
import { drillSource } from './observability/drills.js';
import type { Ports } from './ports.js';
import type { DirectActions } from './service/direct.js';
import { runWorker } from './worker.js';

/** A command for a person waits a little for what is away, not as long as a recovery. Seconds. */
const PATIENCE_SECONDS = 5;
/** 128 + SIGPIPE, as shells have it. */
const PIPE_CLOSED = 141;

async function direct(configPath: string): Promise<DirectActions> {
  const config = await loadConfig(configPath);
  const logger = pino({ level: process.env['CH_RECOVER_LOG'] ?? 'warn' }, pino.destination(2));
  const log: Ports['log'] = {
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
  };
  const ports = createPorts(config, { log });
  const taskQueue = config.temporal.taskQueue ?? TASK_QUEUE;
  return {
    taskQueue,
    clusters: Object.keys(config.clusters),
    api: config.api,
    reports: ports.reports,
    coldReport: (id) => ports.coldReports.load(id),
    ui: config.temporal.ui,
    log,
    plan: (request) => withPatience(PATIENCE_SECONDS, detachedContext(), () => planRecovery(ports, request)),
    doctor: (name) => examineCluster(ports.cluster(name), name),
    unfence: (name) => unfenceCluster(ports.cluster(name), name),
    drillGauges: drillSource(ports.drills, config.clusters),
    drillHistory: async (name, limit) => {
      ports.cluster(name);
      return ports.drills.list(name, limit);
    },
    runWorker: ({ metrics } = {}) =>
      runWorker(config, {
        taskQueue,
        metrics,
        log,
        onReady: () => process.stdout.write(`worker ready on task queue ${taskQueue}\n`),
      }),
    close: () => ports.close(),
  };
}

// `ch-recover watch ID | head` closes the pipe while we write: no defect, and no stack trace.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(PIPE_CLOSED);
  throw error;
});
process.exitCode = await createProgram(direct).run(process.argv);
