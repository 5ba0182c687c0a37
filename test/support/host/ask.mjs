// Runs the host's own workflow (where it has one), then a recovery, and prints what came of them.
import { connect, Recoveries } from 'temporal-clickhouse-recovery/client';

const [taskQueue, kind, request] = process.argv.slice(2);
const { client, close } = await connect();
const said =
  kind === 'bundle'
    ? null
    : await client.workflow.execute('greet', { taskQueue, workflowId: `greet-${taskQueue}`, args: ['you'] });
const recoveries = new Recoveries(client);
const { id } = await recoveries.start(JSON.parse(request), taskQueue);
const report = await recoveries.report(id);
await close();
console.log(JSON.stringify({ said, report }));
