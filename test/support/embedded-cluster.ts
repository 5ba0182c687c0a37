/**
 * A cluster of embedded ClickHouse nodes: one replica a shard (a second one never
 * gets its parts: nothing runs its queue), one shared backups directory, each node's data in a directory of its own.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { startEmbeddedNode, type EmbeddedNode, type EmbeddedNodeOptions } from '../../src/embedded/launch.js';

export interface EmbeddedClusterOptions {
  /** Directory for everything the cluster writes. */
  readonly dir: string;
  /** `host:port` of every Keeper; empty for plain MergeTree only. */
  readonly keeperHosts: readonly string[];
  /** @default 3 */
  readonly shards?: number;
  /** Name in the configuration, and the value of the macro `cluster`. @default 'embedded' */
  readonly clusterName?: string;
  /** Passed on to every node. */
  readonly node?: Partial<Pick<EmbeddedNodeOptions, 'user' | 'password' | 'sessions' | 'keeperSessionTimeoutMs'>>;
  /** Environment variable that holds the password for those who read `config`; needed with `node.password`. */
  readonly passwordEnv?: string;
}

/** The part of recovery.yaml that describes the cluster. */
export interface EmbeddedClusterConfig {
  readonly clusters: Record<
    string,
    {
      readonly keeper: { readonly hosts: string[] };
      readonly nodes: {
        readonly name: string;
        readonly shard: string;
        readonly replica: string;
        readonly url: string;
        readonly user?: string;
        readonly password?: { readonly env: string };
      }[];
      readonly backups: Record<string, { readonly kind: 'native'; readonly to: string }>;
    }
  >;
}

export interface EmbeddedCluster {
  readonly nodes: readonly EmbeddedNode[];
  readonly config: EmbeddedClusterConfig;
  readonly backupsDir: string;
  stopAll(): Promise<void>;
  killAll(): Promise<void>;
  /** Starts those that do not run, one after the other. */
  startAll(): Promise<void>;
  /** Deletes a stopped node's data directory, not its backups. @throws Error when the node runs */
  wipeNodeData(index: number): void;
}

/** @throws Error with a node's stderr; the nodes already started are killed first */
export async function startEmbeddedCluster(options: EmbeddedClusterOptions): Promise<EmbeddedCluster> {
  const clusterName = options.clusterName ?? 'embedded';
  const backupsDir = join(options.dir, 'backups');
  mkdirSync(backupsDir, { recursive: true });
  const nodes: EmbeddedNode[] = [];
  try {
    for (let i = 0; i < (options.shards ?? 3); i += 1) {
      nodes.push(
        await startEmbeddedNode({
          ...options.node,
          name: nodeName(i),
          dataDir: join(options.dir, nodeName(i), 'data'),
          backupsDir,
          keeperHosts: options.keeperHosts,
          macros: { cluster: clusterName, shard: shardName(i), replica: 'r1' },
          exitWithParent: true,
        }),
      );
    }
  } catch (cause) {
    await Promise.all(nodes.map((node) => node.kill()));
    throw cause;
  }
  return {
    nodes,
    config: describe(clusterName, nodes, options),
    backupsDir,
    stopAll: async () => void (await Promise.all(nodes.map((node) => node.stop()))),
    killAll: async () => void (await Promise.all(nodes.map((node) => node.kill()))),
    startAll: async () => {
      for (const node of nodes) if (!node.running) await node.restart();
    },
    wipeNodeData: (index) => {
      const node = nodes[index];
      if (node === undefined) throw new Error(`no node ${index}`);
      if (node.running) throw new Error(`node ${node.name} is running: stop it before its data is wiped`);
      rmSync(node.dataDir, { recursive: true, force: true });
    },
  };
}

function describe(
  clusterName: string,
  nodes: readonly EmbeddedNode[],
  options: EmbeddedClusterOptions,
): EmbeddedClusterConfig {
  const user = options.node?.user;
  const account = {
    ...(user === undefined ? {} : { user }),
    ...(options.passwordEnv === undefined ? {} : { password: { env: options.passwordEnv } }),
  };
  return {
    clusters: {
      [clusterName]: {
        keeper: { hosts: [...options.keeperHosts] },
        nodes: nodes.map((node, i) => ({
          name: node.name,
          shard: shardName(i),
          replica: 'r1',
          url: node.url,
          ...account,
        })),
        backups: { nightly: { kind: 'native', to: "Disk('backups', '{cluster}/{shard}/{name}')" } },
      },
    },
  };
}

function nodeName(index: number): string {
  return `node${index + 1}`;
}

function shardName(index: number): string {
  return String(index + 1).padStart(2, '0');
}
