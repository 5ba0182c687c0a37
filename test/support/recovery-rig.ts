/**
 * Everything a recovery needs, for real: Temporal, a ZooKeeper ensemble, ClickHouse nodes of one provider, recovery.yaml
 * and the product's own command line. Scenarios and the demo are written against this.
 */
import { execFile, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { startEmbeddedCluster } from './embedded-cluster.js';
import { connectExternalCluster } from './external-cluster.js';
import { start, stop, waitFor, type Child } from './processes.js';
import { startServerCluster } from './server-cluster.js';
import type { ClusterConfig, Keeper, TestCluster } from './test-cluster.js';
import { startTemporalServer, type TemporalServer } from './temporal-server.js';
import { repoRoot } from './tools.js';
import { startEnsemble, type Ensemble } from './zookeeper-ensemble.js';

export const CLUSTER = 'demo';
export const REPOSITORY = 'local';

export interface CliResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export interface RigOptions {
  dir: string;
  /** @default 2 */
  shards?: number;
  /** @default 1 */
  keepers?: 1 | 3;
  ui?: boolean;
  policies?: Record<string, unknown>;
  /** More of the cluster's entry in recovery.yaml. */
  backups?: Record<string, unknown>;
}

export type Rig = Awaited<ReturnType<typeof startRig>>;
export type ServersRig = Awaited<ReturnType<typeof startServersRig>>;
export type ExternalRig = Awaited<ReturnType<typeof startExternalRig>>;
/** What scenarios that are the same everywhere may use. */
export type AnyRig = Rig | ServersRig | ExternalRig;

/** A worker that is told to stop waits for its activities; a test does not. In milliseconds. */
const WORKER_GRACE_MS = 1_000;

/** Of all rigs. A command that waits for a workflow would outlive us, and keep trying to reach a Temporal that is gone. */
const runningCommands = new Set<ChildProcess>();
process.on('exit', () => runningCommands.forEach((command) => command.kill('SIGKILL')));

interface Systems<Cluster, KeeperKind> {
  ensemble: KeeperKind;
  cluster: Cluster;
}

type StartSystems<Cluster, KeeperKind> = (options: RigOptions) => Promise<Systems<Cluster, KeeperKind>>;

/** A ZooKeeper ensemble of ours, and a cluster on it. Where the cluster does not start, the ensemble is stopped again. */
const withEnsemble =
  <Cluster>(
    startCluster: (options: {
      dir: string;
      keeperHosts: readonly string[];
      shards: number;
      clusterName: string;
    }) => Promise<Cluster>,
  ): StartSystems<Cluster, Ensemble> =>
  async ({ dir, shards = 2, keepers = 1 }) => {
    const ensemble = await startEnsemble({ dir: join(dir, 'zookeeper'), size: keepers });
    try {
      const place = { dir: join(dir, 'clickhouse'), keeperHosts: ensemble.hosts };
      return { ensemble, cluster: await startCluster({ ...place, shards, clusterName: CLUSTER }) };
    } catch (error) {
      await ensemble.stop();
      throw error;
    }
  };

/** On embedded nodes, one replica a shard. @throws Error where `npm run build` is due, or a part does not start */
export const startRig = (options: RigOptions) => startRigOn(options, withEnsemble(startEmbeddedCluster));

/** On ClickHouse servers that replicate, two replicas a shard. */
export const startServersRig = (options: RigOptions) => startRigOn(options, withEnsemble(startServerCluster));

/** On somebody else's cluster, as it is: `shards` and `keepers` are what it has. */
export const startExternalRig = (options: RigOptions) =>
  startRigOn(options, async () => {
    const cluster = await connectExternalCluster();
    return { cluster, ensemble: cluster.keeper };
  });

/** Side by side. Where one does not start, the other is stopped again. */
async function startParts<Cluster extends TestCluster, KeeperKind extends Keeper>(
  options: RigOptions,
  startSystems: StartSystems<Cluster, KeeperKind>,
): Promise<Systems<Cluster, KeeperKind> & { temporal: TemporalServer }> {
  const [temporal, systems] = await Promise.allSettled([
    startTemporalServer({ dir: join(options.dir, 'temporal'), ui: options.ui ?? false }),
    startSystems(options),
  ]);
  if (temporal.status === 'fulfilled' && systems.status === 'fulfilled')
    return { temporal: temporal.value, ...systems.value };
  if (temporal.status === 'fulfilled') await temporal.value.stop();
  if (systems.status === 'fulfilled') {
    await systems.value.cluster.killAll();
    await systems.value.ensemble.stop();
  }
  throw temporal.status === 'rejected' ? temporal.reason : (systems as PromiseRejectedResult).reason;
}

async function startRigOn<Cluster extends TestCluster, KeeperKind extends Keeper>(
  options: RigOptions,
  startSystems: StartSystems<Cluster, KeeperKind>,
) {
  const { dir, policies = {} } = options;
  const cliPath = join(repoRoot, 'dist/cli.js');
  if (!existsSync(cliPath)) throw new Error(`${cliPath} is missing: run \`npm run build\``);
  mkdirSync(dir, { recursive: true });
  const { temporal, ensemble, cluster } = await startParts(options, startSystems);
  const configPath = join(dir, 'recovery.yaml');
  const entry = cluster.config.clusters[cluster.clusterName]!;
  const native = { [REPOSITORY]: { kind: 'native', to: "Disk('backups', '{cluster}/{shard}/{name}')" } };
  /** Writes recovery.yaml; a worker that runs keeps the one it has read. */
  const configure = ({
    backups = options.backups ?? (cluster.provider === 'external' ? entry.backups : native),
    nodes = entry.nodes,
    cold,
  }: {
    backups?: Record<string, unknown>;
    nodes?: ClusterConfig['nodes'];
    cold?: Record<string, unknown>;
  } = {}) =>
    writeFileSync(
      configPath,
      stringify({
        clusters: { [CLUSTER]: { ...entry, nodes, backups, cold } },
        policies: {
          approval: 'auto',
          heartbeatTimeoutSeconds: 3,
          unavailableDeadlineSeconds: 120,
          sessionTimeoutSeconds: 15,
          ...policies,
        },
        reports: { dir: join(dir, 'reports') },
      }),
    );
  configure();
  const env = { ...process.env, TEMPORAL_ADDRESS: temporal.address, CH_RECOVER_CONFIG: configPath };
  const workers: Child[] = [];
  let started = 0;
  const commands = new Set<ChildProcess>();

  const cli = (...args: string[]): Promise<CliResult> =>
    new Promise((resolve) => {
      const options = { env, maxBuffer: 64 * 1024 * 1024 };
      const command = execFile(process.execPath, [cliPath, ...args], options, (error, stdout, stderr) => {
        commands.delete(command);
        runningCommands.delete(command);
        resolve({ exitCode: error ? (typeof error.code === 'number' ? error.code : 1) : 0, stdout, stderr });
      });
      commands.add(command);
      runningCommands.add(command);
    });

  return {
    dir,
    temporal,
    ensemble,
    cluster,
    configPath,
    configure,
    env,
    nodes: cluster.nodes.map((node) => ({ name: node.name, url: node.url })),
    cli,
    /** All workers so far, also those that ended. */
    workers: workers as readonly Child[],
    /** A worker process, polling. @throws Error with its log where it ends first. `script`: another entry than the product's, such as one with crash points; `options`: of `ch-recover worker`. */
    async startWorker({
      script,
      workerEnv = {},
      options = [],
    }: { script?: string; workerEnv?: Record<string, string>; options?: string[] } = {}): Promise<Child> {
      const name = `worker-${++started}`;
      const args = script === undefined ? [cliPath, 'worker', ...options] : ['--import', 'tsx', script];
      const child = await start({
        name,
        command: process.execPath,
        args,
        cwd: repoRoot,
        logFile: join(dir, `${name}.log`),
        env: { ...env, ...workerEnv },
      });
      workers.push(child);
      const isReady = () => child.logTail(Infinity).includes('worker ready');
      await waitFor(() => isReady() || !child.isRunning(), { what: `${name} to be ready`, deadlineMs: 60_000 });
      if (!isReady()) throw new Error(`${name} ended before it was ready; its log ends with:\n${child.logTail()}`);
      return child;
    },
    /** Every node stopped, ZooKeeper's data wiped, the nodes of `lostShards` (by index) without their data. */
    async disaster({
      keeper = true,
      lostShards = [],
    }: { keeper?: boolean; lostShards?: number[] } = {}): Promise<void> {
      await cluster.killAll();
      if (keeper) {
        await ensemble.stop();
        await ensemble.wipe();
        await ensemble.start();
      }
      for (const shard of lostShards) await cluster.wipeNodeData(shard);
      await cluster.startAll();
    },
    /** Stops everything, workers first: one whose systems are gone keeps trying. */
    async stop(): Promise<void> {
      commands.forEach((command) => command.kill('SIGKILL'));
      await Promise.all(workers.map((worker) => stop(worker, WORKER_GRACE_MS)));
      if (cluster.provider === 'external') return temporal.stop();
      // Killed: an embedded node that holds replicated tables takes 8 s to stop, and nobody reads its data again.
      await cluster.killAll();
      await Promise.all([ensemble.stop(), temporal.stop()]);
    },
  };
}
