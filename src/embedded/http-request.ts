/**
 * Reads an HTTP request the way ClickHouse's HTTP interface does.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate } from 'node:zlib';

import { raise } from './clickhouse-error.js';
import type { Statement } from './statement-runner.js';

/** A statement and what surrounds it in the request. */
export interface QueryRequest extends Statement {
  /** As the caller gave it; empty when it gave none. */
  readonly queryId: string;
}

/** Who may use the node; undefined lets every user in. */
export type Credentials = { readonly user: string; readonly password: string } | undefined;

/** Query-string names that are neither settings nor query parameters. */
const NOT_SETTINGS = new Set([
  'query',
  'query_id',
  'database',
  'default_format',
  'user',
  'password',
  'quota_key',
  'role',
  'session_id',
  'session_timeout',
  'session_check',
  'compress',
  'decompress',
  'stacktrace',
  'readonly',
  // Of the HTTP layer only: answers are always whole, uncompressed and without progress headers.
  'wait_end_of_query',
  'buffer_size',
  'enable_http_compression',
  'http_zlib_compression_level',
  'send_progress_in_http_headers',
  'http_headers_progress_interval_ms',
  'cancel_http_readonly_queries_on_client_close',
]);

/**
 * @throws EngineError 516 for a wrong user or password; 36 for a body that cannot be decoded
 */
export async function readQueryRequest(request: IncomingMessage, credentials: Credentials): Promise<QueryRequest> {
  const url = new URL(request.url ?? '/', 'http://node');
  authenticate(request, url.searchParams, credentials);
  const body = await readBody(request);
  const fields = [...url.searchParams];
  const type = request.headers['content-type'] ?? '';
  let data = '';
  if (type.startsWith('multipart/form-data')) fields.push(...(await readForm(body, type)));
  else data = decodeUtf8(body);
  return toQueryRequest(fields, data, request);
}

function toQueryRequest(fields: [string, string][], data: string, request: IncomingMessage): QueryRequest {
  const first = (name: string): string | undefined => fields.find(([key]) => key === name)?.[1];
  const settings = new Map<string, string>();
  const parameters = new Map<string, string>();
  for (const [name, value] of fields) {
    if (name.startsWith('param_')) parameters.set(name.slice('param_'.length), value);
    else if (!NOT_SETTINGS.has(name)) settings.set(name, value);
  }
  const queryId = first('query_id') ?? '';
  // The engine gives every statement an id of its own. `log_comment` is the one field a caller can
  // set that system.processes shows: the way to find, or kill, a statement by its caller's id.
  if (queryId !== '' && !settings.has('log_comment')) settings.set('log_comment', queryId);
  const database = first('database') ?? header(request, 'x-clickhouse-database');
  return {
    sql: [first('query') ?? '', data].filter((part) => part !== '').join('\n'),
    format: first('default_format') ?? header(request, 'x-clickhouse-format') ?? 'TabSeparated',
    database: database === '' ? undefined : database,
    settings,
    parameters,
    readonly: request.method === 'GET' || !['', '0', undefined].includes(first('readonly')),
    queryId,
  };
}

/** Checks the user and password of a request, as Basic, X-ClickHouse-* headers or in the URL. */
export function authenticate(request: IncomingMessage, url: URLSearchParams, credentials: Credentials): void {
  if (credentials === undefined) return;
  const basic = /^Basic\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const [basicUser, ...rest] = Buffer.from(basic ?? '', 'base64')
    .toString('utf8')
    .split(':');
  const user = header(request, 'x-clickhouse-user') ?? url.get('user') ?? (basicUser || 'default');
  const password = header(request, 'x-clickhouse-key') ?? url.get('password') ?? rest.join(':');
  if (!same(user, credentials.user) || !same(password, credentials.password)) {
    const why = 'Authentication failed: password is incorrect, or there is no user with such name';
    throw raise('authentication', `${user}: ${why}`);
  }
}

/** Compares in constant time, whatever the lengths. */
function same(left: string, right: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(left), digest(right));
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const raw = Buffer.concat(chunks);
  const encoding = (request.headers['content-encoding'] ?? 'identity').toLowerCase();
  const decoders = { gzip: gunzip, 'x-gzip': gunzip, deflate: inflate, br: brotliDecompress } as const;
  if (encoding === 'identity' || raw.length === 0) return raw;
  if (!(encoding in decoders)) throw raise('badArguments', `Unsupported Content-Encoding '${encoding}'`);
  const decode = promisify(decoders[encoding as keyof typeof decoders]);
  return decode(raw).catch(() => {
    throw raise('badArguments', `Request body is not valid ${encoding}`);
  });
}

async function readForm(body: Buffer, type: string): Promise<[string, string][]> {
  const form = await new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData();
  // A part with a file name (an external table) is not supported, nor sent by @clickhouse/client.
  return [...form].flatMap(([name, value]) => (typeof value === 'string' ? [[name, value] as [string, string]] : []));
}

function decodeUtf8(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    // The engine takes statements as text only: silently replaced bytes would be corrupted rows.
    throw raise('badArguments', 'The embedded node takes request bodies in UTF-8 only');
  }
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}
