/**
 * ClickHouse servers on this machine, by default 2 shards x 2 replicas, that really replicate through the ZooKeeper
 * ensemble they are given. Each has its own ports, paths, macros and process, and none outlives this one.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { probeCapabilities } from './capabilities.js';
import { freePorts, kill, start, stop, waitFor, type Child } from './processes.js';
import { serverConfigXml, usersXml, type ServerConfig } from './server-config.js';
import type { ClusterConfig, TestCluster, TestNode } from './test-cluster.js';
import { findOnPath } from './tools.js';

export interface ServerClusterOptions {
  /** Folder for everything the servers write; made if missing. */
  dir: string;
  /** `host:port` of every Keeper. */
  keeperHosts: readonly string[];
  /** @default 2 */
  shards?: number;
  /** Of each shard. @default 2 */
  replicas?: number;
  /** In recovery.yaml, in `remote_servers`, and the value of the macro `cluster`. @default 'servers' */
  clusterName?: string;
  /** @default 'default' */
  user?: string;
  /** @default '' */
  password?: string;
  /** Environment variable that holds the password for those who read `config`; needed with `password`. */
  passwordEnv?: string;
  /** Short, so that a lost session is noticed within a test. @default 6_000 */
  keeperSessionTimeoutMs?: number;
  /** Where replicas are told to fetch from a node. @default '127.0.0.1' for all */
  interserverHost?: (index: number) => string;
}

export interface ServerNode extends TestNode {
  readonly tcpPort: number;
  readonly interserverPort: number;
  /** Its configuration, logs and, in `data`, what it stored. */
  readonly dir: string;
  /** Undefined while it is down. */
  readonly pid: number | undefined;
  readonly running: boolean;
  /** The last lines of its own log, all levels from `information`. */
  logTail(lines?: number): string;
  /** SIGSTOP: it is there and answers nothing. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
}

export interface ServerCluster extends TestCluster {
  readonly nodes: readonly ServerNode[];
  /**
   * 18.16 that starts while ZooKeeper does not have its tables ends, or starts without them, at random (the errors of
   * its start-up threads race). `withoutKeeper`: its configuration has no ZooKeeper, and then it starts with all
   * tables, read-only; until the next start.
   */
  startNode(index: number, options?: StartNodeOptions): Promise<void>;
  wipeNodeData(index: number): void;
  /** Indexes of a shard's nodes, from its own index. */
  shardNodes(shard: number): number[];
}

export interface StartNodeOptions {
  /** @default false */
  withoutKeeper?: boolean;
}

const START_DEADLINE_MS = 60_000;
/** A server with a hung ZooKeeper takes its time to stop; past this it is killed. */
const STOP_GRACE_MS = 20_000;

/** A `clickhouse-server`, or a `clickhouse` that can be one: command and first arguments. @throws Error where there is none */
export function findClickHouseServer(): [string, ...string[]] {
  // Debian puts it where the PATH of an ordinary user does not lead.
  const debian = '/usr/sbin/clickhouse-server';
  const server = findOnPath('clickhouse-server') ?? (existsSync(debian) ? debian : undefined);
  if (server !== undefined) return [server];
  const combined = findOnPath('clickhouse');
  if (combined !== undefined) return [combined, 'server'];
  throw new Error('clickhouse-server not found: run `npm run setup`');
}

interface Server {
  readonly name: string;
  readonly shard: string;
  readonly replica: string;
  readonly config: ServerConfig;
  child: Child | undefined;
}

/** @throws Error with a server's log; the servers already started are killed first */
export async function startServerCluster(options: ServerClusterOptions): Promise<ServerCluster> {
  const { clusterName = 'servers', shards = 2, replicas = 2 } = options;
  const servers = await layOut({ ...options, clusterName, shards, replicas });
  const cluster = clusterOf(servers, clusterName, replicas, options);
  try {
    await cluster.startAll();
    return { ...cluster, capabilities: await probeCapabilities(cluster.nodes) };
  } catch (cause) {
    await cluster.killAll();
    throw cause;
  }
}

async function layOut(
  options: ServerClusterOptions & { clusterName: string; shards: number; replicas: number },
): Promise<Server[]> {
  const { dir, clusterName, shards, replicas, user = 'default', password = '' } = options;
  const count = shards * replicas;
  const ports = await freePorts(3 * count);
  const tcpPort = (index: number) => ports[count + index]!;
  const allShards = Array.from({ length: shards }, (_, shard) =>
    Array.from({ length: replicas }, (_, r) => ({ host: '127.0.0.1', tcpPort: tcpPort(shard * replicas + r) })),
  );
  return Array.from({ length: count }, (_, index): Server => {
    const shard = String(Math.floor(index / replicas) + 1).padStart(2, '0');
    const replica = `r${(index % replicas) + 1}`;
    const config: ServerConfig = {
      dir: join(dir, `s${shard}${replica}`),
      ports: { http: ports[index]!, tcp: tcpPort(index), interserver: ports[2 * count + index]! },
      interserverHost: options.interserverHost?.(index) ?? '127.0.0.1',
      keeperHosts: options.keeperHosts,
      keeperSessionTimeoutMs: options.keeperSessionTimeoutMs ?? 6_000,
      macros: { cluster: clusterName, shard, replica },
      clusterName,
      shards: allShards,
      user,
      password,
    };
    mkdirSync(join(config.dir, 'data'), { recursive: true });
    writeFileSync(join(config.dir, 'users.xml'), usersXml(config), { mode: 0o600 });
    return { name: `s${shard}${replica}`, shard, replica, config, child: undefined };
  });
}

