/**
 * Records what the workflow code of today does, for replays by the code of tomorrow:
 *
 *     npx tsx test/replay/record.ts
 *
 * Run it once for each release that changed src/workflows/. A history that is there is never written again: it stands
 * for runs of a released version that may still be open somewhere.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client, WorkflowHandle } from '@temporalio/client';
import { hostTaskQueue } from '../../src/domain/cold.js';
import { partsTaskQueue } from '../../src/domain/cold-place.js';
import { COLD_WORKFLOWS, lockId, SIGNALS, UPDATES, WORKFLOWS } from '../../src/domain/messages.js';
import type { NodeRef } from '../../src/domain/topology.js';
import { repoRoot } from '../support/tools.js';
import { startBench, untilPhase, type Scene } from '../workflow/bench.js';
import {
  beside,
  failure,
  fakes,
  HASH,
  hold,
  N1,
  N2,
  NEXT_HASH,
  planOf,
  table,
  view,
  type Fakes,
} from '../workflow/fakes.js';
import { agentOf, coldAgent, coldFakes, COLD_HOSTS, PLACED, placed } from '../workflow/cold-fakes.js';
import { drillFakes, measured, type DrillOptions } from '../workflow/drill-fakes.js';
import { largePlan } from '../workflow/large.js';
import { historyToJson } from './history-json.js';

interface Scenario {
  faked: Pick<Fakes, 'activities'>;
  /** Resolves to the handle of the run to record, once that has ended. */
  play: (scene: Scene) => Promise<WorkflowHandle>;
}

const ended = async <T extends WorkflowHandle>(handle: T): Promise<T> => {
  await handle.result().catch(() => undefined);
  return handle;
};
const approve = (handle: WorkflowHandle, planHash: string) =>
  handle.executeUpdate(UPDATES.approve, { args: [{ planHash, by: 'ada' }] });

/** Two replicas, one view, fence, search attributes: every activity of a recovery. */
function success(): Scenario {
  const items = [table('a'), table('a', N2, { authority: false, action: 'recreate-and-fetch', statements: [] })];
  return {
    faked: fakes({ plans: [planOf([...items, table('b'), view('v')])], searchAttributes: true }),
    play: async ({ start }) => ended(await start({ incident: 'INC-1' })),
  };
}

/** An approval by update, a plan that changed meanwhile, the lock let go of and taken again. */
function approval(): Scenario {
  return {
    faked: fakes({
      plans: [planOf([table('a')]), planOf([table('a'), table('b')], { hash: NEXT_HASH })],
      policy: { approval: 'required' },
    }),
    play: async ({ start }) => {
      const handle = await start();
      await untilPhase(handle, 'waiting-for-approval');
      await approve(handle, HASH);
      // Rejected until the new plan is there.
      for (let approved = false; !approved;)
        approved = await approve(handle, NEXT_HASH).then(
          () => true,
          () => false,
        );
      return ended(handle);
    },
  };
}

/** A table that fails, a pause, and the decision to try again. */
function retry(): Scenario {
  let failed = false;
  return {
    faked: fakes({
      plans: [planOf([table('a'), table('b')])],
      policy: { approval: 'required', lanesPerNode: 1 },
      activities: {
        restoreTableData: async ({ item }) => {
          if (item.table === 'a' && !failed) {
            failed = true;
            throw failure('DISK_FULL', 'no space on n1');
          }
          return {} as never;
        },
      },
    }),
    play: async ({ start }) => {
      const handle = await start({ approve: HASH });
      await untilPhase(handle, 'waiting-for-resolve');
      await handle.signal(SIGNALS.pause);
      await handle.signal(SIGNALS.resolve, { action: 'retry', tables: ['db.a'], by: 'ada' });
      await handle.signal(SIGNALS.resume);
      return ended(handle);
    },
  };
}

/** Stopped in the middle, by signal or from the UI, and cleaned up. */
function stopped(how: 'abort' | 'cancel'): Scenario {
  const held = hold();
  return {
    faked: fakes({
      plans: [planOf([table('a')])],
      policy: { onFailure: 'unfence' },
      activities: {
        restoreTableData: async () => {
          await held.pass();
          return {} as never;
        },
      },
    }),
    play: async ({ start }) => {
      const handle = await start();
      await held.entered;
      await (how === 'abort' ? handle.signal(SIGNALS.abort) : handle.cancel());
      return ended(handle);
    },
  };
}

/** Tables made beside their places, promoted after validation, a view after them; the canary. */
function conversion(): Scenario {
  const items = [beside('a'), beside('a', N2, { authority: false }), view('v')];
  return { faked: fakes({ plans: [planOf(items)] }), play: async ({ start }) => ended(await start()) };
}

/** More tables than fit in a history, on two shards: the run, without those of its shards. A table fails and is retried. */
function large(): Scenario {
  let broken = true;
  const tables = (node: NodeRef) => Array.from({ length: 120 }, (_, index) => table(`t${index}`, node));
  const stored = largePlan(planOf([...tables(N1), ...tables({ ...N2, shard: '02' }), view('v')]), {
    fails: (item) => broken && item.table === 't7',
  });
  return {
    faked: fakes({ plans: [stored.summary], policy: { approval: 'required' }, activities: stored.activities }),
    play: async ({ start }) => {
      const handle = await start({ approve: HASH });
      await untilPhase(handle, 'waiting-for-resolve');
      broken = false;
      await handle.signal(SIGNALS.resolve, { action: 'retry', tables: ['db.*'], by: 'ada' });
      return ended(handle);
    },
  };
}

