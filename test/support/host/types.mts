// Compiled, not run: what a host in TypeScript writes.
import { Runtime, Worker } from '@temporalio/worker';
import { executeChild } from '@temporalio/workflow';
import {
  ClickHouseRecoveryPlugin,
  histogramBucketOverrides,
  loadConfig,
  RecoveryError,
  type ErrorCode,
} from 'temporal-clickhouse-recovery';
import { workflowBundle } from 'temporal-clickhouse-recovery/bundle';
import { Recoveries, type RecoveryRequest, type Report } from 'temporal-clickhouse-recovery/client';
import { recoverCluster } from 'temporal-clickhouse-recovery/workflows';

export async function makeWorker(): Promise<Worker> {
  const prometheus = { bindAddress: '127.0.0.1:9464', histogramBucketOverrides };
  Runtime.install({ telemetryOptions: { metrics: { prometheus } } });
  const plugin = new ClickHouseRecoveryPlugin({ config: await loadConfig('recovery.yaml'), searchAttributes: true });
  return Worker.create({ taskQueue: 'q', plugins: [plugin], workflowBundle: workflowBundle() });
}

export async function recover(request: RecoveryRequest): Promise<Report['outcome']> {
  const report = await executeChild(recoverCluster, { args: [request] });
  return report.outcome;
}

export const codeOf = (error: unknown): ErrorCode | null => (error instanceof RecoveryError ? error.code : null);
export type Asked = Parameters<Recoveries['start']>;
