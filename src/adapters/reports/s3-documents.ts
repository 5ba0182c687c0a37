import type * as AwsS3 from '@aws-sdk/client-s3';
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { RecoveryError } from '../../domain/errors.js';
import type { Documents } from './documents.js';

export interface S3Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

export interface S3Location {
  bucket: string;
  /** '' or text that ends with '/'. */
  prefix: string;
  /** Of a store that is not AWS. */
  endpoint?: string;
  /** @default what the SDK finds, with an endpoint us-east-1 */
  region?: string;
  /** Asked anew for each request, so that rotated ones are found. @default the SDK's chain */
  credentials?: () => S3Credentials;
}

const READ_TIMEOUT_MS = 10_000;

type Sdk = typeof AwsS3;

/** Documents as objects of a bucket. Throws REPORTS_UNAVAILABLE, CREDENTIALS_REFUSED, SECRET_MISSING. */
export function s3Documents(location: S3Location): Documents {
  const addressOf = (name: string) => `s3://${location.bucket}/${location.prefix}${name}`;
  const target = (name: string) => ({ Bucket: location.bucket, Key: `${location.prefix}${name}` });
  return {
    put: async ({ name, text, contentType }, timeoutMs) => {
      await call(location, addressOf(name), timeoutMs, (client, sdk, options) =>
        client.send(new sdk.PutObjectCommand({ ...target(name), Body: text, ContentType: contentType }), options),
      );
      return addressOf(name);
    },
    get: (name) =>
      call(location, addressOf(name), READ_TIMEOUT_MS, async (client, sdk, options) => {
        try {
          const { Body } = await client.send(new sdk.GetObjectCommand(target(name)), options);
          return (await Body?.transformToString()) ?? '';
        } catch (error) {
          if (error instanceof sdk.NoSuchKey) return null;
          throw error;
        }
      }),
    list: (prefix, suffix) =>
      call(location, addressOf(prefix), READ_TIMEOUT_MS, async (client, sdk, options) => {
        const names: string[] = [];
        const pages = sdk.paginateListObjectsV2(
          { client },
          { Bucket: location.bucket, Prefix: `${location.prefix}${prefix}` },
          options,
        );
        for await (const { Contents = [] } of pages)
          for (const { Key = '' } of Contents) names.push(Key.slice(location.prefix.length));
        return names.filter((name) => name.endsWith(suffix)).sort();
      }),
  };
}

/** A client for one call: reports are few, and nothing is left open. The SDK is loaded at its first use, it is large. */
async function call<T>(
  location: S3Location,
  address: string,
  timeoutMs: number,
  send: (client: S3Client, sdk: Sdk, options: { abortSignal: AbortSignal }) => Promise<T>,
): Promise<T> {
  // Its word on coming versions of Node would stand on the stderr of every command: ours are in package.json.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  const sdk = await import('@aws-sdk/client-s3');
  const client = new sdk.S3Client(settings(location));
  const abortSignal = AbortSignal.timeout(timeoutMs);
  try {
    return await send(client, sdk, { abortSignal });
  } catch (error) {
    throw abortSignal.aborted ? unavailable(address, `no answer within ${timeoutMs / 1000} s`) : asOurs(address, error);
  } finally {
    client.destroy();
  }
}

function settings({ endpoint, region, credentials }: S3Location): S3ClientConfig {
  return {
    ...(endpoint === undefined ? {} : { endpoint, region: 'us-east-1', forcePathStyle: true }),
    ...(region === undefined ? {} : { region }),
    ...(credentials ? { credentials: async () => credentials() } : {}),
    // Servers that are not AWS refuse the checksums that the SDK adds by itself.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: 5_000, requestTimeout: 10_000 },
  };
}

const REFUSED = new Set(['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'AccessDenied', 'ExpiredToken', 'Forbidden']);

/** The SDK's names are enough for a person. Its texts may quote the request. */
function asOurs(address: string, error: unknown): RecoveryError {
  if (error instanceof RecoveryError) return error;
  const { name, code } = error as { name?: string; code?: string };
  const reason = [name === 'Error' ? undefined : name, code].filter((each) => each !== undefined).join(' ') || 'error';
  if (REFUSED.has(name ?? '') || name === 'CredentialsProviderError')
    return new RecoveryError('CREDENTIALS_REFUSED', `${address}: ${reason}`);
  return unavailable(address, reason);
}

const unavailable = (address: string, reason: string) =>
  new RecoveryError('REPORTS_UNAVAILABLE', `${address}: ${reason}`.slice(0, 500));
