/** What a scenario has: a cluster of one provider with everything a recovery needs, what was in it, and ways to break it. */
import { expect } from 'vitest';
import type { Report } from '../../src/domain/report.js';
import { createBackup, type BackupServer } from './clickhouse-backup.js';
import { createDataset } from './dataset.js';
import { loseDisk, startBackupServers } from './live-backups.js';
import { createLiveDataset } from './live-dataset.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from './oracle.js';
import { scratchDir, waitFor } from './processes.js';
import {
  CLUSTER,
  REPOSITORY,
  startExternalRig,
  startRig,
  startServersRig,
  type AnyRig,
  type ExternalRig,
  type RigOptions,
  type ServersRig,
} from './recovery-rig.js';
import { startWriter, type Writer, type WriterOptions } from './writer.js';
import type { Capability, Provider, TestNode } from './test-cluster.js';

export interface SceneOptions extends Pick<RigOptions, 'shards' | 'keepers' | 'policies'> {
  /** `full`: all kinds of tables that the provider can hold. @default 'small' */
  size?: 'small' | 'full';
  /** Whether something can take backups. @default false */
  backups?: boolean;
  /** @default true */
  worker?: boolean;
}

/** A table whose ZooKeeper session expired looks for a new one every 10 s. */
const SETTLE_MS = 60_000;

/** How the providers differ. */
interface Ways {
  live: boolean;
  start(options: RigOptions): Promise<AnyRig>;
  fill(rig: AnyRig, size: 'small' | 'full'): Promise<void>;
  startBackups(rig: AnyRig): Promise<BackupServer[]>;
  /** Gives its name as `ch-recover start --backup` takes it. */
  backUp(rig: AnyRig, name: string, servers: readonly BackupServer[]): Promise<string>;
  /** Keeper comes back without its data. */
  restartKeeperEmpty(rig: AnyRig): Promise<void>;
  /** Keeper comes back as it was. */
  resumeKeeper(rig: AnyRig): Promise<void>;
  /** The node was killed, and comes back without all that it stored but its backups. */
  loseDisk(rig: AnyRig, node: number): Promise<void>;
  /** The table is dropped on one node, whatever that leaves in Keeper. */
  dropTable(table: string, scene: Scene): string[];
}

const firstReplicas = (nodes: readonly TestNode[]) =>
  nodes.flatMap((node, i) => (nodes.findIndex(({ shard }) => shard === node.shard) === i ? [i] : []));

const EMBEDDED: Ways = {
  live: false,
  start: startRig,
  fill: (rig) => createDataset(rig.nodes, 'small'),
  startBackups: async () => [],
  backUp: async (rig, name) => {
    const result = await rig.cli('backup', '--cluster', CLUSTER, '--to', REPOSITORY, '--name', name, '--wait');
    expect(result.exitCode, result.stderr).toBe(0);
    return `${REPOSITORY}/${name}`;
  },
  // An embedded node keeps a lost session; a server's process is what comes back.
  restartKeeperEmpty: (rig) => rig.disaster(),
  resumeKeeper: async (rig) => {
    await rig.ensemble.start();
    await rig.cluster.killAll();
    await rig.cluster.startAll();
  },
  loseDisk: async (rig, node) => {
    await rig.cluster.killNode(node);
    await rig.cluster.wipeNodeData(node);
    await rig.cluster.startNode(node);
  },
  // It is never active, so it cannot be dropped as what it is.
  dropTable: (table) => [
    `DETACH TABLE ${table} SYNC`,
    `ATTACH TABLE ${table} AS NOT REPLICATED`,
    `DROP TABLE ${table} SYNC`,
  ],
};

