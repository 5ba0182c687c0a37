import { z } from 'zod';
import { drillRequestSchema } from '../../../domain/drill.js';
import { json, mustSeeCluster, type ApiParts, type Define } from '../endpoint.js';
import { startedSchema } from '../schemas.js';
import { idempotencyKey, KEY_HEADER } from './recoveries.js';

const headers = z.object({
  [KEY_HEADER]: z.string().max(200).optional().describe('stands for one drill, also after its end'),
});
const reportSchema = z.looseObject({
  drillId: z.string(),
  cluster: z.string(),
  target: z.string(),
  outcome: z.enum(['passed', 'failed', 'skipped', 'aborted']),
  problems: z.array(z.looseObject({ code: z.string(), message: z.string(), hint: z.string() })),
  rtoSeconds: z.number().nullable(),
  rpo: z.looseObject({ seconds: z.number(), basis: z.enum(['newest row', 'backup']) }).nullable(),
  startedAt: z.string(),
  finishedAt: z.string(),
});

/** Where the reports of a cluster's drills are. */
const urlOf = (cluster: string) => `/v1/drills?cluster=${encodeURIComponent(cluster)}`;

export function addDrills(define: Define, parts: ApiParts): void {
  define({
    method: 'post',
    path: '/v1/drills',
    summary: 'rehearse the recovery of a cluster in its scratch target; its report is in the list once it has ended',
    may: 'drill',
    headers,
    body: drillRequestSchema,
    answers: {
      202: json('started', startedSchema),
      200: json('this key has a drill already', startedSchema),
      409: { description: 'another request with this key' },
    },
    handle: async ({ caller, body, context }) => {
      mustSeeCluster(parts, caller, body.cluster);
      const key = idempotencyKey(context.req.header(KEY_HEADER));
      const owned = key === undefined ? undefined : { owner: caller.name, key };
      const { id, runId, started, workers } = await parts.drills.start(body, parts.taskQueue, owned);
      const url = urlOf(body.cluster);
      context.header('Location', url);
      return context.json({ id, runId, started, workers, url }, started ? 202 : 200);
    },
  });

  define({
    method: 'get',
    path: '/v1/drills',
    summary: 'reports of drills that have ended, newest first',
    may: 'read',
    query: z.strictObject({
      cluster: z.string().max(206),
      limit: z.coerce.number().int().min(1).max(200).default(50),
    }),
    answers: { 200: json('the reports', z.object({ drills: z.array(reportSchema) })) },
    handle: async ({ caller, query: { cluster, limit }, context }) => {
      mustSeeCluster(parts, caller, cluster);
      return context.json({ drills: await parts.drillHistory(cluster, limit) });
    },
  });
}
