/**
 * A worker that ends itself with SIGKILL at chosen points, each once per sweep (a marker file says which are spent), or
 * that stops at them: all who come to such a point wait until a file says to go on.
 *
 * CRASH_POINTS, HOLD_POINTS: JSON arrays of points; CRASH_DIR: where the markers go; SLOTS: activities at once. A point is
 * - `activity/<type>/start`: before the activity does anything
 * - `activity/<type>/statement`: after its first statement ran on the server, before anybody heard of it
 * - `activity/<type>/ack`: after its last step, before Temporal hears of it
 * - `sql/<text>/before` and `sql/<text>/after`: around the first statement that contains the text
 */
import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { activityInfo, heartbeat } from '@temporalio/activity';
import { loadConfig } from '../../src/config/load.js';
import type { ClosablePorts } from '../../src/compose.js';
import type { ClickHouseNode } from '../../src/ports.js';
import { runWorker } from '../../src/worker.js';
import { goFile, heldFile } from './held-worker.js';
import { repoRoot } from './tools.js';

const points = JSON.parse(process.env['CRASH_POINTS'] ?? '[]') as string[];
const holds = JSON.parse(process.env['HOLD_POINTS'] ?? '[]') as string[];
const markers = process.env['CRASH_DIR'] ?? '.';

function crashAt(point: string): void {
  if (!points.includes(point)) return;
  try {
    closeSync(openSync(join(markers, encodeURIComponent(point)), 'wx'));
  } catch {
    return; // spent
  }
  process.kill(process.pid, 'SIGKILL');
}

async function reach(point: string): Promise<void> {
  crashAt(point);
  if (!holds.includes(point)) return;
  writeFileSync(heldFile(markers, point), '');
  while (!existsSync(goFile(markers, point))) {
    heartbeat();
    await delay(100);
  }
}

async function reachSql(sql: string, when: 'before' | 'after'): Promise<void> {
  for (const point of [...points, ...holds]) {
    const match = /^sql\/(.*)\/(before|after)$/s.exec(point);
    if (match && match[2] === when && sql.includes(match[1] ?? '')) await reach(point);
  }
}

function decorateNode(node: ClickHouseNode): ClickHouseNode {
  return {
    ref: node.ref,
    query: (sql, options) => node.query(sql, options),
    execute: async (sql, options) => {
      // Probes of what the server knows: parsed, not run.
      if (sql.startsWith('EXPLAIN ')) return node.execute(sql, options);
      await reachSql(sql, 'before');
      await node.execute(sql, options);
      await reachSql(sql, 'after');
      await reach(`activity/${activityInfo().activityType}/statement`);
    },
  };
}

function decorate(ports: ClosablePorts): ClosablePorts {
  return {
    ...ports,
    cluster: (name) => {
      const cluster = ports.cluster(name);
      return { ...cluster, node: (nodeName) => decorateNode(cluster.node(nodeName)) };
    },
  };
}

await runWorker(await loadConfig(process.env['CH_RECOVER_CONFIG'] ?? ''), {
  log: { info: () => undefined, warn: (_fields, message) => process.stderr.write(`${message}\n`) },
  onReady: () => process.stdout.write('worker ready\n'),
  decoratePorts: decorate,
  workerOptions: {
    workflowBundle: { codePath: join(repoRoot, 'dist/workflow-bundle.js') },
    // The next task of a workflow whose worker was killed waits so long for it; 10 s otherwise.
    stickyQueueScheduleToStartTimeout: '1s',
    ...(process.env['SLOTS'] === undefined
      ? {}
      : { maxConcurrentActivityTaskExecutions: Number(process.env['SLOTS']) }),
    interceptors: {
      activity: [
        () => ({
          inbound: {
            async execute(input, next) {
              const type = activityInfo().activityType;
              await reach(`activity/${type}/start`);
              const result: unknown = await next(input);
              await reach(`activity/${type}/ack`);
              return result;
            },
          },
        }),
      ],
    },
  },
});
