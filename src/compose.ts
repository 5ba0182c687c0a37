import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { getClient } from '@temporalio/activity';
import { createClickHouseBackupRepository } from './adapters/backups/clickhouse-backup.js';
import { createColdRepository } from './adapters/backups/cold.js';
import { createNativeRepository } from './adapters/backups/native.js';
import { createNode, type ClosableNode, type NodeConnection } from './adapters/clickhouse/client.js';
import { KeeperBudget, keeperWithin } from './adapters/keeper/budget.js';
import { createKeeper, type ClosableKeeper } from './adapters/keeper/zookeeper.js';
import { createColdStore } from './adapters/reports/cold-store.js';
import type { Documents } from './adapters/reports/documents.js';
import { createDrillStore } from './adapters/reports/drill-store.js';
import { fileDocuments } from './adapters/reports/file-documents.js';
import { createResolver } from './adapters/resolve.js';
import { createPieceStore } from './adapters/reports/piece-store.js';
import { createReportStore } from './adapters/reports/report-store.js';
import { s3Documents } from './adapters/reports/s3-documents.js';
import type { BackupConfig, ClusterConfig, Config } from './config/checks.js';
import type { ReportsConfig } from './config/reports.js';
import type { NodeConfig } from './config/schema.js';
import { resolveSecret } from './config/secrets.js';
import { RecoveryError } from './domain/errors.js';
import { keeperCost } from './domain/keeper-cost.js';
import type { BackupRepository, ClusterPorts, Ports } from './ports.js';
import { openRecoveryOn } from './service/open-recovery.js';

export interface ComposeOptions {
  log: Ports['log'];
  /** Whether the worker could register our search attributes. @default false */
  searchAttributes?: boolean;
}

export interface ClosablePorts extends Ports {
  /** Ends connections and sessions, so that the process can exit. */
  close(): Promise<void>;
}

/** The composition root: wires the adapters to what the configuration names. Nothing connects before its first use. */
export function createPorts(config: Config, { log, searchAttributes = false }: ComposeOptions): ClosablePorts {
  const clusters = new Map<string, Wired>();
  const documents = documentsIn(config.reports);
  return {
    cluster: (name) => {
      const cluster = Object.hasOwn(config.clusters, name) ? config.clusters[name] : undefined;
      if (!cluster)
        throw new RecoveryError(
          'CLUSTER_UNKNOWN',
          `there is no cluster ${JSON.stringify(name.slice(0, 206))} in the configuration`,
        );
      let wired = clusters.get(name);
      if (!wired) clusters.set(name, (wired = wireCluster(name, cluster, log)));
      return wired.ports;
    },
    clusterNames: () => Object.keys(config.clusters),
    reports: createReportStore(documents),
    pieces: createPieceStore(documents),
    drills: createDrillStore(documents),
    coldReports: createColdStore(documents),
    // Asked in activities only.
    recoveryOn: (cluster) => openRecoveryOn(getClient())(cluster),
    searchAttributes,
    resolve: createResolver(),
    sha256: (text) => createHash('sha256').update(text, 'utf8').digest('hex'),
    log,
    close: async () => {
      await Promise.all([...clusters.values()].map((wired) => wired.close()));
    },
  };
}

interface Wired {
  ports: ClusterPorts;
  close(): Promise<void>;
}

function wireCluster(name: string, config: ClusterConfig, log: Ports['log']): Wired {
  const nodes = new Map<string, ClosableNode>();
  for (const node of config.nodes) {
    const { shard, replica } = node;
    if (node.tls?.insecure)
      log.warn({ cluster: name, node: node.name }, 'tls.insecure: the certificate of this node is not checked');
    nodes.set(node.name, createNode({ name: node.name, shard, replica }, connectionOf(node)));
  }
  const keeper: ClosableKeeper = createKeeper(config.keeper);
  const budget = new KeeperBudget(config.policy.maxKeeperRequestsPerSecond);
  const ports: ClusterPorts = {
    topology: { cluster: name, nodes: [...nodes.values()].map(({ ref }) => ref) },
    policy: config.policy,
    cold: config.cold && { ...config.cold, chroot: config.keeper.chroot !== undefined },
    node: (nodeName) => {
      const node = nodes.get(nodeName);
      if (!node)
        throw new RecoveryError('INTERNAL', `cluster ${name} has no node ${JSON.stringify(nodeName.slice(0, 206))}`);
      return node;
    },
    keeper: keeperWithin(budget, keeper),
    pace: (statement) => budget.take(keeperCost(statement)),
    keeperChroot: config.keeper.chroot ?? '',
    endpoint: (nodeName) => addressOf(config.nodes.find(({ name: each }) => each === nodeName)?.url ?? ''),
    scratch: config.scratch,
    ownDisks: config.ownDisks,
    drill: config.drill,
    leaveOut: null,
    repositories: Object.entries(config.backups).map(([repository, backup]) =>
      createRepository(repository, backup, name, log),
    ),
  };
  return {
    ports,
    close: async () => {
      await Promise.all([keeper.close(), ...[...nodes.values()].map((node) => node.close())]);
    },
  };
}

function createRepository(name: string, backup: BackupConfig, cluster: string, log: Ports['log']): BackupRepository {
  if (backup.kind === 'native') return createNativeRepository(name, backup.to, cluster);
  if (backup.kind === 'cold') return createColdRepository(name);
  const { api, metadata, ...access } = backup;
  if (backup.tls?.insecure)
    log.warn({ cluster, repository: name }, 'tls.insecure: the certificates of these APIs are not checked');
  return createClickHouseBackupRepository(
    name,
    Object.entries(api).map(([node, url]) => ({
      node,
      metadata: metadata?.[node],
      ...connectionOf({ url, ...access }),
    })),
  );
}

function documentsIn(config: ReportsConfig): Documents {
  if ('dir' in config) return fileDocuments(config.dir);
  const { credentials, ...location } = config.s3;
  return s3Documents({
    ...location,
    credentials:
      credentials &&
      (() => ({
        accessKeyId: resolveSecret(credentials.accessKeyId),
        secretAccessKey: resolveSecret(credentials.secretAccessKey),
        ...(credentials.sessionToken ? { sessionToken: resolveSecret(credentials.sessionToken) } : {}),
      })),
  });
}

function connectionOf({
  url,
  user,
  password,
  tls,
}: Pick<NodeConfig, 'url' | 'user' | 'password' | 'tls'>): NodeConnection {
  const ca = tls?.ca;
  return {
    url,
    user,
    password: password && (() => resolveSecret(password)),
    tls: tls && { ca: ca && (() => readCertificate(ca.file)), insecure: tls.insecure },
  };
}

function addressOf(url: string): { host: string; port: number } {
  const { hostname, port, protocol } = new URL(url);
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port || (protocol === 'https:' ? 443 : 80)) };
}

function readCertificate(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new RecoveryError(
      'CONFIG_INVALID',
      `the certificate ${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'error'})`,
    );
  }
}
