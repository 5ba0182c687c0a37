import { z } from 'zod';
import { parseRequest } from '../../../domain/request.js';
import { json, visibleRun, type ApiParts, type Define } from '../endpoint.js';
import type { Permission } from '../auth.js';

const approveSchema = z.strictObject({
  planHash: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .describe('`hash` of the plan that was read'),
});
const resolveSchema = z.strictObject({
  action: z.enum(['retry', 'skip', 'abort']),
  tables: z.array(z.string()).min(1).max(1_000).optional().describe('patterns; none: all that failed'),
});
const sentSchema = z.object({ id: z.string(), sent: z.string() });

/** What a person, or a program in its place, decides. The token's name is who did. */
export function addDecisions(define: Define, parts: ApiParts): void {
  const { recoveries } = parts;

  define({
    method: 'post',
    path: '/v1/recoveries/{id}/approve',
    summary: 'approve the plan with this hash; 409 where another plan waits',
    may: 'approve',
    body: approveSchema,
    answers: {
      200: json('approved', z.object({ id: z.string(), planHash: z.string(), by: z.string() })),
      409: { description: 'it is not the hash of the plan that waits, or the recovery has ended' },
    },
    handle: async ({ caller, id, body: { planHash }, context }) => {
      await visibleRun(parts, caller, id);
      await recoveries.approve(id, { planHash, by: caller.name });
      return context.json({ id, planHash, by: caller.name });
    },
  });

  define({
    method: 'post',
    path: '/v1/recoveries/{id}/resolve',
    summary: 'decide about failed tables: retry, skip or abort',
    may: 'operate',
    body: resolveSchema,
    answers: { 202: json('sent', sentSchema) },
    handle: async ({ caller, id, body: { action, tables }, context }) => {
      // Only the patterns are of interest: the rules for them are those of a request.
      parseRequest({ cluster: 'any', tables });
      await visibleRun(parts, caller, id);
      await recoveries.resolve(id, { action, tables, by: caller.name });
      return context.json({ id, sent: action }, 202);
    },
  });

  const addSignal = (name: 'pause' | 'resume' | 'abort', summary: string, may: Permission) =>
    define({
      method: 'post',
      path: `/v1/recoveries/{id}/${name}`,
      summary,
      may,
      answers: { 202: json('sent', sentSchema) },
      handle: async ({ caller, id, context }) => {
        await visibleRun(parts, caller, id);
        await recoveries.signal(id, name);
        return context.json({ id, sent: name }, 202);
      },
    });
  addSignal('pause', 'start no further step until resume', 'operate');
  addSignal('resume', 'go on after pause', 'operate');
  addSignal('abort', 'stop at the next safe point; before an approval: reject the plan', 'stop');
}