/** One of its shards, all passes; and one whose tables are made beside their places. */
function largeShard(shard: '01' | '02', tables = 220): Scenario {
  const one = Array.from({ length: tables }, (_, index) => table(`t${index}`));
  const two = Array.from({ length: 20 }, (_, index) => beside(`t${index}`, { ...N2, shard: '02' }));
  const stored = largePlan(planOf([...one, view('v'), ...two]));
  return {
    faked: fakes({ plans: [stored.summary], activities: stored.activities }),
    play: async ({ client, start }) => {
      const { workflowId } = await ended(await start());
      return client.workflow.getHandle(`${workflowId}/shard-${shard}`);
    },
  };
}

/** The lock, held by a recovery until that ended. */
function lock(): Scenario {
  const { faked, play } = approval();
  return {
    faked,
    play: async (scene) => {
      await play(scene);
      return scene.client.workflow.getHandle(lockId(scene.cluster));
    },
  };
}

function backup(): Scenario {
  const shard = { tables: 2, rows: 20, parts: 4, bytes: 400, exact: 2 };
  return {
    faked: fakes({
      plans: [],
      activities: {
        listBackupNodes: async () => [N1, { ...N2, shard: '02' }],
        backupShard: async ({ node }) => ({ shard: node.shard, node: node.name, ...shard }),
      },
    }),
    play: async ({ client, cluster, taskQueue }) =>
      ended(
        await client.workflow.start(WORKFLOWS.backup, {
          taskQueue,
          workflowId: `backup-${cluster}`,
          args: [{ cluster, to: 'local' }],
        }),
      ),
  };
}

/** Data from a cold copy: its agents read it, one places parts and sees that a first attach missed one. */
function coldPlace(): Scenario {
  return {
    faked: fakes({ plans: [planOf([placed('a'), beside('a', N2, { authority: false })])], cold: ['copies'] }),
    play: async ({ cluster, start, beside: besideIt }) => {
      let left = 3;
      const agent = { ...agentOf(), placeParts: async () => ({ ...PLACED, waiting: --left }) };
      return besideIt(partsTaskQueue(cluster, N1.name), agent, () =>
        besideIt(partsTaskQueue(cluster, N2.name), agentOf(), async () => ended(await start({ backup: 'copies/g1' }))),
      );
    },
  };
}

function cold(kind: 'backup' | 'restore'): Scenario {
  return {
    faked: { activities: { ...fakes({ plans: [] }).activities, ...coldFakes(kind) } },
    play: async ({ client, cluster, taskQueue, beside: besideIt }) => {
      const queues = COLD_HOSTS.map(({ name }) => hostTaskQueue(cluster, name));
      const start = () =>
        client.workflow.start(COLD_WORKFLOWS[kind], {
          taskQueue,
          workflowId: `cold-${kind}-${cluster}`,
          args: [{ cluster, ...(kind === 'backup' ? { name: 'g1' } : { copy: 'g1' }) }],
        });
      const within = (left: string[]): Promise<WorkflowHandle> =>
        left.length === 0
          ? start().then(ended)
          : besideIt(left[0]!, coldAgent(left[0]!.split('/').at(-1)!), () => within(left.slice(1)));
      return within(queues);
    },
  };
}

/** All of it: proof, claim, the recovery as a child, measuring, clean-up, report. Or an activity of it that ends otherwise. */
function drill(options: DrillOptions = {}): Scenario {
  return {
    faked: drillFakes(options),
    play: async ({ client, cluster, taskQueue }) =>
      ended(
        await client.workflow.start(WORKFLOWS.drill, {
          taskQueue,
          workflowId: `drill-${cluster}`,
          args: [{ cluster }],
        }),
      ),
  };
}

/** An incident begins in the middle: the recovery is cancelled, and the target cleaned up. */
function drillSteppedAside(): Scenario {
  const held = hold();
  return drill({
    activities: { restoreTableData: async () => (await held.pass(), {}) as never },
    drill: { awaitRecovery: async () => (await held.entered, 'recover-prod-1') },
  });
}

const scenarios: Record<string, () => Scenario> = {
  success,
  approval,
  retry,
  abort: () => stopped('abort'),
  cancel: () => stopped('cancel'),
  conversion,
  'nodes-side-by-side': conversion,
  'one-plan': success,
  large,
  'large-shard': () => largeShard('01'),
  'large-shard-beside': () => largeShard('02'),
  'large-shard-six-batches': () => largeShard('01', 420),
  lock,
  backup,
  'cold-backup': () => cold('backup'),
  'cold-restore': () => cold('restore'),
  'cold-place': coldPlace,
  drill: () => drill(),
  'drill-stepped-aside': drillSteppedAside,
  'drill-failed': () => drill({ drill: { measureDrill: async () => measured({ rows: 0 }) } }),
};

async function fetchJson(client: Client, { workflowId }: WorkflowHandle): Promise<string> {
  return historyToJson(await client.workflow.getHandle(workflowId).fetchHistory());
}

const { version } = JSON.parse(readFileSync(join(repoRoot, 'package.json'), 'utf8')) as { version: string };
const folder = join(repoRoot, 'test/replay/histories');
mkdirSync(folder, { recursive: true });
const bench = await startBench({ identity: 'recorder' });
for (const [name, scenario] of Object.entries(scenarios)) {
  const file = join(folder, `${version}-${name}.json`);
  if (existsSync(file)) {
    console.log(`${file} is there: kept`);
    continue;
  }
  const { faked, play } = scenario();
  const json = await bench.scene(faked, async (scene) => fetchJson(scene.client, await play(scene)));
  writeFileSync(file, json);
  console.log(file);
}
await bench.stop();
