/** Plans for many tables on four nodes that answer at once: what our side of an inspection takes, and what it sends on. */
import { mkdirSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createActivities } from '../../src/activities/index.js';
import { createPorts } from '../../src/compose.js';
import { parseConfig } from '../../src/config/checks.js';
import type { ClusterPorts } from '../../src/ports.js';
import { judged } from '../model.js';
import { emptyKeeper, generatedNode } from '../support/generated-node.js';
import { attempt, type Best } from '../support/sides.js';
import { memory } from '../support/meters.js';
import type { Case } from './case.js';
import { plural } from './restore-replica.js';

const SIZES = { quick: 1_000, full: 10_000 };
const NODES = ['a', 'b', 'c', 'd'].map((name, i) => ({
  ...{ name, url: `http://127.0.0.1:${i + 1}` },
  ...{ shard: `0${Math.floor(i / 2) + 1}`, replica: `r${(i % 2) + 1}` },
}));
/** Whatever the number of tables. What it is today, with room for a few more. */
const QUERIES_A_NODE = 40;
const PAYLOAD_KB = 256;

export const plan: Case = {
  name: 'plan',
  quick: true,
  run: async (bench) => {
    const tables = bench.sizes?.[0] ?? (bench.quick ? SIZES.quick : SIZES.full);
    const what = `plan of ${plural(tables, 'table')} on each of ${NODES.length} nodes`;
    bench.say(what);
    const dir = bench.dir('plan');
    mkdirSync(dir, { recursive: true });
    const clusters = { prod: { keeper: { hosts: ['127.0.0.1:1'] }, nodes: NODES } };
    const config = parseConfig({ clusters, reports: { dir: join(dir, 'reports') } });
    const run = async () => {
      const real = createPorts(config, { log: { info: () => undefined, warn: () => undefined } });
      const { topology, ...rest } = real.cluster('prod');
      const nodes = topology.nodes.map((ref) => generatedNode(ref, tables));
      const keeper = emptyKeeper();
      const cluster: ClusterPorts = {
        ...{ ...rest, topology, keeper },
        node: (name) => nodes.find(({ ref }) => ref.name === name)!,
      };
      const activities = createActivities({ ...real, cluster: () => cluster });
      const environment = new MockActivityEnvironment();
      const startedAt = performance.now();
      // As the workflow asks: a large plan is kept in the report store.
      const plan = () => activities.planRecovery({ cluster: 'prod' }, null, true);
      const result: unknown = await environment.run(plan);
      const seconds = (performance.now() - startedAt) / 1000;
      await real.close();
      return {
        seconds,
        payloadKb: Buffer.byteLength(JSON.stringify(result)) / 1024,
        queries: Math.max(...nodes.map(({ asked }) => asked)),
        keeper: keeper.asked,
        peakMb: memory(process.pid)?.peakMb ?? null,
      };
    };
    const side: Best<Awaited<ReturnType<typeof run>>> = { best: null };
    for (let round = 0; round < bench.rounds; round++) await attempt(side, run, bench.say);
    const { best, failure } = side;
    const common = { case: 'plan', against: '–', other: null, load: loadavg()[0] ?? 0, failure };
    return [
      judged(
        {
          ...{ ...common, what, ours: best?.seconds ?? null },
          figures: best
            ? { keeperRequestsPerTable: best.keeper / tables / NODES.length, benchPeakMb: best.peakMb }
            : {},
        },
        { atMost: 10 },
      ),
      judged(
        { ...common, what: '… queries a node', ours: best?.queries ?? null, unit: 'queries', figures: {} },
        { atMost: QUERIES_A_NODE },
      ),
      judged(
        { ...common, what: '… largest payload', ours: best?.payloadKb ?? null, unit: 'KB', figures: {} },
        { atMost: PAYLOAD_KB },
      ),
    ];
  },
};
