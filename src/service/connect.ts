import { Client, Connection } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { RecoveryError } from '../domain/errors.js';

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Connects as the `temporal` CLI does: TEMPORAL_* environment, then the TOML profile. Throws TEMPORAL_UNAVAILABLE,
 * or CONFIG_INVALID where the profile cannot be used.
 */
export async function connect(): Promise<{ client: Client; close(): Promise<void> }> {
  const { connectionOptions, namespace } = profile();
  try {
    const connection = await Connection.connect({ ...connectionOptions, connectTimeout: CONNECT_TIMEOUT_MS });
    return { client: new Client({ connection, namespace: namespace ?? 'default' }), close: () => connection.close() };
  } catch (cause) {
    throw new RecoveryError(
      'TEMPORAL_UNAVAILABLE',
      `no Temporal server at ${connectionOptions.address ?? '127.0.0.1:7233'}: ${messageOf(cause)}`.slice(0, 300),
    );
  }
}

/** Where the UI of the Temporal server probably is: Temporal Cloud's, else that of a development server. */
export function likelyUi(): string {
  const address = profile().connectionOptions.address ?? '127.0.0.1:7233';
  const [, host = '127.0.0.1', port = '7233'] = /^(.*?)(?::(\d+))?$/.exec(address) ?? [];
  if (/\.(tmprl\.cloud|api\.temporal\.io)$/.test(host)) return 'https://cloud.temporal.io';
  return `http://${host}:${Number(port) + 1_000}`;
}

function profile(): ReturnType<typeof loadClientConnectConfig> {
  try {
    return loadClientConnectConfig();
  } catch (cause) {
    // The first line only: below it the TOML parser quotes the file, and an API key may stand there.
    const [reason] = messageOf(cause).split('\n');
    throw new RecoveryError('CONFIG_INVALID', `the Temporal profile cannot be used: ${reason ?? ''}`.slice(0, 300), {
      field: 'TEMPORAL_PROFILE',
    });
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
