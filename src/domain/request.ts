import { z } from 'zod';
import { RecoveryError } from './errors.js';
import { checkName, checkPathSegment } from './names.js';

const named = (max: number) => z.string().min(1).max(max);

/** Input of `recoverCluster`, as typed into the Temporal UI: only `cluster` is required. */
export const requestSchema = z.strictObject({
  cluster: named(206).describe('name of a cluster in recovery.yaml'),
  backup: named(420)
    .optional()
    .describe('"latest", "REPO" (its latest) or "REPO/NAME"; none: data is expected to be intact'),
  tables: z.array(named(420)).min(1).max(1000).optional().describe('patterns such as "db1.*"; none: all tables'),
  incident: named(200).optional().describe('your ticket, such as INC-1'),
  approval: z.enum(['required', 'auto']).optional().describe('overrides the policy of recovery.yaml'),
  approve: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional()
    .describe('plan hash that is approved in advance'),
  adopt: z.boolean().optional().describe('go on from the safety clones of an unfinished earlier recovery'),
});
export type RecoveryRequest = z.infer<typeof requestSchema>;

/** Input of `backupCluster`. */
export const backupRequestSchema = z.strictObject({
  cluster: named(206).describe('name of a cluster in recovery.yaml'),
  to: named(206).describe('name of a repository in recovery.yaml'),
  name: named(120).optional().describe('name of the backup; default: the time it was started'),
});
export type BackupRequest = z.infer<typeof backupRequestSchema>;

/** Turns zod's issues into our one error: the first bad field, by path. Values are not echoed: they may be secrets or 10 KB long. */
export function parseWith<T>(schema: z.ZodType<T>, value: unknown, code: 'INPUT_INVALID' | 'CONFIG_INVALID'): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const keys =
    issue && issue.code === 'unrecognized_keys' ? [...issue.path, ...issue.keys.slice(0, 1)] : (issue?.path ?? []);
  const field = keys.map(String).join('.').slice(0, 200) || '(input)';
  throw new RecoveryError(code, `${field}: ${(issue?.message ?? 'not valid').slice(0, 300)}`, { field });
}

export function parseRequest(value: unknown): RecoveryRequest {
  const request = parseWith(requestSchema, value, 'INPUT_INVALID');
  checkName(request.cluster, 'cluster');
  if (request.incident !== undefined) checkName(request.incident, 'incident');
  if (request.backup !== undefined) parseBackupRef(request.backup);
  request.tables?.forEach((pattern, index) => {
    const field = `tables.${index}`;
    checkPattern(pattern, field);
  });
  return request;
}

function checkPattern(pattern: string, field: string): void {
  const dot = pattern.search(/(?<!\\)\./);
  if (dot < 1 || dot === pattern.length - 1)
    throw new RecoveryError('INPUT_INVALID', `${field} is not database.table`, { field });
  checkName(pattern.slice(0, dot), field);
  checkName(pattern.slice(dot + 1), field);
}

export function parseBackupRequest(value: unknown): BackupRequest {
  const request = parseWith(backupRequestSchema, value, 'INPUT_INVALID');
  checkName(request.cluster, 'cluster');
  checkPathSegment(request.to, 'to');
  if (request.name !== undefined) checkPathSegment(request.name, 'name');
  return request;
}

/** `latest` → newest of all repositories; `REPO` → its newest; `REPO/NAME` → that one. */
export function parseBackupRef(ref: string): { repository: string | null; name: string | null } {
  if (ref === 'latest') return { repository: null, name: null };
  const slash = ref.indexOf('/');
  if (slash < 0) return { repository: checkPathSegment(ref, 'backup'), name: null };
  return {
    repository: checkPathSegment(ref.slice(0, slash), 'backup'),
    name: checkPathSegment(ref.slice(slash + 1), 'backup'),
  };
}
