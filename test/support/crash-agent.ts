/**
 * An agent that ends itself with SIGKILL at chosen points, each once (a marker file says which are spent).
 *
 * CRASH_POINTS: JSON array of `<activity>/start`, before it does anything, and `<activity>/ack`, after its last step and
 * before Temporal hears of it; CRASH_DIR: where the markers go.
 */
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { activityInfo } from '@temporalio/activity';
import { runAgent } from '../../src/agent/run.js';
import { loadAgentConfig } from '../../src/config/agent.js';

const points = JSON.parse(process.env['CRASH_POINTS'] ?? '[]') as string[];
const markers = process.env['CRASH_DIR'] ?? '.';
const config = await loadAgentConfig(process.argv[process.argv.indexOf('--file') + 1] ?? '');

function crashAt(point: string): void {
  if (!points.includes(point)) return;
  try {
    closeSync(openSync(join(markers, encodeURIComponent(`${config.name} ${point}`)), 'wx'));
  } catch {
    return; // spent
  }
  process.kill(process.pid, 'SIGKILL');
}

await runAgent(config, () => process.stdout.write('agent ready\n'), {
  interceptors: {
    activity: [
      () => ({
        inbound: {
          async execute(input, next) {
            const type = activityInfo().activityType;
            crashAt(`${type}/start`);
            const result: unknown = await next(input);
            crashAt(`${type}/ack`);
            return result;
          },
        },
      }),
    ],
  },
});
