/**
 * What the safety clones cost. The product has no switch for them, on purpose, so the bare script is run both ways: its
 * ratio is what the product's would be at most, since everything else in the product costs the same either way.
 */
import { judged } from '../model.js';
import { bareRestoreReplica } from '../support/bare.js';
import { inTurns, runOther } from '../support/sides.js';
import { expectedOf, mustHold } from '../support/tables.js';
import type { Case } from './case.js';
import { otherFigures, plural } from './restore-replica.js';

export const priceOfSafety: Case = {
  name: 'price-of-safety',
  quick: false,
  run: async (bench) => {
    const tables = bench.sizes?.[0] ?? 1_000;
    const arena = await bench.arena({ shards: 1 });
    const what = `bare script with safety clones, ${plural(tables, 'table')}`;
    bench.say(what);
    const run = async (clones: boolean) => {
      const { nodes } = arena.rig.cluster;
      await arena.reset({ tables });
      const result = await runOther(arena, () => bareRestoreReplica(nodes, { lanes: arena.lanes, clones }));
      await mustHold(nodes, expectedOf({ tables }));
      return result;
    };
    const [safe, bold] = await inTurns(
      bench.rounds,
      () => run(true),
      () => run(false),
      bench.say,
    );
    return [
      judged(
        {
          ...{ case: 'price-of-safety', what, against: 'without clones' },
          ...{ ours: safe.best?.seconds ?? null, other: bold.best?.seconds ?? null },
          load: safe.best?.load ?? 0,
          failure: safe.failure ?? bold.failure,
          figures: bold.best ? otherFigures(bold.best, tables) : {},
        },
        { atMostTimes: 1.5 },
      ),
    ];
  },
};
