/**
 * A cluster of embedded ClickHouse nodes: one replica a shard (a second one never
 * gets its parts: nothing runs its queue), one shared backups directory, each node's data in a directory of its own.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { startEmbeddedNode, type EmbeddedNode, type EmbeddedNodeOptions } from '../../src/embedded/launch.js';
import type { Capability, ClusterConfig, TestCluster, TestNode } from './test-cluster.js';

export interface EmbeddedClusterOptions {
  /** Directory for everything the cluster writes. */
  readonly dir: string;
  /** `host:port` of every Keeper; empty for plain MergeTree only. */
  readonly keeperHosts: readonly string[];
  /** ZooKeeper path that all paths of the cluster are under. @default none */
  readonly keeperRoot?: string;
  /** @default 3 */
  readonly shards?: number;
  /** Name in the configuration, and the value of the macro `cluster`. @default 'embedded' */
  readonly clusterName?: string;
  /** Passed on to every node. */
  readonly node?: Partial<Pick<EmbeddedNodeOptions, 'user' | 'password' | 'sessions' | 'keeperSessionTimeoutMs'>>;
  /** Environment variable that holds the password for those who read `config`; needed with `node.password`. */
  readonly passwordEnv?: string;
}

/** An embedded node with its place in the cluster. */
export type EmbeddedClusterNode = EmbeddedNode & TestNode;

export interface EmbeddedCluster extends TestCluster {
  readonly provider: 'embedded';
  readonly nodes: readonly EmbeddedClusterNode[];
  readonly backupsDir: string;
  /** Starts those that do not run, one after the other. */
  startAll(): Promise<void>;
  /** Deletes a stopped node's data directory, not its backups. @throws Error when the node runs */
  wipeNodeData(index: number): void;
}

export const EMBEDDED_CAPABILITIES: ReadonlySet<Capability> = new Set([
  'restoreReplica',
  'nativeBackup',
  'atomicDatabases',
]);

/** @throws Error with a node's stderr; the nodes already started are killed first */
export async function startEmbeddedCluster(options: EmbeddedClusterOptions): Promise<EmbeddedCluster> {
  const clusterName = options.clusterName ?? 'embedded';
  const backupsDir = join(options.dir, 'backups');
  mkdirSync(backupsDir, { recursive: true });
  const nodes: EmbeddedClusterNode[] = [];
  try {
    for (let i = 0; i < (options.shards ?? 3); i += 1) {
      const place = { shard: shardName(i), replica: 'r1' };
      const node = await startEmbeddedNode({
        ...options.node,
        name: nodeName(i),
        dataDir: join(options.dir, nodeName(i), 'data'),
        backupsDir,
        keeperHosts: options.keeperHosts,
        ...(options.keeperRoot === undefined ? {} : { keeperRoot: options.keeperRoot }),
        macros: { cluster: clusterName, ...place },
        exitWithParent: true,
      });
      const { user, password } = options.node ?? {};
      const account = { ...(user === undefined ? {} : { user }), ...(password === undefined ? {} : { password }) };
      nodes.push(Object.assign(node, place, account));
    }
  } catch (cause) {
    await Promise.all(nodes.map((node) => node.kill()));
    throw cause;
  }
  const at = (index: number): EmbeddedClusterNode => {
    const node = nodes[index];
    if (node === undefined) throw new Error(`the cluster has no node ${index}`);
    return node;
  };
  const startIfDown = async (node: EmbeddedNode) => {
    if (!node.running) await node.restart();
  };
  return {
    provider: 'embedded',
    capabilities: EMBEDDED_CAPABILITIES,
    clusterName,
    nodes,
    keeperHosts: options.keeperHosts,
    config: { clusters: { [clusterName]: describe(nodes, options) } },
    backupsDir,
    startNode: (index) => startIfDown(at(index)),
    stopNode: async (index) => void (await at(index).stop()),
    killNode: async (index) => void (await at(index).kill()),
    stopAll: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
    killAll: async () => void (await Promise.all(nodes.map((node) => node.kill()))),
    startAll: async () => {
      for (const node of nodes) await startIfDown(node);
    },
    wipeNodeData: (index) => {
      const node = at(index);
      if (node.running) throw new Error(`node ${node.name} is running: stop it before its data is wiped`);
      rmSync(node.dataDir, { recursive: true, force: true });
    },
  };
}

function describe(nodes: readonly EmbeddedClusterNode[], options: EmbeddedClusterOptions): ClusterConfig {
  const user = options.node?.user;
  const account = {
    ...(user === undefined ? {} : { user }),
    ...(options.passwordEnv === undefined ? {} : { password: { env: options.passwordEnv } }),
  };
  return {
    keeper: {
      hosts: [...options.keeperHosts],
      ...(options.keeperRoot === undefined ? {} : { chroot: options.keeperRoot }),
    },
    nodes: nodes.map(({ name, shard, replica, url }) => ({ name, shard, replica, url, ...account })),
    backups: { nightly: { kind: 'native', to: "Disk('backups', '{cluster}/{shard}/{name}')" } },
  };
}

function nodeName(index: number): string {
  return `node${index + 1}`;
}

function shardName(index: number): string {
  return String(index + 1).padStart(2, '0');
}
