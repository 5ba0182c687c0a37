import type { Started } from '../../service/recoveries.js';
import { printLines } from './output.js';
import type { CommandContext } from './command.js';

/** Says what was started, and when nobody is there to run it. */
export function announce({ streams }: CommandContext, { id, started, workers }: Started, json: boolean): void {
  if (workers === 0) streams.err('warning: no worker polls the task queue; start one with `ch-recover worker`\n');
  if (!json) printLines(streams, [started ? `started ${id}` : `this incident has a recovery already: ${id}`]);
}
