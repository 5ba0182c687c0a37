/** Two workers on four shards, against one. */
import { judged } from '../model.js';
import { inTurns, runProduct } from '../support/sides.js';
import { expectedOf, mustHold } from '../support/tables.js';
import type { Case } from './case.js';
import { deadlineOf, figuresOf, plural } from './restore-replica.js';

const SHARDS = 4;
const SIZES = { quick: 40, full: 1_000 };
/** 'No slower': what two runs of the same differ by here. */
const NO_SLOWER = 1.05;

export const twoWorkers: Case = {
  name: 'two-workers',
  quick: true,
  run: async (bench) => {
    const each = { tables: Math.ceil((bench.sizes?.[0] ?? (bench.quick ? SIZES.quick : SIZES.full)) / SHARDS) };
    const tables = each.tables * SHARDS;
    const what = `two workers, ${plural(tables, 'table')}, ${SHARDS} shards`;
    const arena = await bench.arena({ shards: SHARDS });
    bench.say(what);
    const run = async (workers: number) => {
      await arena.reset(each);
      const result = await runProduct(arena, { workers, deadlineSeconds: deadlineOf(tables) });
      await mustHold(arena.rig.cluster.nodes, expectedOf(each));
      return result;
    };
    const [two, one] = await inTurns(
      bench.rounds,
      () => run(2),
      () => run(1),
      bench.say,
    );
    const shares = Object.values(two.best?.history.byWorker ?? {});
    const share = two.best && (Math.min(...shares) / shares.reduce((sum, count) => sum + count, 0)) * 100;
    const common = { case: 'two-workers', load: two.best?.load ?? 0, failure: two.failure ?? one.failure };
    return [
      judged(
        {
          ...{ ...common, what, against: 'one worker' },
          ...{ ours: two.best?.seconds ?? null, other: one.best?.seconds ?? null },
          figures: two.best ? figuresOf(two.best, tables) : {},
        },
        { atMostTimes: NO_SLOWER },
      ),
      judged(
        {
          ...{ ...common, what: '… activities of the one that did fewer', against: '–', unit: '%' },
          ...{ ours: share && (shares.length < 2 ? 0 : share), other: null, figures: {} },
        },
        { atLeast: 25 },
      ),
    ];
  },
};
