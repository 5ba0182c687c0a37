/** clickhouse-backup beside every server of a rig, and disks that are lost but for its backups. */
import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { startBackupServer, type BackupServer } from './clickhouse-backup.js';
import type { ServersRig } from './recovery-rig.js';

/** One a node, in their order; recovery.yaml knows them as the repository `cb`. */
export async function startBackupServers(rig: ServersRig): Promise<BackupServer[]> {
  const servers: BackupServer[] = [];
  const api: Record<string, string> = {};
  for (const { name, tcpPort } of rig.cluster.nodes) {
    const server = await startBackupServer({ dir: join(rig.dir, `backup-${name}`), tcpPort });
    servers.push(server);
    api[name] = server.url;
  }
  rig.configure({ backups: { cb: { kind: 'clickhouse-backup', api } } });
  return servers;
}

/** The server is killed and comes back without all that it stored, but for its backups: they are in its data folder. */
export async function loseDisk(rig: ServersRig, node: number): Promise<void> {
  const server = rig.cluster.nodes[node]!;
  const backups = join(server.dir, 'data/backup');
  const aside = join(server.dir, 'backup-aside');
  await rig.cluster.killNode(node);
  const isThere = existsSync(backups);
  if (isThere) renameSync(backups, aside);
  rig.cluster.wipeNodeData(node);
  if (isThere) {
    mkdirSync(dirname(backups), { recursive: true });
    // A copy: files that are hard links to the lost ones would be less than a backup.
    cpSync(aside, backups, { recursive: true });
    rmSync(aside, { recursive: true });
  }
  await rig.cluster.startNode(node);
}
