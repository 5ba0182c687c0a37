import { RecoveryError } from '../domain/errors.js';
import { checkName, checkPathSegment } from '../domain/names.js';
import { DEFAULT_POLICY, type Policy } from '../domain/policy.js';
import { parseWith } from '../domain/request.js';
import { checkApi, type ApiConfig } from './api.js';
import { checkCold, type ColdConfig } from './cold.js';
import { checkDrills, type DrillConfig } from './drill.js';
import { parseDestination, type DestinationTemplate } from './destination.js';
import { checkReports, type ReportsConfig } from './reports.js';
import {
  configSchema,
  type ClickHouseBackupConfig,
  type KeeperConfig,
  type NodeConfig,
  type RawBackup,
  type RawCluster,
} from './schema.js';

export type BackupConfig = { kind: 'native'; to: DestinationTemplate } | ClickHouseBackupConfig | { kind: 'cold' };

export interface ClusterConfig {
  keeper: KeeperConfig;
  nodes: NodeConfig[];
  backups: Record<string, BackupConfig>;
  /** Null: this cluster has no host agents. */
  cold: ColdConfig | null;
  /** Complete: the defaults, what stands at the top, what the cluster says. */
  policy: Policy;
  /** Drills may restore into it, and drop all that is in it. */
  scratch: boolean;
  /** Of a scratch cluster: object storage disks that are no other servers'. */
  ownDisks: string[];
  drill: DrillConfig | null;
}

/** recovery.yaml, checked and with its defaults. Look names up with `Object.hasOwn`. */
export interface Config {
  clusters: Record<string, ClusterConfig>;
  reports: ReportsConfig;
  api: ApiConfig;
  temporal: { taskQueue?: string; ui?: string };
}

/** Throws RecoveryError `CONFIG_INVALID` with the path of the field. Values are not echoed: they may be secrets. */
export function parseConfig(value: unknown): Config {
  const raw = parseWith(configSchema, value, 'CONFIG_INVALID');
  const names = Object.keys(raw.clusters);
  if (names.length === 0) throw invalid('clusters', 'there is no cluster');
  if (raw.temporal?.ui !== undefined) checkUrl(raw.temporal.ui, 'temporal.ui');
  const drills = checkDrills(raw.clusters);
  return {
    clusters: Object.fromEntries(
      names.map((name) => {
        // It is a part of workflow ids and of backup paths.
        segment(name, 'clusters.<name>');
        const cluster = checkCluster(raw.clusters[name]!, `clusters.${name}`, raw.policies ?? {});
        return [name, { ...cluster, drill: drills.get(name) ?? null }];
      }),
    ),
    reports: checkReports(raw.reports, checkUrl),
    api: checkApi(raw.api, names),
    temporal: raw.temporal ?? {},
  };
}

function checkCluster(raw: RawCluster, field: string, policies: Partial<Policy>): Omit<ClusterConfig, 'drill'> {
  if (raw.ownDisks && !raw.scratch) throw invalid(`${field}.ownDisks`, 'is for clusters with `scratch: true`');
  checkKeeper(raw.keeper, `${field}.keeper`);
  checkNodes(raw.nodes, `${field}.nodes`);
  const backups = Object.entries(raw.backups ?? {}).map(([name, backup]): [string, BackupConfig] => {
    segment(name, `${field}.backups.<name>`);
    if (name === 'latest') throw invalid(`${field}.backups.latest`, 'the name "latest" means the newest backup of all');
    if (backup.kind === 'cold' && !raw.cold)
      throw invalid(`${field}.backups.${name}`, `is read by agents: \`${field}.cold\`, which names them, is missing`);
    return [name, checkBackup(backup, raw.nodes, `${field}.backups.${name}`)];
  });
  return {
    keeper: raw.keeper,
    nodes: raw.nodes,
    backups: Object.fromEntries(backups),
    cold: checkCold(
      raw.cold,
      raw.keeper.hosts,
      raw.nodes.map(({ name: node }) => node),
      `${field}.cold`,
    ),
    policy: { ...DEFAULT_POLICY, ...defined(policies), ...defined(raw.policies ?? {}) },
    scratch: raw.scratch ?? false,
    ownDisks: raw.ownDisks ?? [],
  };
}

function checkKeeper({ hosts, chroot }: KeeperConfig, field: string): void {
  hosts.forEach((host, index) => {
    const port = Number(/^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})$/.exec(host)?.[1]);
    if (!(port >= 1 && port <= 65_535)) throw invalid(`${field}.hosts.${index}`, 'is not host:port');
    if (hosts.indexOf(host) !== index) throw invalid(`${field}.hosts.${index}`, 'is there twice');
  });
  if (chroot !== undefined && !/^(\/[^/\s,\p{Cc}]+)+$/u.test(chroot))
    throw invalid(`${field}.chroot`, 'is not a path such as /clickhouse');
}

