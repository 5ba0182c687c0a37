import { z } from 'zod';
import type { Problem } from './errors.js';
import { checkName, checkPathSegment } from './names.js';
import { parseWith } from './request.js';

/**
 * The stop-the-world path: the one case in which ZooKeeper is copied too. Everything is stopped, so the copies of
 * ClickHouse and of ZooKeeper are of the same moment.
 */
export type HostRole = 'clickhouse' | 'keeper';

/** A host that has an agent. Names of nodes and of ZooKeeper servers are one name space: they name task queues and folders. */
export interface ColdHost {
  name: string;
  role: HostRole;
}

/** Where the agent of one host polls. */
export function hostTaskQueue(cluster: string, host: string): string {
  return `clickhouse-recovery/host/${cluster}/${host}`;
}

export const COLD_MANIFEST_VERSION = 1;

const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const short = z.string().max(1_000);

const hostCopySchema = z.strictObject({
  name: z.string().min(1).max(206),
  role: z.enum(['clickhouse', 'keeper']),
  /** Of the server, as it said itself. */
  version: short,
  /** Empty for ZooKeeper. */
  macros: z.record(z.string().max(206), short),
  /** Of ZooKeeper, hexadecimal, asked after all ClickHouse servers had stopped; null for ClickHouse. */
  zxid: z.string().max(40).nullable(),
  /** Names of its trees, such as `data`: where they belong stands in the agent's own configuration. */
  trees: z.array(z.string().max(206)).min(1).max(100),
  files: count,
  bytes: count,
  /** Active parts, and their rows as they stand in the parts themselves. */
  parts: count,
  rows: count,
  /** Of its list of files, which has a sha256 of each. */
  list: sha256,
  /** Of its list of parts. */
  evidence: sha256,
});
export type HostCopy = z.infer<typeof hostCopySchema>;

/** What the whole copy is: the same on every host, written last. Without it a copy is none. */
export const coldManifestSchema = z.strictObject({
  version: z.literal(COLD_MANIFEST_VERSION),
  cluster: z.string().min(1).max(206),
  generation: z.string().min(1).max(120),
  takenAt: z.string().max(40),
  hosts: z.array(hostCopySchema).min(2).max(1_100),
});
export type ColdManifest = z.infer<typeof coldManifestSchema>;

/** Parts that ZooKeeper lists for one replica of one table; their names are folded into one text. */
export interface KeeperParts {
  table: string;
  path: string;
  replica: string;
  parts: number;
  digest: string;
}

/** What the agent of a host says of it. */
export interface HostFacts extends ColdHost {
  /** Whether its service runs; null: its probe command says neither. */
  running: boolean | null;
  /** Commands as the agent will run them, for the plan: they come from its own file. */
  commands: { stop: string; start: string; probe: string };
  trees: TreeFacts[];
  files: number;
  bytes: number;
  /** Bytes that a copy would take: not those of files that are linked. */
  copyBytes: number;
  /** How its part files are copied. */
  method: CopyMethod;
  /** Bytes that are free where its copies go. */
  freeForCopies: number;
  /** Of a ZooKeeper server that answers: `leader`, `follower`, `standalone`. */
  mode: string | null;
  version: string | null;
  zxid: string | null;
  /** Copies that are complete, newest last. */
  generations: string[];
}

export interface TreeFacts {
  name: string;
  /** Of its file system. Several trees may share one. */
  device: string;
  /** Bytes that are free there. */
  free: number;
}

export type CopyMethod = 'reflink' | 'hardlink' | 'stream';

/** What a node says of itself, asked in SQL. */
export interface NodeState {
  node: string;
  version: string;
  macros: Record<string, string>;
  replicas: ReplicaLag[];
}

export interface ReplicaLag {
  table: string;
  path: string;
  replica: string;
  readonly: boolean;
  sessionExpired: boolean;
  queue: number;
  /** Seconds that the oldest entry of its queue waits. */
  oldestSeconds: number;
  active: number;
  total: number;
}

/** One host of a copy, as its agent found it. */
export interface FoundCopy {
  host: string;
  /** As it stands on this host; null: there is none, so there is no copy. */
  manifest: ColdManifest | null;
  problem: string | null;
  /** Bytes that putting it beside the live tree takes, by tree. */
  stageBytes: Record<string, number>;
  keeperParts: string;
}

