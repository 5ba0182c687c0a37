import type { Address, ApiConfig } from '../config/api.js';
import type { ColdReport } from '../domain/cold.js';
import type { DrillReport } from '../domain/drill.js';
import type { Plan } from '../domain/plan.js';
import type { RecoveryRequest } from '../domain/request.js';
import type { DrillSource } from '../observability/drills.js';
import type { ReportArchive } from './archive.js';

export interface DoctorCheck {
  name: string;
  ok: boolean;
  detail: string;
}

export interface NodeExamination {
  name: string;
  shard: string;
  replica: string;
  ok: boolean;
  version: string;
  embedded: boolean;
  /** The first says whether the node answers at all; without it there are no others. */
  checks: DoctorCheck[];
}

/** What the nodes and ZooKeeper say of themselves. */
export interface NodesExamination {
  cluster: string;
  ok: boolean;
  nodes: NodeExamination[];
  keeper: DoctorCheck;
  backups: { repository: string; name: string; takenAt: string }[];
}

/** What `doctor` prints: also whether a recovery would find somebody to run it. */
export interface DoctorReport extends NodesExamination {
  worker: DoctorCheck;
}

export interface UnfenceReport {
  cluster: string;
  ok: boolean;
  nodes: { name: string; ok: boolean; detail: string }[];
}

/** A line for machines on stderr. Fields never hold a secret. */
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** What works without a workflow. Implemented by the composition root, so that interfaces wire nothing. */
export interface DirectActions {
  plan(request: RecoveryRequest): Promise<Plan>;
  doctor(cluster: string): Promise<NodesExamination>;
  unfence(cluster: string): Promise<UnfenceReport>;
  /** What the metrics of drills come from. */
  drillGauges: DrillSource;
  /** Newest first, from the report store. Throws CLUSTER_UNKNOWN. */
  drillHistory(cluster: string, limit: number): Promise<DrillReport[]>;
  /** `metrics`: where Prometheus finds them. */
  runWorker(options?: { metrics?: Address }): Promise<void>;
  taskQueue: string;
  /** Of recovery.yaml. */
  clusters: readonly string[];
  api: ApiConfig;
  reports: ReportArchive;
  /** Of a cold backup or restore, from the report store; null where there is none. Throws REPORTS_UNAVAILABLE. */
  coldReport(id: string): Promise<ColdReport | null>;
  /** Address of the Temporal UI; undefined where the file does not say. */
  ui: string | undefined;
  log: Log;
  close(): Promise<void>;
}
