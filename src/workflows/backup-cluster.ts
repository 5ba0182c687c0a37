import { setCurrentDetails } from '@temporalio/workflow';
import { proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import type { BackupResult } from '../domain/messages.js';
import { parseBackupRequest } from '../domain/request.js';
import { asFailure, problemOf } from './failures.js';

const { listBackupNodes } = proxyActivities<Activities>({
  startToCloseTimeout: '5 seconds',
  retry: { maximumAttempts: 20 },
});
const activities = proxyActivities<Activities>({
  startToCloseTimeout: '24 hours',
  heartbeatTimeout: '15 seconds',
  retry: { initialInterval: '1s', maximumInterval: '10s' },
});

/** Backs up one replica of each shard, manifest last; then enters the backup into the catalogue on every node. */
export async function backupCluster(input: unknown): Promise<BackupResult> {
  try {
    const request = parseBackupRequest(input);
    const takenAt = new Date(Date.now()).toISOString();
    const name = request.name ?? `backup-${takenAt.slice(0, 19).replaceAll(':', '-')}`;
    const run = { cluster: request.cluster, repository: request.to, name, takenAt };
    const nodes = await listBackupNodes(request);
    let done = 0;
    const shards = await Promise.all(
      nodes.map(async (node) => {
        const result = await activities.backupShard.executeWithOptions(
          { summary: `shard ${node.shard} from ${node.name}` },
          [{ run, node }],
        );
        done++;
        setCurrentDetails(`**${request.cluster}: backup ${name}** — ${done} of ${nodes.length} shards`);
        return result;
      }),
    );
    await activities.recordBackup(run);
    const inexact = shards.filter((shard) => shard.exact < shard.tables);
    return {
      cluster: request.cluster,
      repository: request.to,
      name,
      shards,
      warnings: inexact.map(
        (shard) =>
          `shard ${shard.shard}: ${shard.tables - shard.exact} of ${shard.tables} objects have no part hashes in the manifest (views, or inner tables that changed meanwhile)`,
      ),
    };
  } catch (error) {
    throw asFailure(problemOf(error));
  }
}
