/**
 * A cluster that somebody else runs, such as the one of docker-compose.yml: described by a recovery.yaml
 * (`E2E_RECOVERY_YAML`) and, for the scenarios that break something, by commands (`E2E_CLUSTER_COMMANDS`, a YAML file):
 *
 *     cluster: prod               # which of recovery.yaml; may be left out where it has one
 *     nodes:
 *       a:                        # a node's name in recovery.yaml
 *         start: docker compose start clickhouse-a
 *         stop: docker compose stop clickhouse-a
 *         kill: docker compose kill -s SIGKILL clickhouse-a
 *         wipe: docker compose run --rm …     # all that it stored but for its backups
 *     commands:                   # for nodes without their own; {node} is the name
 *       start: systemctl -H {node} start clickhouse-server
 *     keeper:                     # all of its servers
 *       start: docker compose start zookeeper-1 zookeeper-2 zookeeper-3
 *       stop: docker compose stop zookeeper-1 zookeeper-2 zookeeper-3
 *       wipe: docker compose run --rm …
 *
 * Each is run by `sh -c` in the folder of the file. Exit code 0 means done; `start` may return before the node answers.
 * Everything on such a cluster is somebody's: scenarios wipe its nodes and its Keeper first, create databases there, and
 * destroy them.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { connect as connectTo } from 'node:net';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { probeCapabilities } from './capabilities.js';
import { waitFor } from './processes.js';
import type { ClusterConfig, Keeper, TestCluster, TestNode } from './test-cluster.js';

type Verb = 'start' | 'stop' | 'kill' | 'wipe';
type KeeperVerb = 'start' | 'stop' | 'wipe';
type Commands = Partial<Record<Verb, string>>;

interface CommandsFile {
  cluster?: string;
  nodes?: Record<string, Commands>;
  commands?: Commands;
  keeper?: Partial<Record<KeeperVerb, string>>;
}

export interface ExternalClusterOptions {
  /** @default `E2E_RECOVERY_YAML` */
  recoveryYaml?: string;
  /** Without it the nodes can be asked, not broken. @default `E2E_CLUSTER_COMMANDS` */
  commandsYaml?: string;
}

const COMMAND_TIMEOUT_MS = 120_000;
const START_DEADLINE_MS = 120_000;
const run = promisify(execFile);

export interface ExternalCluster extends TestCluster {
  readonly keeper: Keeper;
  /** What `E2E_CLUSTER_COMMANDS` does not say, such as 'wipe a'. Empty: everything can be broken that scenarios break. */
  readonly missingCommands: readonly string[];
}

/** @throws Error where a file cannot be read or a node does not answer */
export async function connectExternalCluster(options: ExternalClusterOptions = {}): Promise<ExternalCluster> {
  const recoveryYaml = options.recoveryYaml ?? process.env['E2E_RECOVERY_YAML'];
  if (recoveryYaml === undefined) throw new Error('an external cluster needs E2E_RECOVERY_YAML, the path of its file');
  const commandsYaml = options.commandsYaml ?? process.env['E2E_CLUSTER_COMMANDS'];
  const commands = commandsYaml === undefined ? {} : (readYaml(commandsYaml) as CommandsFile);
  const [clusterName, config] = pick(readYaml(recoveryYaml) as { clusters: Record<string, ClusterConfig> }, commands);
  const folder = dirname(resolve(recoveryYaml));
  const nodes = config.nodes.map((node) => connect(node, folder));
  const cwd = dirname(resolve(commandsYaml ?? recoveryYaml));
  const cluster = clusterOf(clusterName, withAbsoluteSecrets(config, folder), nodes, (node, verb) =>
    runCommand(commands, node, verb, cwd),
  );
  return {
    ...cluster,
    keeper: keeperOf(config.keeper.hosts, commands, cwd),
    missingCommands: missing(nodes, commands),
    capabilities: await probeCapabilities(nodes),
  };
}

/** The file is copied to other folders. */
function withAbsoluteSecrets(config: ClusterConfig, folder: string): ClusterConfig {
  const nodes = config.nodes.map((node) =>
    node.password && 'file' in node.password
      ? { ...node, password: { file: resolve(folder, node.password.file) } }
      : node,
  );
  return { ...config, nodes };
}

function missing(nodes: readonly TestNode[], { nodes: own, commands, keeper }: CommandsFile): string[] {
  const ofNodes = nodes.flatMap(({ name }) =>
    (['start', 'stop', 'kill', 'wipe'] as const)
      .filter((verb) => (own?.[name]?.[verb] ?? commands?.[verb]) === undefined)
      .map((verb) => `${verb} ${name}`),
  );
  const ofKeeper = (['start', 'stop', 'wipe'] as const).filter((verb) => keeper?.[verb] === undefined);
  return [...ofNodes, ...ofKeeper.map((verb) => `${verb} keeper`)];
}

