import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import { freePorts, kill, start, stop, waitFor, type Child } from './processes.js';
import { findTemporal } from './tools.js';

export type SearchAttributeType = 'Text' | 'Keyword' | 'Int' | 'Double' | 'Bool' | 'Datetime' | 'KeywordList';

export interface TemporalServerOptions {
  /** Folder for the database and the log; made if missing. Its data survives a restart. */
  dir: string;
  /** Serve the web UI too. @default false */
  ui?: boolean;
  /** @default free ports */
  ports?: { frontend?: number; ui?: number };
  /** Custom search attributes of the `default` namespace: `{ ClickHouseCluster: 'Keyword' }`. */
  searchAttributes?: Record<string, SearchAttributeType>;
  /** `KEY=VALUE` dynamic configuration, the value as JSON. */
  dynamicConfig?: readonly string[];
}

/** A real Temporal server (`temporal server start-dev`) with its data in a SQLite file. */
export interface TemporalServer {
  /** `127.0.0.1:7233`. */
  readonly address: string;
  /** `http://127.0.0.1:8233`; undefined without UI. */
  readonly uiAddress: string | undefined;
  /** Of the process that runs now; another one after a restart. */
  readonly pid: number;
  start(): Promise<void>;
  stop(): Promise<void>;
  /** SIGKILL, as a crash; `start()` brings it back. */
  kill(): Promise<void>;
  restart(): Promise<void>;
}

const NAMESPACE = 'default';
const START_DEADLINE_MS = 60_000;

export async function startTemporalServer(options: TemporalServerOptions): Promise<TemporalServer> {
  mkdirSync(options.dir, { recursive: true });
  const [frontend, ui, http, metrics] = await freePorts(4);
  const ports = { frontend: frontend!, ui: ui!, http: http!, metrics: metrics!, ...options.ports };
  const address = `127.0.0.1:${ports.frontend}`;
  const args = serverArgs(options, ports);
  const logFile = join(options.dir, 'temporal.log');
  const launch = async () => {
    const child = await start({ name: 'temporal', command: findTemporal(), args, logFile });
    await untilReady(child, address, Object.keys(options.searchAttributes ?? {}));
    return child;
  };
  let child = await launch();

  const server: TemporalServer = {
    address,
    uiAddress: options.ui ? `http://127.0.0.1:${ports.ui}` : undefined,
    get pid() {
      return child.pid;
    },
    start: async () => {
      if (!child.isRunning()) child = await launch();
    },
    stop: async () => {
      await stop(child);
    },
    kill: async () => {
      await kill(child);
    },
    restart: async () => {
      await server.stop();
      await server.start();
    },
  };
  return server;
}

function serverArgs(
  options: TemporalServerOptions,
  ports: { frontend: number; ui: number; http: number; metrics: number },
): string[] {
  return [
    ...['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(ports.frontend)],
    ...(options.ui ? ['--ui-port', String(ports.ui)] : ['--headless']),
    // Given, or the server takes ones that another server may have been promised.
    ...['--http-port', String(ports.http), '--metrics-port', String(ports.metrics)],
    ...['--db-filename', join(options.dir, 'temporal.db'), '--log-level', 'error'],
    ...Object.entries(options.searchAttributes ?? {}).flatMap(([name, type]) => [
      '--search-attribute',
      `${name}=${type}`,
    ]),
    ...(options.dynamicConfig ?? []).flatMap((entry) => ['--dynamic-config-value', entry]),
  ];
}

/** Ready is: answers, has its namespace, and knows the search attributes, which it adds after it answers. */
async function untilReady(child: Child, address: string, searchAttributes: string[]): Promise<void> {
  const connection = Connection.lazy({ address });
  try {
    await waitFor(
      async () => {
        if (!child.isRunning()) return 'ended';
        return connection.withDeadline(Date.now() + 2_000, async () => {
          await connection.workflowService.describeNamespace({ namespace: NAMESPACE });
          const known = await connection.operatorService.listSearchAttributes({ namespace: NAMESPACE });
          return searchAttributes.every((name) => name in known.customAttributes) && 'ready';
        });
      },
      { what: `the Temporal server at ${address}`, deadlineMs: START_DEADLINE_MS },
    ).then((state) => {
      if (state === 'ended') throw new Error('the Temporal server ended while starting');
    });
  } catch (cause) {
    await kill(child);
    throw new Error(`the Temporal server did not start; its log ends with:\n${child.logTail()}`, { cause });
  } finally {
    await connection.close();
  }
}
