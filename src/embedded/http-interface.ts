/**
 * ClickHouse's HTTP interface in front of a pool of embedded sessions.
 *
 * `GET /ping` answers without a session, `GET|POST /` runs a statement, and `GET /embedded/requests`
 * lists the requests of this process by the caller's query id (the engine's own ids differ).
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

import { httpStatus, raise, toEngineError, type EngineError } from './clickhouse-error.js';
import { authenticate, readQueryRequest, type Credentials, type QueryRequest } from './http-request.js';
import { type SessionPool } from './session-pool.js';
import { runStatement } from './statement-runner.js';

/** A request as `/embedded/requests` shows it; times in milliseconds since the epoch. */
interface RequestRecord {
  readonly queryId: string;
  readonly receivedAtMs: number;
  startedAtMs?: number;
  endedAtMs?: number;
  /** ClickHouse's error code, once the statement has failed. */
  errorCode?: number;
}

/** Requests remembered after they ended. */
const MAX_RECORDS = 1_000;
/** ClickHouse takes a request line of 1 MiB (`http_max_uri_size`). */
const MAX_HEADER_BYTES = 1_048_576;

export class HttpInterface {
  readonly server: Server;
  readonly #pool: SessionPool;
  readonly #credentials: Credentials;
  readonly #serverName: string;
  readonly #records = new Map<string, RequestRecord>();

  constructor(pool: SessionPool, credentials: Credentials, serverName: string) {
    this.#pool = pool;
    this.#credentials = credentials;
    this.#serverName = serverName;
    this.server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, requestTimeout: 0, keepAliveTimeout: 30_000 });
    this.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#handle(request, response).catch((cause: unknown) => fail(response, toEngineError(cause)));
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('X-ClickHouse-Server-Display-Name', encodeURIComponent(this.#serverName));
    const url = new URL(request.url ?? '/', 'http://node');
    if (url.pathname === '/ping') return send(response, 200, Buffer.from('Ok.\n'));
    if (url.pathname === '/embedded/requests') {
      authenticate(request, url.searchParams, this.#credentials);
      const answer = { pool: this.#pool.load, requests: [...this.#records.values()] };
      return send(response, 200, Buffer.from(`${JSON.stringify(answer)}\n`));
    }
    if (url.pathname !== '/') return send(response, 404, Buffer.from(`There is no handle ${url.pathname}\n`));
    const query = await readQueryRequest(request, this.#credentials);
    const record = this.#register(query);
    response.setHeader('X-ClickHouse-Query-Id', encodeURI(record.queryId));
    const bytes = await this.#run(query, record);
    response.setHeader('X-ClickHouse-Summary', '{}');
    response.setHeader('X-ClickHouse-Format', query.format);
    send(response, 200, bytes);
  }

  /** Runs to the end even if the client has gone: ClickHouse does not cancel either. */
  async #run(query: QueryRequest, record: RequestRecord): Promise<Uint8Array> {
    try {
      return await this.#pool.use((session) => {
        record.startedAtMs = Date.now();
        return runStatement(session, query);
      });
    } catch (cause) {
      const error = toEngineError(cause);
      record.errorCode = error.code;
      throw error;
    } finally {
      record.endedAtMs = Date.now();
    }
  }

  /** @throws EngineError 216 while a request with the same id has not ended */
  #register(query: QueryRequest): RequestRecord {
    const queryId = query.queryId === '' ? randomUUID() : query.queryId;
    const known = this.#records.get(queryId);
    if (known !== undefined && known.endedAtMs === undefined) {
      throw raise('sameQueryId', `Query with id = ${queryId} is already running`);
    }
    const record: RequestRecord = { queryId, receivedAtMs: Date.now() };
    this.#records.delete(queryId);
    this.#records.set(queryId, record);
    for (const [id, { endedAtMs }] of this.#records) {
      if (this.#records.size <= MAX_RECORDS) break;
      if (endedAtMs !== undefined) this.#records.delete(id);
    }
    return record;
  }
}

function fail(response: ServerResponse, error: EngineError): void {
  response.setHeader('X-ClickHouse-Exception-Code', String(error.code));
  response.setHeader('X-ClickHouse-Summary', '{}');
  send(response, httpStatus(error.code), Buffer.from(`${error.message}\n`));
}

function send(response: ServerResponse, status: number, body: Uint8Array): void {
  if (response.writableEnded || response.destroyed) return;
  if (!response.hasHeader('Content-Type')) response.setHeader('Content-Type', 'text/plain; charset=UTF-8');
  response.statusCode = status;
  response.setHeader('Content-Length', body.byteLength);
  response.end(body);
}
