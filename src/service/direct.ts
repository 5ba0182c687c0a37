import type { Plan } from '../domain/plan.js';
import type { RecoveryRequest } from '../domain/request.js';

export interface DoctorCheck {
  name: string;
  ok: boolean;
  detail: string;
}

export interface DoctorReport {
  cluster: string;
  ok: boolean;
  nodes: {
    name: string;
    shard: string;
    replica: string;
    ok: boolean;
    version: string;
    embedded: boolean;
    checks: DoctorCheck[];
  }[];
  keeper: { ok: boolean; detail: string };
  backups: { repository: string; name: string; takenAt: string }[];
}

export interface UnfenceReport {
  cluster: string;
  ok: boolean;
  nodes: { name: string; ok: boolean; detail: string }[];
}

/** What works without a workflow. Implemented by the composition root, so that interfaces wire nothing. */
export interface DirectActions {
  plan(request: RecoveryRequest): Promise<Plan>;
  doctor(cluster: string): Promise<DoctorReport>;
  unfence(cluster: string): Promise<UnfenceReport>;
  runWorker(): Promise<void>;
  taskQueue: string;
  close(): Promise<void>;
}
