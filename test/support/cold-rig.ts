/**
 * What a cold copy needs beside a rig of servers: a service manager (as systemd is one, so that servers outlive the agents
 * that start them), and an agent for every host.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { freePorts, kill, start, stop, waitFor, type Child } from './processes.js';
import { CLUSTER, startServersRig, type ServersRig } from './recovery-rig.js';
import { repoRoot } from './tools.js';

export type Verb = 'stop' | 'start' | 'probe';
type Hook = (verb: Verb, host: string) => void | Promise<void>;

export interface ColdRig extends ServersRig {
  /** Of ClickHouse nodes, then of ZooKeeper servers. */
  readonly hosts: readonly string[];
  /** Folder of the copies of all hosts. */
  copies: string;
  agents: ReadonlyMap<string, Child>;
  /** Called with every command before it is done. */
  onCommand(hook: Hook): void;
  startAgent(host: string, options?: AgentOptions): Promise<Child>;
  /** All that do not run. */
  startAgents(options?: AgentOptions): Promise<void>;
  stopAgents(): Promise<void>;
  configureAgents(change: Record<string, unknown>): void;
  /** For a worker that is started afterwards. Seconds. */
  setAgentTimeout(seconds: number): void;
  /** `ch-recover cold …`, as JSON. */
  cold<T>(...args: string[]): Promise<{ exitCode: number; result: T; stderr: string }>;
}

export interface AgentOptions {
  script?: string;
  env?: Record<string, string>;
}

/** Of a stop and of a start, before it counts as hung. Seconds. */
const COMMAND_SECONDS = 90;

export async function startColdRig(
  dir: string,
  {
    policies = {},
    agentTimeoutSeconds = 10,
    backups = {},
  }: { policies?: Record<string, unknown>; agentTimeoutSeconds?: number; backups?: Record<string, unknown> } = {},
): Promise<ColdRig> {
  const rig = await startServersRig({ dir, shards: 1, keepers: 3, backups, policies });
  const keepers = Object.fromEntries(rig.ensemble.hosts.map((host, i) => [`zk${i + 1}`, host]));
  const setAgentTimeout = (seconds: number) => rig.configure({ cold: { keepers, agentTimeoutSeconds: seconds } });
  setAgentTimeout(agentTimeoutSeconds);
  const manager = await startServiceManager(rig);
  const hosts = [...rig.cluster.nodes.map(({ name }) => name), ...Object.keys(keepers)];
  const agents = new Map<string, Child>();
  const copies = join(dir, 'copies');
  const fileOf = (host: string) => join(dir, `agent-${host}.yaml`);
  mkdirSync(copies);

  const configureAgents = (change: Record<string, unknown> = {}) => {
    hosts.forEach((host, index) => {
      const node = rig.cluster.nodes[index];
      const server = rig.ensemble.servers[index - rig.cluster.nodes.length];
      const command = (verb: Verb) => manager.command(verb, host);
      writeFileSync(
        fileOf(host),
        stringify({
          cluster: CLUSTER,
          ...(node ? { node: host } : { keeper: host }),
          trees: { data: node ? join(node.dir, 'data') : server!.dataDir },
          copies,
          addresses: node ? [`127.0.0.1:${node.tcpPort}`, node.url.replace('http://', '')] : [server!.host],
          commands: {
            stop: command('stop'),
            start: command('start'),
            probe: command('probe'),
            timeoutSeconds: COMMAND_SECONDS,
          },
          ...change,
        }),
      );
    });
  };
  configureAgents();

  const cold: ColdRig = {
    ...rig,
    hosts,
    copies,
    agents,
    configureAgents,
    setAgentTimeout,
    onCommand: manager.onCommand,
    async startAgent(host, { script, env = {} } = {}) {
      const option = host.startsWith('zk') ? '--keeper' : '--node';
      const child = await start({
        name: `agent-${host}`,
        command: process.execPath,
        args: [
          ...(script === undefined ? [join(repoRoot, 'dist/cli.js'), 'agent'] : ['--import', 'tsx', script]),
          ...[option, host, '--file', fileOf(host)],
        ],
        cwd: repoRoot,
        logFile: join(dir, `agent-${host}.log`),
        env: { ...rig.env, ...env },
      });
      agents.set(host, child);
      const before = child.logTail(Infinity).split('agent ready').length;
      const isReady = () => child.logTail(Infinity).split('agent ready').length > before;
      await waitFor(() => isReady() || !child.isRunning(), { what: `the agent of ${host}`, deadlineMs: 60_000 });
      return child;
    },
    async startAgents(options) {
      await Promise.all(
        hosts.filter((host) => !agents.get(host)?.isRunning()).map((host) => cold.startAgent(host, options)),
      );
    },
    async stopAgents() {
      await Promise.all([...agents.values()].map((agent) => kill(agent)));
    },
    async cold(...args) {
      const { exitCode, stdout, stderr } = await rig.cli('cold', ...args, '--json');
      return { exitCode, result: JSON.parse(stdout || 'null') as never, stderr };
    },
    async stop() {
      await Promise.all([...agents.values()].map((agent) => stop(agent, 1_000)));
      await rig.stop();
      await manager.close();
    },
  };
  return cold;
}

/** One line a connection, `verb host`, answered with an exit code: 0 done or running, 3 not running, 1 it failed. */
async function startServiceManager(rig: ServersRig) {
  const [port] = await freePorts(1);
  const hooks: Hook[] = [];
  const { nodes } = rig.cluster;
  const isRunning = (host: string) =>
    host.startsWith('zk')
      ? rig.ensemble.servers[Number(host.slice(2)) - 1]!.isRunning
      : nodes.find(({ name }) => name === host)!.running;
  const act = async (verb: Verb, host: string): Promise<number> => {
    for (const hook of hooks) await hook(verb, host);
    if (verb === 'probe') return isRunning(host) ? 0 : 3;
    const index = host.startsWith('zk') ? Number(host.slice(2)) - 1 : nodes.findIndex(({ name }) => name === host);
    const { ensemble, cluster } = rig;
    if (host.startsWith('zk')) await (verb === 'stop' ? ensemble.stopServer(index) : ensemble.startServer(index));
    else await (verb === 'stop' ? cluster.stopNode(index) : cluster.startNode(index));
    return 0;
  };
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.once('data', (line: Buffer) => {
      const [verb, host] = line.toString('utf8').trim().split(' ');
      act(verb as Verb, host ?? '')
        .catch(() => 1)
        .then(
          (code) => socket.end(`${code}\n`),
          () => undefined,
        );
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    onCommand: (hook: Hook) => void hooks.push(hook),
    command: (verb: Verb, host: string) => [
      ...['bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/$0 && echo "$1 $2" >&3 && read -r code <&3 && exit "$code"'],
      ...[String(port), verb, host],
    ],
    close: () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

export function removeCopies(rig: ColdRig): void {
  rmSync(rig.copies, { recursive: true, force: true });
  mkdirSync(rig.copies);
}
