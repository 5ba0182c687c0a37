import { ERRORS } from '../../domain/errors.js';
import type { Started } from '../../service/recoveries.js';
import { printLines } from './output.js';
import type { CommandContext } from './command.js';

/** Says what was started, and when nobody is there to run it: it waits for a worker, so it is no error yet. */
export function announce({ streams }: CommandContext, started: Started, json: boolean): void {
  if (started.workers === 0) {
    streams.err(
      `warning: no worker polls task queue ${started.taskQueue}, the run waits for one (WORKER_UNAVAILABLE)\n`,
    );
    streams.err(`hint: ${ERRORS.WORKER_UNAVAILABLE.hint}\n`);
  }
  if (!json)
    printLines(streams, [
      started.started ? `started ${started.id}` : `this incident has a recovery already: ${started.id}`,
    ]);
}
