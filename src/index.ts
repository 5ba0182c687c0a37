/** `temporal-clickhouse-recovery`: recoveries of ClickHouse clusters in a worker of yours. See the README. */
export { ClickHouseRecoveryPlugin, type ClickHouseRecoveryPluginOptions } from './plugin.js';
export { loadConfig } from './config/load.js';
export { parseConfig, type Config } from './config/checks.js';
/** For `telemetryOptions.metrics.prometheus` of a host: Temporal's own buckets end at a minute, recoveries do not. */
export { BUCKET_OVERRIDES as histogramBucketOverrides } from './observability/metrics.js';
export { TASK_QUEUE } from './domain/messages.js';
export { ERRORS, RecoveryError, type ErrorCode } from './domain/errors.js';
export type { Ports } from './ports.js';
