/** SIGKILL of the only worker in the middle, another one started at once, against the same run left alone. */
import { DEFAULT_POLICY } from '../../src/domain/policy.js';
import { startRecordingProxy, type RecordingProxy } from '../../test/support/recording-proxy.js';
import { judged } from '../model.js';
import { attempt, runProduct, type Best } from '../support/sides.js';
import { expectedOf, mustHold } from '../support/tables.js';
import type { Case } from './case.js';
import { deadlineOf, figuresOf, plural } from './restore-replica.js';

const SIZES = { quick: 40, full: 1_000 };
/** Past the heartbeat time-out: a worker that starts, and the statement that ran. */
const MORE_SECONDS = 2;

export const crash: Case = {
  name: 'crash',
  quick: true,
  run: async (bench) => {
    const tables = bench.sizes?.[0] ?? (bench.quick ? SIZES.quick : SIZES.full);
    const arena = await bench.arena({ shards: 1 });
    const what = `worker killed at half time, ${plural(tables, 'table')}`;
    bench.say(what);
    const { nodes } = arena.rig.cluster;
    // Both sides through them, so that what they cost is on both.
    const proxies = await Promise.all(nodes.map(({ url }) => startRecordingProxy(url)));
    arena.rig.configure({
      nodes: nodes.map(({ name, shard, replica }, i) => ({ name, shard, replica, url: proxies[i]!.url })),
    });
    const run = async (killAfterSeconds?: number) => {
      await arena.reset({ tables });
      proxies.forEach((proxy) => proxy.forget());
      const result = await runProduct(arena, { killAfterSeconds, deadlineSeconds: deadlineOf(tables) });
      await mustHold(nodes, expectedOf({ tables }));
      return {
        ...result,
        sentTwice: sum(proxies, ({ statements }) => statements),
        doneTwice: sum(proxies, ({ succeeded }) => succeeded),
      };
    };
    const undisturbed: Best<Awaited<ReturnType<typeof run>>> = { best: null };
    const killed: typeof undisturbed = { best: null };
    try {
      for (let round = 0; round < bench.rounds; round++) {
        await attempt(undisturbed, () => run(), bench.say);
        const seconds = undisturbed.best?.seconds;
        if (seconds !== undefined) await attempt(killed, () => run(seconds / 2), bench.say);
      }
    } finally {
      arena.rig.configure();
      await Promise.all(proxies.map((proxy) => proxy.stop()));
    }
    const [ours, other] = [killed.best, undisturbed.best];
    const common = { case: 'crash', load: ours?.load ?? 0, failure: killed.failure ?? undisturbed.failure };
    const timeout = DEFAULT_POLICY.heartbeatTimeoutSeconds;
    return [
      judged(
        {
          ...{ ...common, what, against: 'the same, left alone' },
          ...{ ours: ours?.seconds ?? null, other: other?.seconds ?? null },
          figures: { heartbeatTimeoutSeconds: timeout, ...(ours ? figuresOf(ours, tables) : {}) },
        },
        { atMostMore: timeout + MORE_SECONDS },
      ),
      judged(
        {
          ...{ ...common, what: '… tables restored twice', against: '–', unit: 'tables' },
          ...{ ours: ours?.doneTwice ?? null, other: null, figures: { sentTwice: ours?.sentTwice ?? null } },
        },
        { atMost: 0 },
      ),
    ];
  },
};

/** Tables for which SYSTEM RESTORE REPLICA is there more than once. */
function repeated(statements: readonly string[]): number {
  const seen = new Map<string, number>();
  for (const statement of statements) {
    const table = /SYSTEM RESTORE REPLICA (?!_recovery)(\S+)/.exec(statement)?.[1];
    if (table !== undefined) seen.set(table, (seen.get(table) ?? 0) + 1);
  }
  return [...seen.values()].filter((times) => times > 1).length;
}

const sum = (proxies: readonly RecordingProxy[], of: (proxy: RecordingProxy) => readonly string[]) =>
  proxies.reduce((total, proxy) => total + repeated(of(proxy)), 0);
