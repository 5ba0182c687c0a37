import type { Client } from '@temporalio/client';
import { RecoveryError } from '../domain/errors.js';
import { lockId } from '../domain/messages.js';
import { RunFinder } from './runs.js';
import { translated } from './temporal-errors.js';

const TIMEOUT_MS = 10_000;

/**
 * Which recovery a cluster has now, waiting for approval included. The lock tells at once; Temporal's list, which knows
 * of those that have no lock yet, is some moments behind.
 */
export function openRecoveryOn(client: Client): (cluster: string) => Promise<string | null> {
  const finder = new RunFinder(client, TIMEOUT_MS);
  return async (cluster) => {
    if (await isRunning(client, lockId(cluster))) return lockId(cluster);
    const matches = ({ request }: { request: { cluster: string } | null }) => request?.cluster === cluster;
    return (await finder.list({ open: true, limit: 1, matches }))[0]?.id ?? null;
  };
}

async function isRunning(client: Client, id: string): Promise<boolean> {
  try {
    const described = await translated(() =>
      client.withDeadline(Date.now() + TIMEOUT_MS, () => client.workflow.getHandle(id).describe()),
    );
    return described.status.name === 'RUNNING';
  } catch (error) {
    if (error instanceof RecoveryError && error.code === 'WORKFLOW_UNKNOWN') return false;
    throw error;
  }
}
