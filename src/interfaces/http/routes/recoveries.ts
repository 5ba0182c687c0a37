import { accepts } from 'hono/accepts';
import { z } from 'zod';
import { RecoveryError } from '../../../domain/errors.js';
import { planToText } from '../../../domain/render-plan.js';
import { reportToHtml } from '../../../domain/render-html.js';
import { reportToMarkdown } from '../../../domain/render-report.js';
import type { Report } from '../../../domain/report.js';
import { reportSchema } from '../../../domain/report-schema.js';
import { requestSchema } from '../../../domain/request.js';
import { planTextOf, storedUnlessKnown } from '../../../service/archive.js';
import type { Caller } from '../auth.js';
import { json, mustSeeCluster, unknownRun, visibleRun, type ApiParts, type Define } from '../endpoint.js';
import { planSchema, runSchema, startedSchema, stateSchema } from '../schemas.js';
import { stateOf, viewOf, urlOf } from '../views.js';

export const KEY_HEADER = 'Idempotency-Key';
const headers = z.object({
  [KEY_HEADER]: z.string().max(200).optional().describe('stands for one recovery, also after its end'),
});

/** By media type; the first is the answer to whoever does not say. */
const REPORTS: Record<string, (report: Report, plan: () => Promise<string | null>) => string | Promise<string>> = {
  'application/json': (report) => JSON.stringify(report),
  'text/markdown': (report) => reportToMarkdown(report),
  'text/html': async (report, plan) => reportToHtml(report, await plan()),
};

export function addRecoveries(define: Define, parts: ApiParts): void {
  const { recoveries, taskQueue } = parts;
  const archive = async () => parts.reports;

  define({
    method: 'post',
    path: '/v1/recoveries',
    summary: 'start a recovery; a repeat with the same key, or else the same incident, finds it',
    may: 'operate',
    headers,
    body: requestSchema,
    answers: {
      202: json('started', startedSchema),
      200: json('this key or incident has a recovery already', startedSchema),
      409: {
        description: 'another request with this key or incident, or the cluster is in recovery: `objects` has its id',
      },
    },
    handle: async ({ caller, body, context }) => {
      mustSeeCluster(parts, caller, body.cluster);
      if (body.approval === 'auto') caller.mustBeAllowed('approve', '"approval": "auto"');
      if (body.approve !== undefined) caller.mustBeAllowed('approve', '"approve"');
      const key = idempotencyKey(context.req.header(KEY_HEADER));
      const owned = key === undefined ? undefined : { owner: caller.name, key };
      const started = await recoveries.startOnce(body, taskQueue, owned);
      const { id, runId, workers } = started;
      context.header('Location', urlOf(id));
      return context.json(
        { id, runId, started: started.started, workers, url: urlOf(id) },
        started.started ? 202 : 200,
      );
    },
  });

  define({
    method: 'get',
    path: '/v1/recoveries',
    summary: 'recoveries, newest first',
    may: 'read',
    query: z.strictObject({
      cluster: z.string().max(206).optional(),
      status: z.enum(['running', 'all']).default('all'),
      limit: z.coerce.number().int().min(1).max(200).default(50),
    }),
    answers: { 200: json('the list', z.object({ recoveries: z.array(runSchema) })) },
    handle: async ({ caller, query: { cluster, status, limit }, context }) => {
      if (cluster !== undefined) mustSeeCluster(parts, caller, cluster);
      const found = await recoveries.list({
        open: status === 'running',
        limit,
        matches: ({ request }) =>
          caller.sees(request?.cluster ?? null) && (cluster === undefined || request?.cluster === cluster),
      });
      return context.json({ recoveries: found.map(viewOf) });
    },
  });

  define({
    method: 'get',
    path: '/v1/recoveries/{id}',
    summary: 'where a recovery stands',
    may: 'read',
    answers: { 200: json('its state', stateSchema) },
    handle: async ({ caller, id, context }) => {
      const run = await visibleRun(parts, caller, id);
      return context.json({ ...viewOf(run), ...(await stateOf(recoveries, id)) });
    },
  });

  define({
    method: 'get',
    path: '/v1/recoveries/{id}/plan',
    summary: 'the plan with its exact SQL and its hash; `Accept: text/plain` for people',
    may: 'read',
    answers: {
      200: { description: 'the plan', content: { 'application/json': { schema: planSchema }, 'text/plain': {} } },
      409: { description: 'there is none yet' },
    },
    handle: async ({ caller, id, context }) => {
      await visibleRun(parts, caller, id);
      const plan = await recoveries.plan(id);
      if (!plan) throw new RecoveryError('NOT_YET', 'the plan is not made yet');
      const types = ['application/json', 'text/plain'];
      const type = accepts(context, { header: 'Accept', supports: types, default: 'application/json' });
      return type === 'text/plain' ? context.text(planToText(plan)) : context.json(plan);
    },
  });

  define({
    method: 'get',
    path: '/v1/recoveries/{id}/report',
    summary: 'the report of a recovery that has ended; in the form that `Accept` asks for',
    may: 'read',
    answers: {
      200: {
        description: 'the report',
        content: { 'application/json': { schema: reportSchema }, 'text/markdown': {}, 'text/html': {} },
      },
      409: { description: 'it runs, or it ended without a report' },
    },
    handle: async ({ caller, id, context }) => {
      const report = await storedUnlessKnown(() => reportOf(parts, caller, id), archive, id);
      // A stored one has not been looked at yet: to another cluster's token it does not exist.
      if (!caller.sees(report.cluster)) throw unknownRun(id);
      const type = accepts(context, {
        header: 'Accept',
        supports: Object.keys(REPORTS),
        default: 'application/json',
      });
      const render = REPORTS[type] ?? JSON.stringify;
      const plan = () => planTextOf(report, recoveries, archive);
      return context.body(await render(report, plan), 200, { 'Content-Type': `${type}; charset=utf-8` });
    },
  });
}

/** Throws NOT_YET, or RECOVERY_ENDED where there will never be one. */
async function reportOf(parts: ApiParts, caller: Caller, id: string): Promise<Report> {
  const { recoveries } = parts;
  const { status } = await visibleRun(parts, caller, id);
  if (status === 'running') throw new RecoveryError('NOT_YET', 'the recovery runs; its report comes at its end');
  if (status === 'completed') return recoveries.report(id);
  const { problem } = await stateOf(recoveries, id);
  throw new RecoveryError('RECOVERY_ENDED', `the recovery ${status}, without a report: ${problem?.message ?? ''}`);
}

export function idempotencyKey(value: string | undefined): string | undefined {
  if (value !== undefined && !/^[\x21-\x7e]{1,200}$/.test(value))
    throw new RecoveryError('INPUT_INVALID', `${KEY_HEADER}: 1 to 200 visible ASCII characters`, { field: KEY_HEADER });
  return value;
}
