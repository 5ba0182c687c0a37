import type { Define } from '../command.js';

export function addWorker(define: Define): void {
  define(
    'worker',
    'run a worker',
    (command) => command,
    async (context) => {
      await (await context.direct()).runWorker();
      return 0;
    },
  );
}
