import { Agent as HttpsAgent } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import { ClickHouseLogLevel, createClient, type ClickHouseClient, type ClickHouseSettings } from '@clickhouse/client';
import { RecoveryError } from '../../domain/errors.js';
import type { NodeRef } from '../../domain/topology.js';
import type { ClickHouseNode, Params, StatementOptions } from '../../ports.js';
import { errnoOf, toNodeError, unavailable } from './error-map.js';
import { inlineParams } from './literals.js';

/** How to reach a node. Secrets are functions: a missing one is an error of the node that is used, not of all. */
export interface NodeConnection {
  /** http or https, without credentials. A path is a proxy's, not a database. */
  url: string;
  /** @default 'default' */
  user?: string;
  password?: () => string;
  tls?: {
    /** PEM of the certificate authority. */
    ca?: () => string;
    /** Takes any certificate. */
    insecure?: boolean;
  };
}

export interface ClosableNode extends ClickHouseNode {
  close(): Promise<void>;
}

const READ_TIMEOUT_MS = 30_000;
const STATEMENT_TIMEOUT_MS = 600_000;
/** The client's own timeout, past all of ours (a day): the per-call timer decides. */
const CLIENT_TIMEOUT_MS = 86_400_000;
/** Less than the 3 s after which servers before 23.11 close an idle connection. */
const IDLE_SOCKET_TTL_MS = 1_500;
/** Read-only tables can be many: one row each is read in one query, so few connections are enough. */
const MAX_CONNECTIONS = 16;

const READ_SETTINGS: ClickHouseSettings = {
  output_format_json_quote_64bit_integers: 1,
  // A read that nobody waits for any more is not worth its threads.
  cancel_http_readonly_queries_on_client_close: 1,
  // An exception after the first rows would come with status 200: the server holds the answer back until it is whole.
  wait_end_of_query: 1,
};
const OLD_READ_SETTINGS: ClickHouseSettings = { output_format_json_quote_64bit_integers: 1, wait_end_of_query: 1 };
const STATEMENT_SETTINGS: ClickHouseSettings = { wait_end_of_query: 1 };
/** UNKNOWN_SETTING: the answer of servers before 19.14 to query parameters, and to settings of later versions. */
const UNKNOWN_SETTING = 115;
/** Of those servers a read of system.tables fails when any table is renamed or detached at that moment (seen on 18.16.1). */
const UNKNOWN_TABLE = 60;
const OLD_RETRY_MS = 50;
const OLD_RETRIES = 20;

interface Clients {
  reads: ClickHouseClient;
  /**
   * A connection for each statement: on one that idled, a server that restarted in between looks the same as one
   * that died with our statement, and a statement is never sent twice.
   */
  statements: ClickHouseClient;
  secrets: readonly string[];
  /** A server without query parameters: values go into the text, and only settings of its time are sent. */
  old: boolean;
}

