// A worker of another team: a workflow and an activity of its own, and our plugin, on its connection and on the worker.
import { fileURLToPath } from 'node:url';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { ClickHouseRecoveryPlugin, loadConfig } from 'temporal-clickhouse-recovery';
import { workflowBundle } from 'temporal-clickhouse-recovery/bundle';

Runtime.install({ logger: new DefaultLogger('WARN') });
const [taskQueue, kind] = process.argv.slice(2);
const plugin = new ClickHouseRecoveryPlugin({ config: await loadConfig(process.env.CH_RECOVER_CONFIG) });
const connection = await NativeConnection.connect({ address: process.env.TEMPORAL_ADDRESS, plugins: [plugin] });
const worker = await Worker.create({
  connection,
  plugins: [plugin],
  taskQueue,
  ...(kind === 'bundle'
    ? { workflowBundle: workflowBundle() }
    : { workflowsPath: fileURLToPath(new URL('./workflows.mjs', import.meta.url)) }),
  activities: { hello: async (name) => `hello ${name}` },
});
const running = worker.run();
console.log('worker ready');
await running;
await connection.close();
