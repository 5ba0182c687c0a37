import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { z } from 'zod';
import type { AlertMapping } from '../../config/api.js';
import { RecoveryError } from '../../domain/errors.js';
import { parseWith } from '../../domain/request.js';
import type { ReportArchive } from '../../service/archive.js';
import type { DirectActions, Log } from '../../service/direct.js';
import type { DrillService } from '../../service/drills.js';
import type { FoundRun, RecoveryService } from '../../service/recoveries.js';
import { rolesWith, type Authenticate, type Caller, type Permission } from './auth.js';
import { readJson } from './body.js';
import type { ApiMetrics } from './metrics.js';
import type { Limits, RateLimit, StreamSlots } from './limits.js';
import { problemSchema } from './schemas.js';

/** What endpoints ask of the rest. */
export interface ApiParts {
  recoveries: RecoveryService;
  drills: DrillService;
  drillHistory: DirectActions['drillHistory'];
  taskQueue: string;
  reports: ReportArchive;
  /** Names in recovery.yaml. */
  clusters: readonly string[];
  alertmanager: AlertMapping | null;
  authenticate: Authenticate;
  limits: Limits;
  rateLimit: RateLimit;
  streams: StreamSlots;
  metrics: ApiMetrics;
  log: Log;
}

/** `caller`: the token's name, for the log. */
export interface ApiEnv {
  Variables: { requestId: string; caller?: string };
}

export type ApiApp = OpenAPIHono<ApiEnv>;

export interface Call<Body, Query> {
  caller: Caller;
  /** Of the path; '' where it has none. */
  id: string;
  body: Body;
  query: Query;
  context: Context<ApiEnv>;
}

export interface Endpoint<Body, Query> {
  method: 'get' | 'post';
  path: string;
  summary: string;
  may: Permission;
  body?: z.ZodType<Body>;
  query?: z.ZodObject & z.ZodType<Query>;
  headers?: z.ZodObject;
  answers: Parameters<ApiApp['openAPIRegistry']['registerPath']>[0]['responses'];
  handle: (call: Call<Body, Query>) => Response | Promise<Response>;
}

export type Define = <Body = undefined, Query = undefined>(endpoint: Endpoint<Body, Query>) => void;

/** One answer as OpenAPI has it. */
export function json(description: string, schema: z.ZodType) {
  return { description, content: { 'application/json': { schema } } };
}

/**
 * Adds endpoints: documented, and guarded in one order. The library's own validators are not used: they would read a body
 * before anybody has looked at its size and at who sends it, and complain in another form than the rest of the program.
 */
export function definer(app: ApiApp, parts: ApiParts): Define {
  return (endpoint) => {
    document(app, endpoint);
    app.on(endpoint.method, endpoint.path.replace(/\{(\w+)\}/g, ':$1'), async (context) => {
      const { req } = context;
      const caller = parts.authenticate({
        authorization: req.header('authorization'),
        host: req.header('host'),
        origin: req.header('origin'),
      });
      context.set('caller', caller.name);
      takeTurn(parts.rateLimit, caller, context);
      caller.mustBeAllowed(endpoint.may);
      const query = endpoint.query ? parseWith(endpoint.query, req.query(), 'INPUT_INVALID') : undefined;
      // Not within the time of the answer: who is told that nothing came must not find later that it did.
      const body = endpoint.body
        ? parseWith(endpoint.body, await readJson(req.raw, parts.limits), 'INPUT_INVALID')
        : undefined;
      const answered = async () =>
        endpoint.handle({ caller, id: req.param('id') ?? '', body: body!, query: query!, context });
      return inTime(parts.limits.answerMs, answered());
    });
  };
}

function takeTurn(rateLimit: RateLimit, caller: Caller, context: Context<ApiEnv>): void {
  const wait = rateLimit.take(caller.name);
  if (wait === 0) return;
  context.header('Retry-After', String(wait));
  throw new RecoveryError('RATE_LIMITED', `too many requests of token ${caller.name}: wait ${wait} s`);
}

/** Whoever waits is told; what was sent goes on. */
export async function inTime<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new RecoveryError('TEMPORAL_UNAVAILABLE', `Temporal does not answer within ${ms / 1000} s`)),
      ms,
    );
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function document<Body, Query>(app: ApiApp, endpoint: Endpoint<Body, Query>): void {
  const { method, path, summary, may, body, query, headers, answers } = endpoint;
  app.openAPIRegistry.registerPath({
    method,
    path,
    summary,
    description: `Roles: ${rolesWith(may).join(', ')}.`,
    security: [{ token: [] }],
    request: {
      ...(path.includes('{id}') ? { params: z.object({ id: z.string().describe('id of the recovery') }) } : {}),
      ...(query ? { query } : {}),
      ...(headers ? { headers } : {}),
      ...(body ? { body: { required: true, content: { 'application/json': { schema: body } } } } : {}),
    },
    responses: {
      ...answers,
      default: {
        description: 'what is wrong, and what to do',
        content: { 'application/problem+json': { schema: problemSchema } },
      },
    },
  });
}

/** Temporal accepts no longer id. */
const MAX_ID_BYTES = 1_000;
/** No run of ours has these in its id, and a database under Temporal may refuse to look for them. */
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f]/;

/** The run, where it is there for this caller: one of another cluster is answered as one that does not exist. */
export async function visibleRun({ recoveries }: ApiParts, caller: Caller, id: string): Promise<FoundRun> {
  if (Buffer.byteLength(id) > MAX_ID_BYTES || CONTROL.test(id)) throw unknownRun(id);
  const run = await recoveries.find(id);
  if (!caller.sees(run.request?.cluster ?? null)) throw unknownRun(id);
  return run;
}

export function unknownRun(id: string): RecoveryError {
  return new RecoveryError('WORKFLOW_UNKNOWN', `there is no such recovery: ${id.slice(0, 300)}`);
}

/** Throws CLUSTER_UNKNOWN, in the same words for one that is not there and one that is not the caller's. */
export function mustSeeCluster({ clusters }: ApiParts, caller: Caller, cluster: string): void {
  if (!clusters.includes(cluster) || !caller.sees(cluster))
    throw new RecoveryError('CLUSTER_UNKNOWN', 'there is no such cluster for this token', { field: 'cluster' });
}