const SERVERS: Ways = {
  live: true,
  start: startServersRig,
  fill: (rig, size) => createLiveDataset(rig.cluster.nodes, { clusterName: rig.cluster.clusterName, size }),
  startBackups: (rig) => startBackupServers(rig as ServersRig),
  backUp: async (rig, name, servers) => {
    for (const node of firstReplicas(rig.cluster.nodes)) await servers[node]!.create(name, 'shop.*');
    return `cb/${name}`;
  },
  // Under running servers: 18.16.1 does not start without its tables' metadata.
  restartKeeperEmpty: async ({ ensemble }) => {
    await ensemble.stop();
    await ensemble.wipe();
    await ensemble.start();
  },
  resumeKeeper: ({ ensemble }) => ensemble.start(),
  loseDisk: (rig, node) => loseDisk(rig as ServersRig, node),
  dropTable: (table, { can }) => [`DROP TABLE ${table}${can('atomicDatabases') ? ' SYNC' : ''}`],
};

const EXTERNAL: Ways = {
  ...SERVERS,
  start: async (options) => {
    const rig = await startExternalRig(options);
    await startOver(rig);
    return rig;
  },
  startBackups: async () => [],
  backUp: async (rig, name) => {
    const { backups = {}, nodes } = (rig as ExternalRig).cluster.config.clusters[rig.cluster.clusterName]!;
    const [[repository, backup] = []] = Object.entries(backups as Record<string, ExternalBackups>);
    if (repository === undefined || backup === undefined) throw new Error('E2E_RECOVERY_YAML names no `backups`');
    if (backup.kind === 'native') {
      const result = await rig.cli('backup', '--cluster', CLUSTER, '--to', repository, '--name', name, '--wait');
      expect(result.exitCode, result.stderr).toBe(0);
    } else {
      const urls = firstReplicas(rig.cluster.nodes).map((node) => backup.api?.[nodes[node]!.name]);
      const password = process.env[backup.password?.env ?? ''] ?? '';
      for (const url of urls) await createBackup({ url: url ?? '', user: backup.user ?? '', password }, name, 'shop.*');
    }
    return `${repository}/${name}`;
  },
  loseDisk: EMBEDDED.loseDisk,
};

interface ExternalBackups {
  kind: string;
  api?: Record<string, string>;
  user?: string;
  password?: { env: string };
}

/** Whatever the last scenario left there, in whatever state. */
async function startOver({ cluster, ensemble }: ExternalRig): Promise<void> {
  await cluster.killAll();
  await ensemble.stop();
  await ensemble.wipe();
  for (const node of cluster.nodes.keys()) await cluster.wipeNodeData(node);
  await ensemble.start();
  await cluster.startAll();
}

const WAYS: Record<Provider, Ways> = { embedded: EMBEDDED, servers: SERVERS, external: EXTERNAL };

export class Scene {
  /** Of the cluster when it was whole. */
  before: Snapshot = new Map();
  readonly live: boolean;
  readonly #ways: Ways;
  readonly #scratch = scratchDir('scene');
  #rig: AnyRig | null = null;
  #backupServers: BackupServer[] = [];
  readonly #writers: Writer[] = [];

  constructor(readonly provider: Provider) {
    this.#ways = WAYS[provider];
    this.live = this.#ways.live;
  }

