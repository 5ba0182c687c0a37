/** The two sides of a comparison on one arena, and what each of their runs costs. */
import { randomUUID } from 'node:crypto';
import { loadavg } from 'node:os';
import { TASK_QUEUE, WORKFLOWS } from '../../src/domain/messages.js';
import type { Report } from '../../src/domain/report.js';
import type { RecoveryRequest } from '../../src/domain/request.js';
import { CLUSTER } from '../../test/support/recovery-rig.js';
import { kill, type Child } from '../../test/support/processes.js';
import { stopWorkers, type Arena } from './arena.js';
import type { ServersArena } from './servers-arena.js';
import { countHistory, cpuSeconds, keeperCount, memory, since, type HistoryCount, type KeeperCount } from './meters.js';
import { statementCount } from './tables.js';

type AnyArena = Arena | ServersArena;

export interface Cost {
  seconds: number;
  keeper: KeeperCount;
  /** That the nodes ran, reads among them. */
  statements: number;
  /** Seconds of each part's CPU. */
  cpu: { nodes: number; keeper: number; temporal: number; workers: number; bench: number };
  load: number;
}

export interface ProductRun extends Cost {
  report: Report;
  history: HistoryCount;
  peakMb: number | null;
}

async function metered<T>(arena: AnyArena, workers: () => readonly number[], body: () => Promise<T>) {
  const { rig } = arena;
  const parts = () => ({
    nodes: cpuSeconds(rig.cluster.nodes.flatMap(({ pid }) => pid ?? [])),
    keeper: cpuSeconds(rig.ensemble.servers.flatMap(({ pid }) => pid ?? [])),
    temporal: cpuSeconds([rig.temporal.pid]),
    workers: cpuSeconds(workers()),
    bench: (process.cpuUsage().user + process.cpuUsage().system) / 1e6,
  });
  const load = loadavg()[0] ?? 0;
  const [keeper, statements, cpu] = [await keeperCount(rig.ensemble), await statementCount(rig.cluster.nodes), parts()];
  const startedAt = performance.now();
  const result = await body();
  const seconds = (performance.now() - startedAt) / 1000;
  const after = parts();
  const cost: Cost = {
    seconds,
    load,
    keeper: since(keeper, await keeperCount(rig.ensemble)),
    statements: (await statementCount(rig.cluster.nodes)) - statements,
    cpu: {
      nodes: after.nodes - cpu.nodes,
      keeper: after.keeper - cpu.keeper,
      temporal: after.temporal - cpu.temporal,
      workers: after.workers - cpu.workers,
      bench: after.bench - cpu.bench,
    },
  };
  return { result, cost };
}

export async function runOther(arena: AnyArena, body: () => Promise<void>): Promise<Cost> {
  return (await metered(arena, () => [], body)).cost;
}

export interface ProductOptions {
  /** @default 1 */
  workers?: number;
  /** So many seconds after the start the first worker is killed, and another started. */
  killAfterSeconds?: number;
  request?: Partial<RecoveryRequest>;
  deadlineSeconds: number;
}

/** From the start of the workflow to its end. @throws Error where it does not succeed, or not in its time */
export async function runProduct(arena: AnyArena, options: ProductOptions): Promise<ProductRun> {
  const { rig, client } = arena;
  const { workers: count = 1, deadlineSeconds, request = {} } = options;
  const workers: Child[] = [];
  // One after the other: two at once would take longer on few cores.
  for (let i = 0; i < count; i++) workers.push(await rig.startWorker());
  const workflowId = `bench-${randomUUID()}`;
  const handle = await arena.client.workflow.start(WORKFLOWS.recover, {
    ...{ taskQueue: TASK_QUEUE, workflowId },
    args: [{ cluster: 'nobody' }],
    workflowExecutionTimeout: '30 seconds',
  });
  // It fails at once, and has made the worker compile what it runs: so did whatever the other side needs.
  await handle.result().catch(() => undefined);
  let lost = 0;
  try {
    const { result, cost } = await metered(
      arena,
      () => workers.map(({ pid }) => pid),
      async () => {
        const id = `bench-${randomUUID()}`;
        const run = await client.workflow.start(WORKFLOWS.recover, {
          taskQueue: TASK_QUEUE,
          workflowId: id,
          args: [{ cluster: CLUSTER, approval: 'auto', ...request }],
        });
        const killing = options.killAfterSeconds === undefined ? null : killLater(options.killAfterSeconds * 1000);
        const report = await withDeadline(run.result() as Promise<Report>, deadlineSeconds, () =>
          run.terminate('too slow'),
        );
        await killing;
        return { report, id, runId: run.firstExecutionRunId };
      },
    );
    const peaks = workers.flatMap(({ pid }) => memory(pid)?.peakMb ?? []);
    if (result.report.outcome !== 'succeeded')
      throw new Error(`the recovery ended ${result.report.outcome}: ${result.report.warnings.slice(0, 2).join('; ')}`);
    return {
      ...cost,
      report: result.report,
      history: await countHistory(client, result.id, result.runId),
      peakMb: peaks.length === 0 ? null : Math.max(lost, ...peaks),
    };
  } finally {
    await stopWorkers(workers);
  }

  async function killLater(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, ms));
    lost = memory(workers[0]!.pid)?.peakMb ?? 0;
    await kill(workers[0]!);
    workers.push(await rig.startWorker());
  }
}

async function withDeadline<T>(work: Promise<T>, seconds: number, stop: () => Promise<unknown>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      void stop().catch(() => undefined);
      reject(new Error(`not done in ${seconds} s`));
    }, seconds * 1000);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The better of some rounds, or why there is none. */
export interface Best<T> {
  best: T | null;
  failure?: string;
}

/** Both sides in turns, so that a noisy minute hits both. A side that failed once is not tried again. */
export async function inTurns<A extends { seconds: number }, B extends { seconds: number }>(
  rounds: number,
  first: () => Promise<A>,
  second: () => Promise<B>,
  say: (text: string) => void,
): Promise<[Best<A>, Best<B>]> {
  const one: Best<A> = { best: null };
  const two: Best<B> = { best: null };
  for (let round = 0; round < rounds; round++) {
    await attempt(one, first, say);
    await attempt(two, second, say);
  }
  return [one, two];
}

export async function attempt<T extends { seconds: number }>(
  side: Best<T>,
  run: () => Promise<T>,
  say: (text: string) => void,
): Promise<void> {
  if (side.failure !== undefined) return;
  try {
    const result = await run();
    say(`  ${result.seconds.toFixed(2)} s`);
    if (side.best === null || result.seconds < side.best.seconds) side.best = result;
  } catch (error) {
    side.failure = messageOf(error).slice(0, 300);
    say(`  failed: ${side.failure}`);
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${messageOf(error.cause)}` : error.message;
}
