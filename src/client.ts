/** `temporal-clickhouse-recovery/client`: starting recoveries and following them. Needs no worker, and no native code. */
export { connect, Recoveries, startBackup, startRecovery, type FoundRun, type Started } from './service/recoveries.js';
export {
  lockId,
  QUERIES,
  SEARCH_ATTRIBUTES,
  SIGNALS,
  TASK_QUEUE,
  UPDATES,
  WORKFLOWS,
  type Approval,
  type BackupResult,
  type Phase,
  type Progress,
  type Resolution,
  type UnitProgress,
} from './domain/messages.js';
export { ERRORS, RecoveryError, type ErrorCode, type Problem } from './domain/errors.js';
export type { BackupRequest, RecoveryRequest } from './domain/request.js';
export type { Plan, PlanItem } from './domain/plan.js';
export type { Report, StageReport, TableReport } from './domain/report.js';
