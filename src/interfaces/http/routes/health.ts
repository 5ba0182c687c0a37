import { RecoveryError } from '../../../domain/errors.js';
import { inTime, type ApiApp, type ApiParts } from '../endpoint.js';

/** Shorter than a probe waits. Milliseconds. */
const READY_MS = 2_000;
/** Anybody may ask, so Temporal is not asked each time. Milliseconds. */
const READY_FOR_MS = 1_000;

/** For probes: without a token, and they tell nothing but this. */
export function addHealth(app: ApiApp, { recoveries, taskQueue }: ApiParts): void {
  let asked: { at: number; answer: Promise<void> } | null = null;
  const ready = async () => {
    const workers = await inTime(READY_MS, recoveries.workers(taskQueue));
    if (workers === null) throw new RecoveryError('TEMPORAL_UNAVAILABLE', 'Temporal does not answer');
    if (workers === 0) throw new RecoveryError('WORKER_UNAVAILABLE', 'no worker polls');
  };
  app.get('/livez', (context) => context.json({ status: 'alive' }));
  app.get('/readyz', async (context) => {
    if (!asked || performance.now() - asked.at > READY_FOR_MS) asked = { at: performance.now(), answer: ready() };
    await asked.answer;
    return context.json({ status: 'ready' });
  });
  const probe = (path: string, summary: string) =>
    app.openAPIRegistry.registerPath({
      method: 'get',
      path,
      summary,
      security: [],
      responses: { 200: { description: 'yes' }, ...(path === '/readyz' ? { 503: { description: 'no' } } : {}) },
    });
  probe('/livez', 'the process answers');
  probe('/readyz', 'Temporal answers and a worker polls');
}
