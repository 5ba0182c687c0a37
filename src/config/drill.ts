import { z } from 'zod';
import { RecoveryError } from '../domain/errors.js';
import { parseBackupRef } from '../domain/request.js';
import type { KeeperConfig, RawCluster } from './schema.js';

/** The parts `drill` and `scratch` of a cluster in recovery.yaml: into what a drill restores, and what it has to show. */

const MAX_SECONDS = 31_536_000;
const seconds = z.int().min(1).max(MAX_SECONDS);
/** A drill that hangs keeps its schedule from starting the next one: it ends, as a failure. */
const DEFAULT_TIMEOUT_SECONDS = 86_400;

export const drillSchema = z.strictObject({
  target: z.string().min(1).max(206).describe('a cluster of this file with `scratch: true`'),
  backup: z.string().min(1).max(420).describe('"latest" (default), "REPO" (its latest) or "REPO/NAME"').optional(),
  objectives: z.strictObject({
    rtoSeconds: seconds.describe('longest recovery, from its start to the end of validation'),
    rpoSeconds: seconds.describe('greatest age of the newest restored row, or of the backup where rows have no time'),
  }),
  timeoutSeconds: seconds.describe(`then the drill is ended, default ${DEFAULT_TIMEOUT_SECONDS}`).optional(),
});

export interface DrillConfig {
  target: string;
  backup: string;
  objectives: { rtoSeconds: number; rpoSeconds: number };
  timeoutSeconds: number;
}

/**
 * By the name of the source. What the text of the file can show of a target that is production is refused here; what it
 * cannot (two names of one server) the servers are asked before each drill. Throws RecoveryError `CONFIG_INVALID`.
 */
export function checkDrills(clusters: Record<string, RawCluster>): Map<string, DrillConfig> {
  const drills = new Map<string, DrillConfig>();
  for (const [name, source] of Object.entries(clusters)) {
    if (!source.drill) continue;
    const { target, backup = 'latest', objectives, timeoutSeconds = DEFAULT_TIMEOUT_SECONDS } = source.drill;
    checkTarget(source, Object.hasOwn(clusters, target) ? clusters[target] : undefined, `clusters.${name}.drill`);
    checkBackup(source, backup, `clusters.${name}.drill.backup`);
    drills.set(name, { target, backup, objectives, timeoutSeconds });
  }
  return drills;
}

function checkTarget(source: RawCluster, target: RawCluster | undefined, field: string): void {
  if (!target) throw invalid(`${field}.target`, 'is no cluster of this file');
  if (source === target) throw invalid(`${field}.target`, 'is the cluster itself');
  if (source.scratch) throw invalid(field, 'a scratch cluster has no drills: there is nothing in it to recover');
  if (!target.scratch)
    throw invalid(`${field}.target`, 'is not marked: say `scratch: true` there, where all data may be dropped');
  const urls = new Set(source.nodes.map(({ url }) => addressOf(url)));
  const shared = target.nodes.find(({ url }) => urls.has(addressOf(url)));
  if (shared) throw invalid(`${field}.target`, `its node ${shown(shared.name)} has the URL of a node of this cluster`);
  const shards = new Set(target.nodes.map(({ shard }) => shard));
  const left = source.nodes.find(({ shard }) => !shards.has(shard));
  if (left) throw invalid(`${field}.target`, `has no node of the shard ${shown(left.shard)}, which this cluster has`);
  if (sharesKeeper(source.keeper, target.keeper))
    throw invalid(
      `${field}.target`,
      'has the ZooKeeper paths of this cluster: give it a chroot or an ensemble of its own',
    );
}

/** A restore by clickhouse-backup runs beside the nodes that it is configured for: production's. */
function checkBackup(source: RawCluster, backup: string, field: string): void {
  const backups = source.backups ?? {};
  let repository: string | null;
  try {
    ({ repository } = parseBackupRef(backup));
  } catch (cause) {
    throw invalid(field, cause instanceof RecoveryError ? cause.message : 'is no backup');
  }
  if (repository === null) {
    if (Object.values(backups).some(({ kind }) => kind === 'native')) return;
    throw invalid(field, 'this cluster has no backups of the kind native, and a drill restores no others');
  }
  const named = Object.hasOwn(backups, repository) ? backups[repository] : undefined;
  if (!named) throw invalid(field, 'names no backup repository of this cluster');
  if (named.kind !== 'native') throw invalid(field, 'is not of the kind native, and a drill restores no others');
}

/** One ensemble, and the target's root is the source's, or has it below. The other way round, it is apart. */
function sharesKeeper(source: KeeperConfig, target: KeeperConfig): boolean {
  const hosts = new Set(source.hosts.map((host) => host.toLowerCase()));
  if (!target.hosts.some((host) => hosts.has(host.toLowerCase()))) return false;
  return `${source.chroot ?? ''}/`.startsWith(`${target.chroot ?? ''}/`);
}

/** What a connection is made to. Not valid: its own check says so. */
function addressOf(url: string): string {
  try {
    return new URL(url).host;
  } catch {
    return url;
  }
}

const shown = (text: string) => JSON.stringify(text.slice(0, 100));

function invalid(field: string, complaint: string): RecoveryError {
  return new RecoveryError('CONFIG_INVALID', `${field}: ${complaint}`, { field });
}