export interface ColdPlan {
  kind: 'backup' | 'restore';
  cluster: string;
  hash: string;
  generation: string;
  hosts: PlannedHost[];
  warnings: string[];
  /** A way that loses less, where there is one. */
  instead: { why: string; command: string } | null;
  refusals: Problem[];
}

export interface PlannedHost extends ColdHost {
  method: CopyMethod;
  files: number;
  bytes: number;
  commands: HostFacts['commands'];
}

export const COLD_STEPS = {
  backup: ['fence', 'stop-clickhouse', 'stop-keeper', 'copy', 'start-keeper', 'start-clickhouse', 'validate'],
  restore: [
    'stage',
    'stop-clickhouse',
    'stop-keeper',
    'swap',
    'start-keeper',
    'start-clickhouse',
    'validate',
    'roll-back',
  ],
} as const;
export type ColdStepName = (typeof COLD_STEPS)[keyof typeof COLD_STEPS][number];

export interface ColdStep {
  name: ColdStepName;
  startedAt: string | null;
  finishedAt: string | null;
  outcome: 'done' | 'failed' | 'running' | 'not-needed';
}

export interface ColdReport {
  schemaVersion: 1;
  id: string;
  kind: 'backup' | 'restore';
  cluster: string;
  generation: string;
  outcome: 'succeeded' | 'failed' | 'needs-operator' | 'aborted';
  plan: { hash: string | null; approvedBy: string };
  steps: ColdStep[];
  /** Hosts whose files were copied, or put into place. */
  hosts: CopiedHost[];
  /** From the first stop to the last start; null: nothing was stopped, or it is not up again. Seconds. */
  downtimeSeconds: number | null;
  /** Whether the cluster was left running. */
  clusterUp: boolean;
  rolledBack: boolean;
  startedAt: string;
  finishedAt: string;
  instead: ColdPlan['instead'];
  warnings: string[];
  problem: Problem | null;
}

export interface CopiedHost extends ColdHost {
  files: number;
  bytes: number;
  /** Files by how they were copied. */
  methods: Record<CopyMethod, number>;
  seconds: number;
  /** Folders that hold what stood there before a restore. */
  aside: string[];
}

export type ColdPhase =
  'inspecting' | 'waiting-for-approval' | 'waiting-for-lock' | 'executing' | 'bringing-up' | 'closed';

/** Answer of the query `progress` of a cold run. */
export interface ColdProgress {
  id: string;
  kind: 'backup' | 'restore';
  cluster: string;
  phase: ColdPhase;
  planHash: string | null;
  steps: ColdStep[];
  /** What a person has to do now; empty: nothing. */
  attention: string[];
  report: ColdReport | null;
}

const request = {
  cluster: z.string().min(1).max(206).describe('name of a cluster in recovery.yaml'),
  approval: z.enum(['required', 'auto']).optional().describe('overrides the policy of recovery.yaml'),
  approve: sha256.optional().describe('plan hash that is approved in advance'),
};

export const coldBackupSchema = z.strictObject({
  ...request,
  name: z.string().min(1).max(120).optional().describe('name of the copy, its generation; default: the time'),
});
export type ColdBackupRequest = z.infer<typeof coldBackupSchema>;

export const coldRestoreSchema = z.strictObject({
  ...request,
  copy: z.string().min(1).max(120).optional().describe('name of the copy; default: the newest that all hosts have'),
  onFailure: z.enum(['roll-back', 'stay']).optional().describe('when validation fails; default: roll-back'),
});
export type ColdRestoreRequest = z.infer<typeof coldRestoreSchema>;

export function parseColdBackup(value: unknown): ColdBackupRequest {
  const parsed = parseWith(coldBackupSchema, value, 'INPUT_INVALID');
  checkName(parsed.cluster, 'cluster');
  if (parsed.name !== undefined) checkPathSegment(parsed.name, 'name');
  return parsed;
}

export function parseColdRestore(value: unknown): ColdRestoreRequest {
  const parsed = parseWith(coldRestoreSchema, value, 'INPUT_INVALID');
  checkName(parsed.cluster, 'cluster');
  if (parsed.copy !== undefined) checkPathSegment(parsed.copy, 'copy');
  return parsed;
}
