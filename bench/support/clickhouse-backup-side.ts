/** What one would use instead on old servers: clickhouse-backup, data on one replica of each shard, then the other's schema. */
import type { BackupServer } from '../../test/support/clickhouse-backup.js';
import { waitFor } from '../../test/support/processes.js';
import type { ServersRig } from '../../test/support/recovery-rig.js';
import { REPLICAS } from './servers-arena.js';
import { DATABASE, expectedOf, mustHold, type TablesOptions } from './tables.js';

const BACKUP = 'bench';
const DEADLINE_MS = 1_200_000;
const LOOK_MS = 50;

export async function takeBackups(servers: readonly BackupServer[]): Promise<void> {
  for (let index = 0; index < servers.length; index += REPLICAS) await servers[index]!.create(BACKUP, `${DATABASE}.*`);
}

async function restore(server: BackupServer, options: string): Promise<void> {
  const [started] = await server.call('POST', `/backup/restore/${BACKUP}${options}`);
  const done = await waitFor(
    async () => {
      const [row] = await server.call('GET', `/backup/status?operationid=${String(started?.['operation_id'])}`);
      return row?.['status'] !== 'in progress' && row;
    },
    { what: 'clickhouse-backup to restore', deadlineMs: DEADLINE_MS, everyMs: LOOK_MS },
  );
  if (done['status'] !== 'success') throw new Error(`clickhouse-backup: ${JSON.stringify(done)}`);
}

/** All shards at once. Until the other replicas have fetched all. */
export async function restoreBackups(
  rig: ServersRig,
  servers: readonly BackupServer[],
  tables: TablesOptions,
): Promise<void> {
  const firsts = servers.flatMap((_, index) => (index % REPLICAS === 0 ? [index] : []));
  await Promise.all(
    firsts.map(async (index) => {
      await restore(servers[index]!, '');
      for (let other = index + 1; other < index + REPLICAS; other++) await restore(servers[other]!, '?schema=true');
    }),
  );
  await waitFor(() => mustHold(rig.cluster.nodes, expectedOf(tables)).then(() => true), {
    ...{ what: 'all replicas to have all parts', deadlineMs: DEADLINE_MS, everyMs: LOOK_MS },
  });
}
