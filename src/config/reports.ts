import { z } from 'zod';
import { RecoveryError } from '../domain/errors.js';
import type { SecretRef } from './secrets.js';

/** The part `reports` of recovery.yaml: where reports are kept for longer than Temporal keeps its runs. */

export const DEFAULT_REPORTS_DIR = './recovery-reports';

const text = (description: string) => z.string().min(1).max(4_096).describe(description);

/** `secretRef`: the schema of a reference to a secret. */
export function reportsSchema(secretRef: (description: string) => z.ZodType<SecretRef>) {
  const s3 = z.strictObject({
    bucket: text('name of the bucket, which exists'),
    prefix: text('what the names of the objects begin with, such as recovery/prod').optional(),
    endpoint: text('http or https address of a store that is not AWS').optional(),
    region: text('default: what the AWS SDK finds; with an endpoint us-east-1').optional(),
    credentials: z
      .strictObject({
        accessKeyId: secretRef('reference to the key id'),
        secretAccessKey: secretRef('reference to the secret key'),
        sessionToken: secretRef('reference to the session token').optional(),
      })
      .describe('default: where the AWS SDK looks, such as AWS_* variables, ~/.aws and the role of the machine')
      .optional(),
  });
  return z.strictObject({
    dir: text('folder for reports, from the working directory').optional(),
    s3: s3.describe('S3, or what speaks its protocol').optional(),
  });
}

export type RawReports = z.infer<ReturnType<typeof reportsSchema>>;
type RawS3 = NonNullable<RawReports['s3']>;

/** One place: what would be read if two differed? */
export type ReportsConfig = { dir: string } | { s3: RawS3 & { prefix: string } };

type CheckUrl = (url: string, field: string) => void;

/** With its defaults. Throws RecoveryError `CONFIG_INVALID`. */
export function checkReports(raw: RawReports = {}, checkUrl: CheckUrl): ReportsConfig {
  const { dir, s3 } = raw;
  if (s3 === undefined) return { dir: dir ?? DEFAULT_REPORTS_DIR };
  if (dir !== undefined) throw invalid('reports', '`dir` and `s3` exclude each other');
  if (!/^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/i.test(s3.bucket)) throw invalid('reports.s3.bucket', 'is no bucket name');
  if (s3.endpoint !== undefined) checkUrl(s3.endpoint, 'reports.s3.endpoint');
  return { s3: { ...s3, prefix: checkPrefix(s3.prefix) } };
}

function checkPrefix(prefix = ''): string {
  const bare = prefix.replace(/\/+$/, '');
  if (bare === '') return '';
  if (bare.split('/').some((part) => part === '' || part === '.' || part === '..') || /\p{Cc}/u.test(bare))
    throw invalid('reports.s3.prefix', 'is not a path such as recovery/prod');
  return `${bare}/`;
}

function invalid(field: string, complaint: string): RecoveryError {
  return new RecoveryError('CONFIG_INVALID', `${field}: ${complaint}`, { field });
}
