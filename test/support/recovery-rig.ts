/**
 * Everything a recovery needs, for real: Temporal, a ZooKeeper ensemble, embedded ClickHouse nodes, recovery.yaml and
 * the product's own command line. Scenarios and the demo are written against this.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { startEmbeddedCluster, type EmbeddedCluster } from './embedded-cluster.js';
import { start, waitFor, type Child } from './processes.js';
import { startTemporalServer } from './temporal-server.js';
import { repoRoot } from './tools.js';
import { startEnsemble } from './zookeeper-ensemble.js';

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
}

export type Rig = Awaited<ReturnType<typeof startRig>>;

/** Starts the parts side by side. On failure, what was started ends with this process (see processes.ts). */
export async function startRig({ dir, shards = 2, keepers = 1, ui = false, policies = {} }: RigOptions) {
  mkdirSync(dir, { recursive: true });
  const [temporal, ensemble] = await Promise.all([
    startTemporalServer({ dir: join(dir, 'temporal'), ui }),
    startEnsemble({ dir: join(dir, 'zookeeper'), size: keepers }),
  ]);
  const cluster: EmbeddedCluster = await startEmbeddedCluster({
    dir: join(dir, 'clickhouse'),
    keeperHosts: ensemble.hosts,
    shards,
    clusterName: CLUSTER,
  });
  const configPath = join(dir, 'recovery.yaml');
  const entry = cluster.config.clusters[CLUSTER];
  writeFileSync(
    configPath,
    stringify({
      clusters: {
        [CLUSTER]: {
          ...entry,
          backups: { [REPOSITORY]: { kind: 'native', to: "Disk('backups', '{cluster}/{shard}/{name}')" } },
        },
      },
      policies: { approval: 'auto', heartbeatTimeoutSeconds: 3, unavailableDeadlineSeconds: 120, ...policies },
      reports: { dir: join(dir, 'reports') },
    }),
  );
  const env = { ...process.env, TEMPORAL_ADDRESS: temporal.address, CH_RECOVER_CONFIG: configPath };
  const cliPath = join(repoRoot, 'dist/cli.js');
  let workers = 0;

  const cli = (...args: string[]): Promise<CliResult> =>
    new Promise((resolve) => {
      execFile(process.execPath, [cliPath, ...args], { env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
        resolve({ exitCode: error ? (typeof error.code === 'number' ? error.code : 1) : 0, stdout, stderr });
      });
    });

  return {
    dir,
    temporal,
    ensemble,
    cluster,
    configPath,
    env,
    nodes: cluster.nodes.map((node) => ({ name: node.name, url: node.url })),
    cli,
    /** A worker process, polling. `script`: another entry than the product's, such as one with crash points. */
    async startWorker({
      script,
      workerEnv = {},
    }: { script?: string; workerEnv?: Record<string, string> } = {}): Promise<Child> {
      const name = `worker-${++workers}`;
      const args = script === undefined ? [cliPath, 'worker'] : ['--import', 'tsx', script];
      const child = await start({
        name,
        command: process.execPath,
        args,
        cwd: repoRoot,
        logFile: join(dir, `${name}.log`),
        env: { ...env, ...workerEnv },
      });
      await waitFor(() => child.logTail(50).includes('worker ready') || !child.isRunning(), {
        what: `${name} to be ready`,
        deadlineMs: 60_000,
      });
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
        ensemble.wipe();
        await ensemble.start();
      }
      for (const shard of lostShards) cluster.wipeNodeData(shard);
      await cluster.startAll();
    },
    async stop(): Promise<void> {
      await cluster.stopAll();
      await Promise.all([ensemble.stop(), temporal.stop()]);
    },
  };
}
