import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import type { Address, ApiConfig } from '../../config/api.js';
import { RecoveryError } from '../../domain/errors.js';
import type { DrillSource } from '../../observability/drills.js';
import type { ReportArchive } from '../../service/archive.js';
import type { DirectActions, Log } from '../../service/direct.js';
import type { DrillService } from '../../service/drills.js';
import type { RecoveryService } from '../../service/recoveries.js';
import { createApi } from './app.js';
import { authenticateNobody, authenticateTokens, isLoopback, type Authenticate } from './auth.js';
import { DEFAULT_LIMITS, type Limits } from './limits.js';

/** Milliseconds that a client has to send its headers, and its whole request. */
const HEADERS_MS = 10_000;
const REQUEST_MS = 30_000;
/** How often Node looks for those that are late: its own 30 s would double their time. Milliseconds. */
const LOOK_MS = 2_000;
const MAX_HEADER_BYTES = 16_384;
const MAX_CONNECTIONS = 1_000;
/** Milliseconds that requests under way have when the server stops. */
const STOP_MS = 10_000;

export interface ServeOptions {
  recoveries: RecoveryService;
  drills: DrillService;
  drillHistory: DirectActions['drillHistory'];
  taskQueue: string;
  clusters: readonly string[];
  reports: ReportArchive;
  api: ApiConfig;
  /** Drills whose age goes into the metrics. */
  drillGauges?: DrillSource;
  /** Serve without tokens; on a loopback address only. */
  insecure: boolean;
  limits?: Partial<Limits>;
  log: Log;
  /** What a person has to know before anybody asks. */
  warn: (text: string) => void;
}

/** Listens; `stop` ends event streams, waits for what is under way and closes. */
export async function serveApi(options: ServeOptions): Promise<{ url: string; stop(): Promise<void> }> {
  const { api, recoveries, drills, drillHistory, taskQueue, clusters, reports, log } = options;
  const { listen, alertmanager } = api;
  const authenticate = authenticationOf(options);
  const answers = { recoveries, drills, drillHistory, drillGauges: options.drillGauges, taskQueue, clusters, reports };
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const app = createApi({ ...answers, alertmanager, authenticate, log, limits });
  const server = createAdaptorServer({
    fetch: app.fetch,
    createServer,
    serverOptions: {
      headersTimeout: HEADERS_MS,
      requestTimeout: REQUEST_MS,
      connectionsCheckingInterval: LOOK_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
  }) as Server;
  server.maxConnections = MAX_CONNECTIONS;
  server.setTimeout(limits.silentMs);
  await listening(server, listen);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${port}`,
    stop: async () => {
      app.endStreams();
      const closed = once(server, 'close');
      server.close();
      const impatience = setTimeout(() => server.closeAllConnections(), STOP_MS);
      await closed;
      clearTimeout(impatience);
    },
  };
}

/** Throws CONFIG_INVALID or INPUT_INVALID where nobody, or anybody, could ask. */
function authenticationOf({ api, insecure, warn }: ServeOptions): Authenticate {
  const { tokens, listen } = api;
  const local = isLoopback(listen.host);
  if (!insecure) {
    if (tokens.length === 0)
      throw new RecoveryError('CONFIG_INVALID', 'api.tokens: there is no token, so nobody could ask for anything', {
        field: 'api.tokens',
      });
    if (!local) warn(`tokens travel in the clear to ${listen.host}: put a proxy with TLS in front of it`);
    return authenticateTokens(tokens);
  }
  const refuse = (why: string) => new RecoveryError('INPUT_INVALID', `--insecure: ${why}`, { field: 'insecure' });
  if (tokens.length > 0) throw refuse('recovery.yaml has tokens, which would not be asked for');
  if (!local) throw refuse(`${listen.host} is no loopback address`);
  warn('--insecure: EVERY process on this machine may start, approve and abort recoveries of EVERY cluster');
  return authenticateNobody();
}

async function listening(server: Server, { host, port }: Address): Promise<void> {
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? 'error';
    throw new RecoveryError('INPUT_INVALID', `cannot listen on ${host}:${port} (${reason})`, { field: 'listen' });
  }
}