function checkNodes(nodes: NodeConfig[], field: string): void {
  const names = new Map<string, number>();
  const replicas = new Map<string, number>();
  nodes.forEach((node, index) => {
    const at = `${field}.${index}`;
    name(node.name, `${at}.name`);
    segment(node.shard, `${at}.shard`);
    name(node.replica, `${at}.replica`);
    checkUrl(node.url, `${at}.url`, node.tls && `${at}.tls`);
    const sameName = names.get(node.name);
    if (sameName !== undefined) throw invalid(`${at}.name`, `node ${sameName} has this name too`);
    names.set(node.name, index);
    const replica = JSON.stringify([node.shard, node.replica]);
    const sameReplica = replicas.get(replica);
    if (sameReplica !== undefined)
      throw invalid(`${at}.replica`, `node ${sameReplica} is the same replica of the same shard`);
    replicas.set(replica, index);
  });
}

function checkUrl(url: string, field: string, tlsField?: string): void {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw invalid(field, 'is not a URL');
  }
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') throw invalid(field, 'is not http or https');
  if (parsed.username !== '' || parsed.password !== '' || url.includes('@'))
    throw invalid(field, 'has credentials: use `user` and `password`');
  // Also an empty one: the client would read settings, and credentials, from a query.
  if (url.includes('?') || url.includes('#')) throw invalid(field, 'has a query or a fragment');
  if (/\s/.test(url)) throw invalid(field, 'has white space');
  if (tlsField !== undefined && parsed.protocol !== 'https:') throw invalid(tlsField, 'is for https, the url is http');
}

function checkBackup(backup: RawBackup, nodes: NodeConfig[], field: string): BackupConfig {
  if (backup.kind === 'cold') return backup;
  if (backup.kind === 'clickhouse-backup') return checkClickHouseBackup(backup, nodes, field);
  const shards = new Set(nodes.map(({ shard }) => shard)).size;
  return { kind: 'native', to: checkDestination(backup.to, shards, `${field}.to`) };
}

function checkClickHouseBackup(
  backup: ClickHouseBackupConfig,
  nodes: NodeConfig[],
  field: string,
): ClickHouseBackupConfig {
  const shards = new Map(nodes.map((node) => [node.name, node.shard]));
  for (const [node, url] of Object.entries(backup.api)) {
    if (!shards.has(node)) throw invalid(`${field}.api`, `${shown(node)} is no node of this cluster`);
    checkUrl(url, `${field}.api.${node}`, backup.tls && `${field}.tls`);
  }
  const covered = new Set(Object.keys(backup.api).map((node) => shards.get(node)));
  const left = [...shards.values()].find((shard) => !covered.has(shard));
  if (left !== undefined)
    throw invalid(`${field}.api`, `there is no node of the shard ${shown(left)}: its data could not be restored`);
  if (backup.password && backup.user === undefined) throw invalid(`${field}.user`, 'is missing: there is a password');
  for (const [node, folder] of Object.entries(backup.metadata ?? {})) {
    if (!Object.hasOwn(backup.api, node)) throw invalid(`${field}.metadata`, `${shown(node)} is not in \`api\``);
    if (!folder.startsWith('/') || folder.split('/').includes('..') || /\p{Cc}/u.test(folder))
      throw invalid(`${field}.metadata.${node}`, 'is not an absolute path');
  }
  return backup;
}

function checkDestination(to: string, shards: number, field: string): DestinationTemplate {
  const destination = parseDestination(to);
  if (typeof destination === 'string') throw invalid(field, destination);
  if (shards > 1 && !destination.path.includes('{shard}'))
    throw invalid(field, '{shard} is missing: the backups of all shards would have one place');
  return destination;
}

/** A key of the file, which may be anything, for people. */
const shown = (key: string) => JSON.stringify(key.slice(0, 100));

const defined = (policy: Partial<Policy>): Partial<Policy> =>
  Object.fromEntries(Object.entries(policy).filter(([, value]) => value !== undefined));

const name = (value: string, field: string) => asConfig(() => checkName(value, field));
const segment = (value: string, field: string) => asConfig(() => checkPathSegment(value, field));

/** The checks of names are those of requests; here it is the configuration that is not valid. */
function asConfig(check: () => void): void {
  try {
    check();
  } catch (cause) {
    if (cause instanceof RecoveryError) throw new RecoveryError('CONFIG_INVALID', cause.message, cause.details);
    throw cause;
  }
}

function invalid(field: string, complaint: string): RecoveryError {
  return new RecoveryError('CONFIG_INVALID', `${field}: ${complaint}`, { field });
}