export function createNode(ref: NodeRef, connection: NodeConnection): ClosableNode {
  let clients: Clients | undefined;
  const open = () => (clients ??= openClients(connection));

  async function close(): Promise<void> {
    const closing = clients;
    clients = undefined;
    await Promise.all([closing?.reads.close(), closing?.statements.close()]);
  }

  /** Runs one call in its time; all that it throws is of the contract. */
  async function bounded<T>(
    defaultTimeoutMs: number,
    options: StatementOptions,
    call: (clients: Clients, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    options.signal?.throwIfAborted();
    const opened = open();
    const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), timeoutMs);
    const signal = options.signal ? AbortSignal.any([options.signal, timeout.signal]) : timeout.signal;
    try {
      return await untilAborted(call(opened, signal), signal);
    } catch (cause) {
      // The caller's own cancellation is no failure of the node.
      options.signal?.throwIfAborted();
      if (timeout.signal.aborted) throw unavailable(ref.name, `gave no answer within ${timeoutMs} ms`);
      const error = toNodeError(cause, { node: ref.name, secrets: opened.secrets });
      // The reference may have a new secret by the next attempt: read it again.
      if (error instanceof RecoveryError && error.code === 'CREDENTIALS_REFUSED') forget(opened);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** `wasOld`: how it was sent. Of several reads at once, each learns that the server is old from its own answer. */
  async function mayRepeat(
    cause: unknown,
    opened: Clients,
    { sql, wasOld, retries }: { sql: string; wasOld: boolean; retries: number },
  ): Promise<boolean> {
    // An idle connection of before a restart.
    if (errnoOf(cause) === 'ECONNRESET') return retries === 0;
    const error = toNodeError(cause, { node: ref.name, secrets: opened.secrets });
    if (error instanceof RecoveryError) return false;
    if (!wasOld && error.code === UNKNOWN_SETTING) return (opened.old = true);
    if (!wasOld || error.code !== UNKNOWN_TABLE || !sql.includes('FROM system.')) return false;
    // What is read is not there at any other moment either.
    const missing = /Table (system\.\w+)/.exec(error.message)?.[1];
    if (missing !== undefined && sql.includes(missing)) return false;
    await delay(OLD_RETRY_MS);
    return retries < OLD_RETRIES;
  }

  function forget(refused: Clients): void {
    if (clients === refused) clients = undefined;
    // Others may wait for an answer on it: its idle sockets end by themselves.
  }

  return {
    ref,
    query: <Row>(sql: string, options: StatementOptions = {}) =>
      bounded<Row[]>(READ_TIMEOUT_MS, options, async (opened, abort_signal) => {
        const send = async (old: boolean) => {
          const result = await opened.reads.query({
            ...bind(sql, options.params, old),
            format: 'JSONEachRow',
            abort_signal,
            clickhouse_settings: { ...(old ? OLD_READ_SETTINGS : READ_SETTINGS), ...options.settings },
          });
          return result.json<Row>();
        };
        for (let retries = 0; ; retries++) {
          const wasOld = opened.old;
          try {
            return await send(wasOld);
          } catch (cause) {
            // A read changes nothing, so it may be sent again.
            if (abort_signal.aborted || !(await mayRepeat(cause, opened, { sql, wasOld, retries }))) throw cause;
          }
        }
      }),
    execute: (sql, options = {}) =>
      bounded(STATEMENT_TIMEOUT_MS, options, async (opened, abort_signal) => {
        await opened.statements.command({
          ...bind(sql, options.params, opened.old),
          abort_signal,
          clickhouse_settings: { ...STATEMENT_SETTINGS, ...options.settings },
        });
      }),
    close,
  };
}

function bind(query: string, params: Params | undefined, old: boolean): { query: string; query_params?: Params } {
  if (!params) return { query };
  return old ? { query: inlineParams(query, params) } : { query, query_params: params };
}

function openClients({ url, user, password, tls }: NodeConnection): Clients {
  const { origin, pathname, protocol } = new URL(url);
  const secret = password?.() ?? '';
  const ca = tls?.ca?.();
  const common = {
    url: origin,
    // In a URL the client takes the path for a database.
    ...(pathname !== '/' && { pathname }),
    username: user ?? 'default',
    password: secret,
    // Always there. `default` may be among what was lost, and then no statement would run at all.
    database: 'system',
    application: 'temporal-clickhouse-recovery',
    request_timeout: CLIENT_TIMEOUT_MS,
    max_open_connections: MAX_CONNECTIONS,
    // Up to 1 MiB of URL is what a server takes; more is sent as a form.
    use_multipart_params_auto: true,
    // It prints to the console, and what it prints holds query texts.
    log: { level: ClickHouseLogLevel.OFF },
  };
  const client = (keepAlive: boolean) =>
    createClient({
      ...common,
      keep_alive: { enabled: keepAlive, idle_socket_ttl: IDLE_SOCKET_TTL_MS, eagerly_destroy_stale_sockets: true },
      ...(ca !== undefined && { tls: { ca_cert: Buffer.from(ca) } }),
      ...(protocol === 'https:' &&
        tls?.insecure && {
          http_agent: new HttpsAgent({ rejectUnauthorized: false, keepAlive, maxSockets: MAX_CONNECTIONS }),
        }),
    });
  // Basic authentication sends it encoded, and a proxy could echo that.
  const secrets = secret === '' ? [] : [secret, Buffer.from(`${user ?? 'default'}:${secret}`).toString('base64')];
  return { reads: client(true), statements: client(false), secrets, old: false };
}

/** The client does not listen to the signal any more once it reads the body of the answer. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(new Error('aborted'));
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