function keeperOf(hosts: readonly string[], { keeper = {} }: CommandsFile, cwd: string): Keeper {
  const command = async (verb: KeeperVerb) => {
    const text = keeper[verb];
    if (text === undefined) throw new Error(`E2E_CLUSTER_COMMANDS does not say how to ${verb} the Keeper`);
    await run('sh', ['-c', text], { cwd, timeout: COMMAND_TIMEOUT_MS });
  };
  return {
    hosts,
    start: async () => {
      await command('start');
      for (const host of hosts)
        await waitFor(() => serves(host), { what: `Keeper at ${host}`, deadlineMs: START_DEADLINE_MS });
    },
    stop: () => command('stop'),
    wipe: () => command('wipe'),
  };
}

/** Whoever asks with `srvr` hears the mode, leader or follower, once there is a quorum. */
function serves(host: string): Promise<boolean> {
  const colon = host.lastIndexOf(':');
  return new Promise((done) => {
    const socket = connectTo(Number(host.slice(colon + 1)), host.slice(0, colon), () => socket.write('srvr'));
    let answer = '';
    socket.setEncoding('utf8').setTimeout(2_000, () => socket.destroy());
    socket.on('data', (chunk: string) => (answer += chunk));
    socket.on('error', () => undefined).on('close', () => done(/^Mode: /m.test(answer)));
  });
}

function readYaml(file: string): unknown {
  return parse(readFileSync(file, 'utf8'));
}

function pick(
  { clusters }: { clusters: Record<string, ClusterConfig> },
  { cluster }: CommandsFile,
): [string, ClusterConfig] {
  const names = Object.keys(clusters);
  const name = cluster ?? (names.length === 1 ? names[0] : undefined);
  const config = name === undefined ? undefined : clusters[name];
  if (name === undefined || config === undefined)
    throw new Error(`say in E2E_CLUSTER_COMMANDS which \`cluster\` is meant: ${names.join(', ')}`);
  return [name, config];
}

function connect({ password, ...node }: ClusterConfig['nodes'][number], folder: string): TestNode {
  if (password === undefined) return node;
  if ('file' in password)
    return { ...node, password: readFileSync(resolve(folder, password.file), 'utf8').replace(/\r?\n$/, '') };
  const value = process.env[password.env];
  if (value === undefined) throw new Error(`${node.name}: the environment has no ${password.env}`);
  return { ...node, password: value };
}

async function runCommand(commands: CommandsFile, node: TestNode, verb: Verb, cwd: string): Promise<void> {
  const command = commands.nodes?.[node.name]?.[verb] ?? commands.commands?.[verb];
  if (command === undefined) throw new Error(`E2E_CLUSTER_COMMANDS does not say how to ${verb} ${node.name}`);
  await run('sh', ['-c', command.replaceAll('{node}', node.name)], { cwd, timeout: COMMAND_TIMEOUT_MS });
}

async function answers(node: TestNode): Promise<boolean> {
  const response = await fetch(new URL('/ping', node.url), { signal: AbortSignal.timeout(2_000) });
  return (await response.text()) === 'Ok.\n';
}

const isUp = (node: TestNode) => answers(node).catch(() => false);

function clusterOf(
  clusterName: string,
  config: ClusterConfig,
  nodes: readonly TestNode[],
  command: (node: TestNode, verb: Verb) => Promise<void>,
): Omit<TestCluster, 'capabilities'> {
  const at = (index: number): TestNode => {
    const node = nodes[index];
    if (node === undefined) throw new Error(`the cluster has no node ${index}`);
    return node;
  };
  const start = async (node: TestNode) => {
    if (await isUp(node)) return;
    await command(node, 'start');
    await waitFor(() => answers(node), { what: `${node.name} to answer`, deadlineMs: START_DEADLINE_MS });
  };
  // Also where it does not answer: it may be on its way up. The commands must not mind.
  const each = async (action: (node: TestNode) => Promise<void>) => void (await Promise.all(nodes.map(action)));
  return {
    provider: 'external',
    clusterName,
    nodes,
    keeperHosts: config.keeper.hosts,
    config: { clusters: { [clusterName]: config } },
    startNode: (index) => start(at(index)),
    stopNode: (index) => command(at(index), 'stop'),
    killNode: (index) => command(at(index), 'kill'),
    startAll: () => each(start),
    stopAll: () => each((node) => command(node, 'stop')),
    killAll: () => each((node) => command(node, 'kill')),
    wipeNodeData: async (index) => {
      if (await isUp(at(index))) throw new Error(`node ${at(index).name} is running: stop it before its data is wiped`);
      await command(at(index), 'wipe');
    },
  };
}
