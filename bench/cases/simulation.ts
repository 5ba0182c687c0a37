/**
 * A hundred shards through the real workflow code on a real Temporal server. The activities are mocked: each takes as
 * long as it took on this machine, on average, when restore-replica was last measured.
 */
import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { WORKFLOWS } from '../../src/domain/messages.js';
import type { Report } from '../../src/domain/report.js';
import type { NodeRef } from '../../src/domain/topology.js';
import { startBench } from '../../test/workflow/bench.js';
import { fakes, planOf, table } from '../../test/workflow/fakes.js';
import { largePlan } from '../../test/workflow/large.js';
import { judged, number, type Results } from '../model.js';
import { perTableFigures } from '../scale.js';
import { attempt, type Best } from '../support/sides.js';
import { countHistory, type HistoryCount } from '../support/meters.js';
import type { Bench, Case } from './case.js';

const SHARDS = 100;
const REPLICAS = 3;
/** Of each shard: several batches, so that a shard's two lanes have work and its passes are seen. */
const TABLES = 200;
/** What a worker of the product takes at once. */
const SLOTS = 100;
/** Where nothing was measured yet, in milliseconds. */
const DEFAULT_MS = 20;
/** Measured on one replica a shard; here a batch has its tables on all of them. */
const BATCHES = ['restoreBatch', 'validateBatch'];

function topology(): NodeRef[] {
  return Array.from({ length: SHARDS * REPLICAS }, (_, i) => {
    const shard = String(Math.floor(i / REPLICAS) + 1).padStart(3, '0');
    const replica = `r${(i % REPLICAS) + 1}`;
    return { name: `s${shard}${replica}`, shard, replica };
  });
}

interface Run {
  seconds: number;
  /** Of all activities together. */
  busySeconds: number;
  history: HistoryCount;
  load: number;
}

async function simulate(tables: number, results: Results): Promise<Run> {
  const nodes = topology();
  const items = nodes.flatMap((node) =>
    Array.from({ length: tables }, (_, i) =>
      table(`events_${i}`, node, {
        ...{ situation: 'keeper-metadata-lost', action: 'restore-replica', authority: node.replica === 'r1' },
        statements: [{ step: 'restore-replica', sql: `SYSTEM RESTORE REPLICA db.events_${i}` }],
      }),
    ),
  );
  const large = largePlan(planOf(items, { backup: null }));
  const fake = fakes({ plans: [large.summary], nodes, activities: large.activities });
  const measured = perTableFigures(results);
  let busyMs = 0;
  const slow = Object.fromEntries(
    Object.entries(fake.activities).map(([name, activity]) => [
      name,
      async (...input: never[]) => {
        const ms = (measured?.latencies[name] ?? DEFAULT_MS) * (BATCHES.includes(name) ? REPLICAS : 1);
        busyMs += ms;
        await delay(ms);
        return (activity as (...input: never[]) => Promise<unknown>)(...input);
      },
    ]),
  ) as unknown as typeof fake.activities;
  const bench = await startBench({ identity: 'simulation' });
  const load = loadavg()[0] ?? 0;
  try {
    return await bench.scene(
      { activities: slow },
      async ({ client, taskQueue, cluster }) => {
        const startedAt = performance.now();
        const handle = await client.workflow.start(WORKFLOWS.recover, {
          ...{ taskQueue, workflowId: `simulation-${cluster}`, args: [{ cluster }] },
          workflowExecutionTimeout: '20 minutes',
        });
        const report = (await handle.result()) as Report;
        const seconds = (performance.now() - startedAt) / 1000;
        if (report.outcome !== 'succeeded') throw new Error(`the simulation ended ${report.outcome}`);
        const history = await countHistory(client, handle.workflowId, handle.firstExecutionRunId);
        return { seconds, busySeconds: busyMs / 1000, history, load };
      },
      { maxConcurrentActivityTaskExecutions: SLOTS, maxHeartbeatThrottleInterval: '5s' },
    );
  } finally {
    await bench.stop();
  }
}

export const simulation: Case = {
  name: 'simulation',
  quick: false,
  run: async (bench: Bench) => {
    const tables = bench.sizes?.[0] ?? TABLES;
    const units = SHARDS * REPLICAS * tables;
    const what = `simulation, ${SHARDS} shards × ${REPLICAS} replicas × ${number(tables)} tables, mocked activities`;
    bench.say(what);
    await bench.closeArena();
    const side: Best<Run> = { best: null };
    for (let round = 0; round < bench.rounds; round++)
      await attempt(side, () => simulate(tables, bench.results()), bench.say);
    const { best, failure } = side;
    const common = { case: 'simulation', load: best?.load ?? 0, failure };
    const each = (value: number) => Number((value / units).toFixed(3));
    return [
      judged(
        {
          ...{ ...common, what, against: `their time alone, ${SLOTS} at once` },
          ...{ ours: best?.seconds ?? null, other: best && best.busySeconds / SLOTS },
          figures: best
            ? {
                units,
                eventsPerTable: each(best.history.events),
                historyBytesPerTable: each(best.history.bytes),
                actionsPerTable: each(best.history.actions),
                runs: best.history.runs,
                continuedAsNew: best.history.continuedAsNew,
                largestPayloadBytes: best.history.largestPayload,
                longestRunBytes: best.history.longestBytes,
              }
            : {},
        },
        null,
      ),
      judged(
        {
          ...{ ...common, what: '… longest run', against: '–', unit: 'events', figures: {} },
          ...{ ours: best?.history.longestEvents ?? null, other: null },
        },
        { atMost: 10_240 },
      ),
      judged(
        {
          ...{ ...common, what: '… largest payload', against: '–', unit: 'KB', figures: {} },
          ...{ ours: best && best.history.largestPayload / 1024, other: null },
        },
        { atMost: 256 },
      ),
    ];
  },
};
