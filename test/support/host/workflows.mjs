import { proxyActivities } from '@temporalio/workflow';

export * from 'temporal-clickhouse-recovery/workflows';

const { hello } = proxyActivities({ startToCloseTimeout: '10 seconds' });

export async function greet(name) {
  return hello(name);
}
