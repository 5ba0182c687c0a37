/** What the demo shows on which kind of cluster: what is there, what is lost, and what cannot come back. */
import { createDataset } from '../test/support/dataset.js';
import { loseDisk } from '../test/support/live-backups.js';
import { createLiveDataset } from '../test/support/live-dataset.js';
import {
  CLUSTER,
  REPOSITORY,
  startRig,
  startServersRig,
  type Rig,
  type RigOptions,
  type ServersRig,
} from '../test/support/recovery-rig.js';
import type { DemoProvider } from './arguments.js';

export type DemoRig = Rig | ServersRig;

/** One provider's cluster, started, with the steps of the show on it. */
export interface Show {
  rig: DemoRig;
  /** Its replicas become active and hold the same, and the oracle asks for that. */
  live: boolean;
  dataset: string;
  fill(): Promise<void>;
  /** Arguments of `ch-recover backup`; null: the survivors are the backup. */
  backup: string[] | null;
  disaster: string;
  lose(): Promise<void>;
  /** Of `ch-recover start`, after `--cluster`. */
  startArguments: string[];
  /** Tables that nobody has a copy of: the report must warn of them. */
  lostForGood: { node: string; database: string; table: string }[];
}

interface Stage {
  title: string;
  start(options: Pick<RigOptions, 'dir' | 'ui'>): Promise<Show>;
}

export const STAGES: Record<DemoProvider, Stage> = {
  embedded: {
    title: 'starting Temporal, a ZooKeeper ensemble of three and three ClickHouse 26.7 nodes',
    start: async (options) => {
      const rig = await startRig({ ...options, shards: 3, keepers: 3 });
      return {
        rig,
        live: false,
        dataset: 'creating three databases of replicated tables on each of three shards',
        fill: () => createDataset(rig.nodes, 'demo'),
        backup: ['--to', REPOSITORY],
        disaster:
          "disaster: every node stopped, ZooKeeper's data wiped, the data of shard 02 deleted, nodes started again",
        lose: () => rig.disaster({ lostShards: [1] }),
        startArguments: ['--backup', 'latest'],
        lostForGood: [],
      };
    },
  },
  servers: {
    title: 'starting Temporal, a ZooKeeper ensemble of three and four ClickHouse servers, 2 shards x 2 replicas',
    start: async (options) => {
      const rig = await startServersRig({ ...options, shards: 2, keepers: 3, backups: {} });
      const [victim] = rig.cluster.shardNodes(1).slice(-1) as [number];
      const name = rig.cluster.nodes[victim]!.name;
      return {
        rig,
        live: true,
        dataset: 'creating two databases of replicated tables, written to both replicas of each shard',
        fill: () => createLiveDataset(rig.cluster.nodes, { clusterName: CLUSTER }),
        backup: null,
        disaster: `disaster: the disk of ${name} deleted, ZooKeeper's data wiped while all four servers run`,
        lose: async () => {
          await loseDisk(rig, victim);
          await rig.ensemble.stop();
          rig.ensemble.wipe();
          await rig.ensemble.start();
        },
        startArguments: [],
        // Not replicated: each server has rows of its own.
        lostForGood: ['local', 'notes'].map((table) => ({ node: name, database: 'shop', table })),
      };
    },
  },
};
