import { z } from 'zod';
import { ERRORS, type ErrorCode } from '../../domain/errors.js';
import type { Progress } from '../../domain/messages.js';
import { STAGES } from '../../domain/report.js';

/** What the API answers with, beside the report, whose schema is the domain's. */

const code = z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]);
const problem = z.object({
  code,
  message: z.string(),
  hint: z.string(),
  field: z.string().optional(),
  objects: z.array(z.string()).optional(),
});

export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string().describe('the request, as the log names it'),
    code,
    hint: z.string(),
    retryable: z.boolean().describe('the same request may succeed later'),
    field: z.string().optional(),
    objects: z.array(z.string()).optional().describe('names: of the recovery that is there already, of tables'),
  })
  .describe('RFC 9457');

export const startedSchema = z.object({
  id: z.string(),
  runId: z.string(),
  started: z.boolean().describe('false: this key or incident has a recovery already, and this is it'),
  workers: z.int().nullable().describe('that poll; 0: it waits for one; null: not known'),
  url: z.string(),
});

export const runSchema = z.object({
  id: z.string(),
  runId: z.string(),
  cluster: z.string().nullable(),
  incident: z.string().nullable(),
  status: z
    .enum(['running', 'completed', 'failed', 'cancelled', 'terminated', 'timed-out'])
    .describe('of the workflow; how the recovery ended is `progress.outcome`'),
  startedAt: z.string(),
  closedAt: z.string().nullable(),
  url: z.string(),
});

export const progressSchema = z.object({
  recoveryId: z.string(),
  cluster: z.string(),
  phase: z.enum([
    'inspecting',
    'waiting-for-approval',
    'waiting-for-lock',
    'executing',
    'waiting-for-resolve',
    'finishing',
    'closed',
  ]),
  planHash: z.string().nullable(),
  stages: z.array(
    z.object({
      name: z.enum(STAGES),
      startedAt: z.string().nullable(),
      finishedAt: z.string().nullable(),
      outcome: z.enum(['done', 'failed', 'skipped', 'not-needed']),
    }),
  ),
  totals: z
    .object({ units: z.int(), done: z.int(), failed: z.int(), skipped: z.int() })
    .describe('of a large recovery, whose units are not listed but for the first that failed')
    .optional(),
  units: z.array(
    z.object({
      label: z.string(),
      state: z.enum([
        'waiting',
        'restore-data',
        'verify-parts',
        'restore-replica',
        'validate',
        'done',
        'failed',
        'skipped',
      ]),
      rows: z.int().nullable(),
      problem: problem.optional(),
    }),
  ),
  paused: z.boolean(),
  outcome: z.enum(['succeeded', 'nothing-to-do', 'failed', 'needs-operator', 'aborted']).nullable(),
  problem: problem.nullable(),
});

export const stateSchema = runSchema.extend({
  progress: progressSchema.nullable().describe('null: nobody can tell, `problem` says why'),
  problem: problem.nullable(),
});

/** The rest of it is the plan as the workflow's query `plan` gives it. */
export const planSchema = z.looseObject({
  cluster: z.string(),
  hash: z.string().describe('what `approve` wants'),
  items: z.array(z.looseObject({ database: z.string(), table: z.string(), situation: z.string(), action: z.string() })),
  warnings: z.array(z.string()),
});

/** Fails to compile when the schema and the type drift apart. */
type Matches =
  Progress extends z.infer<typeof progressSchema>
    ? z.infer<typeof progressSchema> extends Progress
      ? true
      : never
    : never;
export const progressMatches: Matches = true;
