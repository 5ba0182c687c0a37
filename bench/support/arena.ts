/**
 * Temporal, ZooKeeper and nodes with so many tables, as often as a side needs them: what was on the disks once they were
 * filled is kept beside, and put back before each run.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { MAX_STATEMENTS } from '../../src/activities/unit.js';
import { DEFAULT_POLICY } from '../../src/domain/policy.js';
import type { Child } from '../../test/support/processes.js';
import { startRig, type Rig, type RigOptions } from '../../test/support/recovery-rig.js';
import { fillEmbedded, type TablesOptions } from './tables.js';

export interface Arena {
  rig: Rig;
  client: Client;
  /** Statements that the other side sends at once to a node, as the product does. */
  lanes: number;
  /** Every node with these tables, read-only, and ZooKeeper without anything. */
  reset(tables: TablesOptions): Promise<void>;
  /** Every node and ZooKeeper without anything; backups stay. */
  empty(): Promise<void>;
  stop(): Promise<void>;
}

/** What the product's users get; the rig's own are for tests that cannot wait. */
export const POLICIES = {
  heartbeatTimeoutSeconds: DEFAULT_POLICY.heartbeatTimeoutSeconds,
  lanesPerNode: DEFAULT_POLICY.lanesPerNode,
};

export type ArenaOptions = Pick<RigOptions, 'dir' | 'shards' | 'backups'> & { policies?: Record<string, unknown> };

/** Embedded nodes, one replica a shard. */
export async function startArena({ policies = {}, ...options }: ArenaOptions): Promise<Arena> {
  const rig = await startRig({ ...options, policies: { ...POLICIES, ...policies } });
  const connection = await Connection.connect({ address: rig.temporal.address });
  const kept = (key: string, name: string) => join(options.dir, 'kept', key, name);

  const wipe = async () => {
    await rig.cluster.killAll();
    await rig.ensemble.stop();
    rig.ensemble.wipe();
    rig.cluster.nodes.forEach((_, index) => rig.cluster.wipeNodeData(index));
  };
  const start = async () => {
    await rig.ensemble.start();
    await Promise.all(rig.cluster.nodes.map((_, index) => rig.cluster.startNode(index)));
  };
  const fill = async (key: string, tables: TablesOptions) => {
    await wipe();
    await start();
    await fillEmbedded(rig.cluster.nodes, tables);
    // Killed, not stopped: what was written is on the disk, and an embedded node takes its time to stop.
    await rig.cluster.killAll();
    for (const { name, dataDir } of rig.cluster.nodes) {
      mkdirSync(join(options.dir, 'kept', key), { recursive: true });
      copy(dataDir, kept(key, name));
    }
  };

  return {
    rig,
    client: new Client({ connection }),
    lanes: MAX_STATEMENTS,
    reset: async (tables) => {
      const key = JSON.stringify(tables).replace(/\W+/g, '-');
      if (!existsSync(join(options.dir, 'kept', key))) await fill(key, tables);
      await wipe();
      for (const { name, dataDir } of rig.cluster.nodes) copy(kept(key, name), dataDir);
      execFileSync('sync', ['-f', options.dir]);
      await start();
    },
    empty: async () => {
      await wipe();
      execFileSync('sync', ['-f', options.dir]);
      await start();
    },
    stop: async () => {
      await connection.close();
      await rig.stop();
    },
  };
}

export function copy(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  execFileSync('cp', ['-a', from, to]);
}

/** SIGTERM lets a worker finish what it does; one whose run has ended does nothing. */
export async function stopWorkers(workers: readonly Child[]): Promise<void> {
  for (const worker of workers) worker.signal('SIGTERM');
  await Promise.all(
    workers.map(async (worker) => {
      await Promise.race([worker.exited, delay(3_000)]);
      worker.signal('SIGKILL');
      await worker.exited;
    }),
  );
}
