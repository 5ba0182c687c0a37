import { z } from 'zod';
import { ERRORS, type ErrorCode } from './errors.js';
import type { Report } from './report.js';

const problem = z.object({
  code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
  message: z.string(),
  hint: z.string(),
  field: z.string().optional(),
  objects: z.array(z.string()).optional(),
});
const stageName = z.enum(['stop', 'restore-data', 'verify-parts', 'restore-replica', 'validate']);
const counted = z.number().int().nonnegative().nullable();

/** The report as a schema, for `ch-recover schema report` and for whoever reads one. */
export const reportSchema = z.object({
  schemaVersion: z.number().int(),
  recoveryId: z.string(),
  cluster: z.string(),
  incident: z.string().optional(),
  backup: z.object({ repository: z.string(), name: z.string(), takenAt: z.string() }).optional(),
  outcome: z.enum(['succeeded', 'nothing-to-do', 'failed', 'needs-operator', 'aborted']),
  problem: problem.optional(),
  situations: z.record(z.string(), z.number()),
  plan: z.object({ hash: z.string(), approvedBy: z.string() }),
  stages: z.array(
    z.object({
      name: stageName,
      startedAt: z.string().nullable(),
      finishedAt: z.string().nullable(),
      outcome: z.enum(['done', 'failed', 'skipped', 'not-needed']),
    }),
  ),
  tables: z.array(
    z.object({
      database: z.string(),
      table: z.string(),
      shard: z.string(),
      replica: z.string(),
      situation: z.string(),
      action: z.string(),
      outcome: z.enum(['recovered', 'unchanged', 'failed', 'skipped']),
      rowsExpected: counted,
      rowsFound: counted,
      partsExpected: counted,
      partsFound: counted,
      detachedLeft: z.number().int(),
      evidence: z.string(),
      activation: z.string(),
      timeline: z
        .array(z.tuple([stageName, z.number(), z.number()]))
        .describe('stage, from, to; in seconds after startedAt')
        .optional(),
      problem: problem.optional(),
    }),
  ),
  omittedTables: z
    .partialRecord(z.enum(['recovered', 'unchanged', 'failed', 'skipped']), z.number().int())
    .describe('how many tables are in the stored report only, by outcome: too many for the result of a workflow')
    .optional(),
  keeperState: z.array(
    z.object({
      what: z.string(),
      detail: z.string(),
      verdict: z.enum(['restored', 'rebuilt', 'replayed', 'unrecoverable', 'not-affected']),
    }),
  ),
  fence: z.enum(['lifted', 'held', 'never-raised']),
  startedAt: z.string(),
  finishedAt: z.string(),
  rtoSeconds: z.number(),
  rpo: z.object({ restoredFrom: z.string(), ageSeconds: z.number() }).nullable(),
  objectives: z.object({ rtoSeconds: z.number().optional(), rpoSeconds: z.number().optional() }).optional(),
  warnings: z.array(z.string()),
  leftOut: z
    .array(z.object({ database: z.string(), table: z.string(), shard: z.string(), why: z.string() }))
    .describe('of a drill: what of the backup was not made')
    .optional(),
  unrecovered: z.array(z.object({ database: z.string(), table: z.string(), shard: z.string(), reason: z.string() })),
});

/** Fails to compile when the schema and the type drift apart. */
export type SchemaMatches =
  Report extends z.infer<typeof reportSchema> ? (z.infer<typeof reportSchema> extends Report ? true : never) : never;
export const schemaMatches: SchemaMatches = true;
