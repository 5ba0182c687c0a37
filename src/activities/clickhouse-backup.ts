import { toBackupContents } from '../domain/clickhouse-backup.js';
import { RecoveryError } from '../domain/errors.js';
import type { BackupContents } from '../domain/manifest.js';
import { tableKey, type TableName } from '../domain/names.js';
import type { PlanItem } from '../domain/plan.js';
import { shardsOf } from '../domain/topology.js';
import type { ClickHouseBackupRepository, ClusterPorts, Ports } from '../ports.js';
import * as queries from './queries.js';
import type { RestoredData } from './restore-data.js';
import { pause, type StepContext } from './runtime.js';
import type { Unit } from './unit.js';

/** The newest backup that a node of every shard has and that is not broken. */
export async function latestOfClickHouseBackup(
  cluster: ClusterPorts,
  repository: ClickHouseBackupRepository,
): Promise<string> {
  const shards: Map<string, string>[] = [];
  for (const members of shardsOf(cluster.topology).values()) {
    const found = new Map<string, string>();
    for (const { name } of members.filter((member) => repository.nodes.includes(member.name)))
      for (const backup of await repository.on(name).list())
        if (backup.location === 'local' && backup.broken === null) found.set(backup.name, backup.created);
    shards.push(found);
  }
  const [first = new Map<string, string>(), ...others] = shards;
  const newest = [...first]
    .filter(([name]) => others.every((shard) => shard.has(name)))
    .sort(([, a], [, b]) => (a < b ? 1 : -1))[0];
  if (!newest)
    throw new RecoveryError('BACKUP_UNKNOWN', `no local backup of ${repository.name} is on a node of every shard`, {
      field: 'backup',
      objects: shards.flatMap((shard) => [...shard.keys()]).slice(0, 20),
    });
  return newest[0];
}

/** What a backup holds for one shard: of the first node of the shard that has it. */
export async function inspectClickHouseBackup(
  cluster: ClusterPorts,
  repository: ClickHouseBackupRepository,
  backup: string,
  members: string[],
): Promise<BackupContents> {
  const seen: string[] = [];
  for (const node of members.filter((member) => repository.nodes.includes(member))) {
    const api = repository.on(node);
    const listed = await api.list();
    seen.push(...listed.map((each) => `${node}: ${each.name} (${each.location}${each.broken ? ', broken' : ''})`));
    if (!listed.some((each) => each.name === backup && each.location === 'local' && each.broken === null)) continue;
    const manifest = await api.manifest(backup, await backupFolder(cluster, node));
    if (!manifest)
      throw new RecoveryError(
        'MANIFEST_INVALID',
        `the metadata of ${backup} on ${node} cannot be read: set backups.${repository.name}.metadata.${node} to the folder of its backups as the worker sees it`,
        { field: 'backup', objects: [node] },
      );
    return toBackupContents(manifest, {
      repository: repository.name,
      node,
      destination: repository.describe(node, backup),
    });
  }
  throw new RecoveryError('BACKUP_UNKNOWN', `no node of the shard has the local backup ${backup}, or it is broken`, {
    field: 'backup',
    objects: seen.slice(0, 20),
  });
}

/** Where clickhouse-backup keeps local backups: beside the server's data. */
async function backupFolder(cluster: ClusterPorts, node: string): Promise<string | undefined> {
  const [row] = await cluster.node(node).query<{ path: string }>(queries.SERVER_PATH);
  const root = /^(.*?)\/(?:metadata|store)\//.exec(row?.path ?? '')?.[1];
  return root === undefined ? undefined : `${root}/backup`;
}

const POLL_MS = 300;
const MAX_FAILED = 3;

/**
 * Data of one table by clickhouse-backup, into the staging twin. A restore on top of another would double rows, so each
 * try is at a table of its own: its id has the time in it when that table was made.
 */
export async function restoreByClickHouseBackup(
  ports: Ports,
  cluster: ClusterPorts,
  item: PlanItem,
  unit: Unit,
  context: StepContext,
): Promise<RestoredData> {
  const order = item.restore;
  const repository = cluster.repositories.find((each) => each.name === order?.repository);
  if (!order || repository?.kind !== 'clickhouse-backup')
    throw new RecoveryError('BACKUP_UNKNOWN', `${tableKey(item)}: its backup repository is not in the configuration`);
  const api = repository.on(item.node.name);
  const { target } = order.names;
  const isStaging = target.table === unit.clone('staging');
  let failed = 0;
  for (;;) {
    const { clone, staging } = await unit.digests();
    // A complete clone was verified; a staging table under another name than the target was restored to the end.
    if (clone) return { rows: clone.rows, parts: clone.parts };
    if (staging && !isStaging) return { rows: staging.rows, parts: staging.parts };
    const made = await madeAt(unit, target);
    if (made === null) {
      await unit.send('create-target');
      await unit.fenceTable(target);
      continue;
    }
    const id = `${ports.sha256(`${cluster.topology.cluster}/${item.node.name}/${tableKey(item)}`).slice(0, 16)}_${made.id}`;
    const operation = await api.restore(id, { signal: context.signal });
    context.progress({ table: tableKey(item), step: 'restore', state: operation.state });
    switch (operation.state) {
      case 'success':
        if (isStaging) return { rows: staging?.rows ?? 0, parts: staging?.parts ?? 0 };
        await unit.send('rename-target');
        continue;
      case 'running':
        await pause(POLL_MS, context.signal);
        context.assertFresh();
        continue;
      case 'error':
        if (++failed >= MAX_FAILED)
          throw new RecoveryError(
            'RESTORE_FAILED',
            `${tableKey(item)}: clickhouse-backup: ${operation.error}`.slice(0, 500),
            {
              objects: [tableKey(item)],
            },
          );
        await unit.send('drop-target');
        continue;
      case 'busy':
      case 'unknown':
        // Something was attached, or may still be: never on top of it.
        if (made.parts > 0 || operation.cancelled) {
          await unit.send('drop-target');
          continue;
        }
        await unit.proveFence();
        context.assertFresh();
        await api.startRestore({ id, backup: order.backup, names: order.names }, { signal: context.signal });
    }
  }
}

async function madeAt(unit: Unit, name: TableName): Promise<{ id: string; parts: number } | null> {
  const [row] = await unit.node.query<{ id: string; parts: string }>(queries.MADE_AT, { params: { ...name } });
  return row ? { id: row.id, parts: Number(row.parts) } : null;
}
