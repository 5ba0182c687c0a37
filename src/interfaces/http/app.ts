import { randomUUID } from 'node:crypto';
import { OpenAPIHono } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { routePath } from 'hono/route';
import { secureHeaders } from 'hono/secure-headers';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { RecoveryError } from '../../domain/errors.js';
import type { DrillSource } from '../../observability/drills.js';
import { Overviews } from '../../service/overview.js';
import { docsPage } from './docs-page.js';
import { definer, type ApiApp, type ApiEnv, type ApiParts, type Define } from './endpoint.js';
import { ApiMetrics } from './metrics.js';
import { DEFAULT_LIMITS, RateLimit, StreamSlots, type Limits } from './limits.js';
import { asRecoveryError, problemDetails } from './problem.js';
import { addAlertmanager } from './routes/alertmanager.js';
import { addDecisions } from './routes/decisions.js';
import { addDrills } from './routes/drills.js';
import { addEvents } from './routes/events.js';
import { addHealth } from './routes/health.js';
import { addMetrics } from './routes/metrics.js';
import { addRecoveries } from './routes/recoveries.js';

/** In the order of the documentation. */
const ENDPOINTS: readonly ((define: Define, parts: ApiParts) => void)[] = [
  addRecoveries,
  addEvents,
  addDecisions,
  addDrills,
  addAlertmanager,
  addMetrics,
];

export type ApiOptions = Omit<ApiParts, 'limits' | 'rateLimit' | 'streams' | 'metrics'> & {
  limits?: Partial<Limits>;
  /** Drills whose age goes into the metrics. */
  drillGauges?: DrillSource;
};

/** The HTTP API as a function of requests. `endStreams`: before the server stops. */
export function createApi(options: ApiOptions): {
  fetch: ApiApp['fetch'];
  request: ApiApp['request'];
  endStreams(): void;
} {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const { recoveries, taskQueue, clusters, drillGauges, log } = options;
  const overviews = new Overviews(recoveries, taskQueue);
  const parts: ApiParts = {
    ...options,
    limits,
    rateLimit: new RateLimit(limits),
    streams: new StreamSlots(limits),
    metrics: new ApiMetrics({ look: () => overviews.look(), clusters, drills: drillGauges, log }),
  };
  const app: ApiApp = new OpenAPIHono<ApiEnv>();
  app.use(logged(parts), secureHeaders({ contentSecurityPolicy: CONTENT_POLICY }), noStore);
  app.onError((error, context) => {
    const found = asRecoveryError(error);
    const requestId = context.get('requestId');
    if (found.code === 'INTERNAL')
      parts.log.warn({ requestId, error: error.name, at: framesOf(error) }, 'an unexpected error');
    if (found.code === 'UNAUTHENTICATED') context.header('WWW-Authenticate', 'Bearer');
    const details = problemDetails(found, requestId);
    return context.body(JSON.stringify(details), details.status as ContentfulStatusCode, {
      'Content-Type': 'application/problem+json',
    });
  });
  app.notFound(() => {
    throw new RecoveryError('ENDPOINT_UNKNOWN', 'there is no such endpoint, or not for this method');
  });
  const define = definer(app, parts);
  for (const add of ENDPOINTS) add(define, parts);
  addHealth(app, parts);
  addDocumentation(app);
  return { fetch: app.fetch, request: app.request, endStreams: () => parts.streams.stop() };
}

/** Reports hold names of tables, which may be anything: nothing that we answer is run by a browser. */
const CONTENT_POLICY = { defaultSrc: ["'none'"], styleSrc: ["'unsafe-inline'"], frameAncestors: ["'none'"] };

/** Where it came from. Without its message, which may quote what it could not use: a header, a body. */
function framesOf(error: Error): string[] {
  return (error.stack ?? '')
    .split('\n')
    .filter((line) => /^ {4}at .*:\d+:\d+\)?$/.test(line))
    .slice(0, 5)
    .map((line) => line.trim());
}

const noStore: MiddlewareHandler = async (context, next) => {
  await next();
  context.header('Cache-Control', 'no-store');
};

/** Who asked for what, and how it ended: no headers, no bodies. */
function logged({ log, metrics }: ApiParts): MiddlewareHandler<ApiEnv> {
  return async (context, next) => {
    const requestId = randomUUID();
    const from = performance.now();
    context.set('requestId', requestId);
    await next();
    context.header('X-Request-Id', requestId);
    const fields = {
      requestId,
      method: context.req.method,
      route: routePath(context, -1),
      id: context.req.param('id')?.slice(0, 300),
      token: context.get('caller'),
      status: context.res.status,
      ms: Math.round(performance.now() - from),
    };
    metrics.answered(fields);
    log.info(fields, 'request');
  };
}

function addDocumentation(app: ApiApp): void {
  app.openAPIRegistry.registerComponent('securitySchemes', 'token', { type: 'http', scheme: 'bearer' });
  const document = app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'temporal-clickhouse-recovery',
      version: '1',
      description: 'Recoveries of replicated ClickHouse clusters, for programs. Errors are RFC 9457 problem details.',
    },
  });
  const page = docsPage(document);
  app.get('/openapi.json', (context) => context.json(document));
  app.get('/docs', (context) => context.html(page));
}