const isRunning = (server: Server) => server.child?.isRunning() ?? false;

async function launch(server: Server, { withoutKeeper = false }: StartNodeOptions = {}): Promise<void> {
  if (isRunning(server)) return;
  const { dir, ports } = server.config;
  const config = withoutKeeper ? { ...server.config, keeperHosts: [] } : server.config;
  writeFileSync(join(dir, 'config.xml'), serverConfigXml(config), { mode: 0o600 });
  const [command, ...args] = findClickHouseServer();
  server.child = await start({
    name: server.name,
    command,
    args: [...args, `--config-file=${join(dir, 'config.xml')}`],
    logFile: join(dir, 'output.log'),
    // A crash leaves its core there, and relative paths would too.
    cwd: dir,
    env: { LANG: 'C.UTF-8' },
  });
  const answers = async () =>
    !isRunning(server) ||
    (await (await fetch(`http://127.0.0.1:${ports.http}/ping`, { signal: AbortSignal.timeout(2_000) })).text()) ===
      'Ok.\n';
  await waitFor(answers, { what: `${server.name} to answer`, deadlineMs: START_DEADLINE_MS }).catch(
    (cause: unknown) => {
      throw new Error(`${server.name} does not answer; its log ends with:\n${tail(server)}`, { cause });
    },
  );
  if (!isRunning(server)) throw new Error(`${server.name} ended while starting; its log ends with:\n${tail(server)}`);
}

function tail(server: Server, lines = 20): string {
  const file = ['server.log', 'output.log'].map((name) => join(server.config.dir, name)).find((f) => existsSync(f));
  return file === undefined ? '' : readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
}

function nodeOf(server: Server, { user, password }: ServerClusterOptions): ServerNode {
  const { dir, ports } = server.config;
  return {
    name: server.name,
    shard: server.shard,
    replica: server.replica,
    url: `http://127.0.0.1:${ports.http}`,
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    tcpPort: ports.tcp,
    interserverPort: ports.interserver,
    dir,
    get pid() {
      return isRunning(server) ? server.child?.pid : undefined;
    },
    get running() {
      return isRunning(server);
    },
    logTail: (lines) => tail(server, lines),
    pause: () => server.child?.signal('SIGSTOP'),
    resume: () => server.child?.signal('SIGCONT'),
  };
}

function clusterOf(servers: Server[], clusterName: string, replicas: number, options: ServerClusterOptions) {
  const at = (index: number): Server => {
    const server = servers[index];
    if (server === undefined) throw new Error(`the cluster has no node ${index}`);
    return server;
  };
  const each = async (action: (server: Server) => Promise<unknown>) => {
    // All of them, also where one fails: a server that is still on its way up could not be killed afterwards.
    const results = await Promise.allSettled(servers.map(action));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  };
  const stopServer = async ({ child }: Server) => void (child && (await stop(child, STOP_GRACE_MS)));
  const killServer = async ({ child }: Server) => void (child && (await kill(child)));
  return {
    provider: 'servers' as const,
    capabilities: new Set<never>(),
    clusterName,
    nodes: servers.map((server) => nodeOf(server, options)),
    keeperHosts: options.keeperHosts,
    config: { clusters: { [clusterName]: describe(servers, options) } },
    shardNodes: (shard: number) => Array.from({ length: replicas }, (_, r) => shard * replicas + r),
    startNode: (index: number, start?: StartNodeOptions) => launch(at(index), start),
    stopNode: (index: number) => stopServer(at(index)),
    killNode: (index: number) => killServer(at(index)),
    startAll: () => each((server) => launch(server)),
    stopAll: () => each(stopServer),
    killAll: () => each(killServer),
    wipeNodeData: (index: number) => {
      const server = at(index);
      if (isRunning(server)) throw new Error(`node ${server.name} is running: stop it before its data is wiped`);
      const data = join(server.config.dir, 'data');
      rmSync(data, { recursive: true, force: true });
      mkdirSync(data);
    },
  };
}

function describe(servers: Server[], { keeperHosts, user, passwordEnv }: ServerClusterOptions): ClusterConfig {
  const account = {
    ...(user === undefined ? {} : { user }),
    ...(passwordEnv === undefined ? {} : { password: { env: passwordEnv } }),
  };
  return {
    keeper: { hosts: [...keeperHosts] },
    nodes: servers.map(({ name, shard, replica, config }) => ({
      name,
      shard,
      replica,
      url: `http://127.0.0.1:${config.ports.http}`,
      ...account,
    })),
  };
}
