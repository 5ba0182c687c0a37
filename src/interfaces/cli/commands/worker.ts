import { parseAddress } from '../../../config/api.js';
import { RecoveryError } from '../../../domain/errors.js';
import type { CommonOptions, Define } from '../command.js';

interface WorkerOptions extends CommonOptions {
  metrics?: string;
}

export function addWorker(define: Define): void {
  define<WorkerOptions>(
    'worker',
    'run a worker',
    (command) => command.option('--metrics <host:port>', 'serve Prometheus metrics there, under /metrics'),
    async (context, options) => {
      const metrics = options.metrics === undefined ? undefined : parseAddress(options.metrics);
      if (metrics === null) throw new RecoveryError('INPUT_INVALID', '--metrics is HOST:PORT', { field: 'metrics' });
      await (await context.direct()).runWorker({ metrics });
      return 0;
    },
  );
}
