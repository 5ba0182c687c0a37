import { once } from 'node:events';
import { parseAddress } from '../../../config/api.js';
import { RecoveryError } from '../../../domain/errors.js';
import { printable } from '../../../domain/render-plan.js';
import { serveApi } from '../../http/server.js';
import type { CommonOptions, Define } from '../command.js';
import { printJson, printLines } from '../output.js';

interface ApiOptions extends CommonOptions {
  listen?: string;
  insecure?: boolean;
}

export function addApi(define: Define): void {
  define<ApiOptions>(
    'api',
    'HTTP API for programs, until SIGTERM or Ctrl-C',
    (command) =>
      command
        .option('--listen <host:port>', 'default: api.listen of recovery.yaml, or 127.0.0.1:8080')
        .option('--insecure', 'without tokens, on a loopback address only'),
    async (context, options) => {
      const given = options.listen === undefined ? undefined : parseAddress(options.listen);
      if (given === null) throw new RecoveryError('INPUT_INVALID', '--listen is HOST:PORT', { field: 'listen' });
      const { api, clusters, drills, taskQueue, log } = await context.direct();
      const stopping = Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
      const server = await serveApi({
        recoveries: await context.recoveries(),
        taskQueue,
        clusters,
        api: { ...api, listen: given ?? api.listen },
        drills,
        insecure: options.insecure === true,
        log,
        warn: (text) => context.streams.err(`${printable(`warning: ${text}`)}\n`),
      });
      if (options.json) printJson(context.streams, { url: server.url });
      else printLines(context.streams, [`HTTP API on ${server.url}, its documentation on ${server.url}/docs`]);
      await stopping;
      await server.stop();
      return 0;
    },
  );
}
