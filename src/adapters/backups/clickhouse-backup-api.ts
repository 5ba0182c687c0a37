import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { RecoveryError } from '../../domain/errors.js';
import { tidyMessage, toNodeError } from '../clickhouse/error-map.js';

/** How to reach one clickhouse-backup. Secrets are functions, read at every call: a rotated one is found. */
export interface ApiConnection {
  node: string;
  /** http or https, without credentials; a path is a proxy's. */
  url: string;
  user?: string;
  password?: () => string;
  tls?: {
    /** PEM of the certificate authority. */
    ca?: () => string;
    /** Takes any certificate. */
    insecure?: boolean;
  };
}

export interface ApiCall {
  method: 'GET' | 'POST';
  path: string;
  query?: [string, string][];
  timeoutMs: number;
  signal?: AbortSignal;
}

export interface ApiAnswer {
  status: number;
  text: string;
  /** Why a request was refused: the `error` of the answer. */
  error: string;
}

/** Thrown when a request may have had its effect, though no answer came. */
export class AnswerLost extends RecoveryError {}

/** A list of 10,000 backups is 3 MB. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/**
 * Sends one request on a connection of its own: one that idled may be of before a restart. Redirections are not
 * followed, since credentials would go with them. Throws RecoveryError `CREDENTIALS_REFUSED`, `NODE_UNAVAILABLE`
 * (`AnswerLost` when the request was sent).
 */
export async function callApi(connection: ApiConnection, call: ApiCall): Promise<ApiAnswer> {
  call.signal?.throwIfAborted();
  const { user = '', tls, node } = connection;
  const password = connection.password?.() ?? '';
  const credentials = Buffer.from(`${user}:${password}`).toString('base64');
  const secrets = password === '' ? [] : [password, credentials, encodeURIComponent(password)];
  const timeout = AbortSignal.timeout(call.timeoutMs);
  const target = urlOf(connection.url, call);
  const options: RequestOptions = {
    method: call.method,
    agent: false,
    signal: call.signal ? AbortSignal.any([call.signal, timeout]) : timeout,
    headers: {
      connection: 'close',
      ...((user !== '' || password !== '') && { authorization: `Basic ${credentials}` }),
    },
    ...(target.protocol === 'https:' && { ca: tls?.ca?.(), rejectUnauthorized: tls?.insecure !== true }),
  };
  const state = { sent: false };
  const who = `${node} (clickhouse-backup)`;
  let answer: { status: number; text: string };
  try {
    answer = await exchange(target, options, state);
  } catch (cause) {
    call.signal?.throwIfAborted();
    const { message } = timeout.aborted
      ? { message: `node ${who}: gave no answer within ${call.timeoutMs} ms` }
      : toNodeError(cause, { node: who, secrets });
    const lost = state.sent ? AnswerLost : RecoveryError;
    throw new lost('NODE_UNAVAILABLE', message, { objects: [node] });
  }
  const error = tidyMessage(errorOf(answer.text), secrets);
  if (answer.status === 401 || answer.status === 403)
    throw new RecoveryError('CREDENTIALS_REFUSED', `node ${who}: it refuses our credentials (${answer.status})`, {
      objects: [node],
    });
  return { ...answer, error };
}

function urlOf(base: string, { path, query }: ApiCall): URL {
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/$/, '')}${path}`;
  for (const [name, value] of query ?? []) url.searchParams.append(name, value);
  return url;
}

function exchange(
  url: URL,
  options: RequestOptions,
  state: { sent: boolean },
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send(url, options, (response) => readText(response, resolve, reject));
    request.on('error', reject);
    // Before that nothing can have reached it: no connection, or a refused certificate.
    request.on('socket', (socket) => {
      socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => (state.sent = true));
    });
    request.end();
  });
}

function readText(
  response: IncomingMessage,
  resolve: (answer: { status: number; text: string }) => void,
  reject: (cause: Error) => void,
): void {
  const chunks: Buffer[] = [];
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) response.destroy(new Error(`the answer has more than ${MAX_ANSWER_BYTES} bytes`));
    else chunks.push(chunk);
  });
  response.on('error', reject);
  response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }));
}

function errorOf(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && 'error' in value) return String(value.error);
  } catch {
    // A proxy's page, or several lines: no error of clickhouse-backup.
  }
  return text.slice(0, 300);
}