  get rig(): AnyRig {
    if (this.#rig === null) throw new Error('the scene is not set up');
    return this.#rig;
  }
  get nodes(): readonly TestNode[] {
    return this.rig.cluster.nodes;
  }
  /** Indexes of the nodes of a shard, by its own index. */
  shard(index: number): number[] {
    const names = [...new Set(this.nodes.map(({ shard }) => shard))];
    return this.nodes.flatMap((node, i) => (node.shard === names[index] ? [i] : []));
  }
  readonly can = (capability: Capability): boolean => this.rig.cluster.capabilities.has(capability);

  /** The cluster with its data, seen by the oracle, and a worker. */
  async setUp({ size = 'small', backups = false, worker = true, ...options }: SceneOptions = {}): Promise<void> {
    this.#rig = await this.#ways.start({ dir: this.#scratch.path, ...options, ...this.#repositories() });
    await this.#ways.fill(this.rig, size);
    this.before = await this.snapshot();
    expect(compareSnapshots(this.before, this.before), 'the cluster is whole').toEqual([]);
    if (backups) this.#backupServers = await this.#ways.startBackups(this.rig);
    if (worker) await this.rig.startWorker();
  }
  #repositories = () => (this.provider === 'servers' ? { backups: {} } : {});

  /** `ch-recover start … --wait`, to its report. */
  async recover(...args: string[]): Promise<{ exitCode: number; report: Report }> {
    const command = ['start', '--cluster', CLUSTER, '--yes', '--wait', '--json', ...args];
    const { exitCode, stdout, stderr } = await this.rig.cli(...command);
    expect(stdout, stderr).toMatch(/^\{/);
    return { exitCode, report: JSON.parse(stdout) as Report };
  }

  snapshot = () => takeSnapshot({ nodes: this.nodes, keeperHosts: this.rig.ensemble.hosts, live: this.live });
  /**
   * Merges begin as soon as a fence is lifted: queues are waited for, and parts that were merged between the look at a
   * server and the one at ZooKeeper; what else differs is not.
   */
  async differences(): Promise<string[]> {
    let found: string[] = [];
    const look = async () => {
      found = compareSnapshots(this.before, await this.snapshot());
      return !this.live || !found.some((line) => / has \d+ entries in its queue$|: ZooKeeper lists other/.test(line));
    };
    await waitFor(look, { what: 'the queues', deadlineMs: SETTLE_MS }).catch(() => undefined);
    return found;
  }
  /** The cluster is what it was, at once or, where replicas still come back, soon. */
  async expectAsBefore(): Promise<void> {
    if (this.live)
      await waitFor(async () => (await this.differences()).length === 0, {
        what: 'the cluster as it was',
        deadlineMs: SETTLE_MS,
      }).catch(() => undefined);
    expect(await this.differences()).toEqual([]);
  }

  /** Sends a statement to a node; gives the answer's text. @throws Error with the server's error */
  async ask(node: number, sql: string): Promise<string> {
    const { url, user = 'default', password = '' } = this.nodes[node]!;
    const headers = { 'X-ClickHouse-User': user, 'X-ClickHouse-Key': password };
    const answer = await fetch(url, { method: 'POST', body: sql, headers });
    const text = (await answer.text()).trim();
    if (!answer.ok) throw new Error(text.slice(0, 300));
    return text;
  }

  backUp = (name: string) => this.#ways.backUp(this.rig, name, this.#backupServers);
  loseKeeper = () => this.#ways.restartKeeperEmpty(this.rig);
  stopKeeper = () => this.rig.ensemble.stop();
  resumeKeeper = () => this.#ways.resumeKeeper(this.rig);
  loseDisk = (node: number) => this.#ways.loseDisk(this.rig, node);
  /** On all nodes of the shard. */
  async loseTable(shard: number, table: string): Promise<void> {
    for (const node of this.shard(shard))
      for (const sql of this.#ways.dropTable(table, this)) await this.ask(node, sql);
  }

  /** One that goes on whatever happens to the cluster, until it is stopped. */
  startWriter(options: WriterOptions): Writer {
    const writer = startWriter(options);
    this.#writers.push(writer);
    return writer;
  }

  async close(): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.stop()));
    await Promise.all(this.#backupServers.map((server) => server.stop()));
    await this.#rig?.stop();
    this.#scratch.remove();
  }
}

/** The tables that a recovery did not get back, for the message of a failed test. */
export const failedTables = (report: Report) =>
  [report, ...report.tables].flatMap((each) =>
    each.problem
      ? [
          `${'table' in each ? `${each.table}@${each.shard}/${each.replica}: ` : ''}${each.problem.code} ${each.problem.message}`,
        ]
      : [],
  );
