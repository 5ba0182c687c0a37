/** The stage `validate` of a recovery of many parts, against one statement a node that digests them all. */
import { judged, number } from '../model.js';
import { openBare } from '../support/bare.js';
import { attempt, runOther, runProduct, type Best, type Cost, type ProductRun } from '../support/sides.js';
import { expectedOf, mustHold } from '../support/tables.js';
import type { Case } from './case.js';
import { figuresOf, plural, stageSeconds } from './restore-replica.js';

const TABLES = 1_000;
const PARTS = 100;

/** Tables and their clones, as a person would compare them. */
const DIGESTS = `SELECT p.database, p.table, count() AS n, sum(p.rows) AS r, sum(cityHash64(p.hash_of_all_files, p.rows)) AS digest FROM system.parts AS p WHERE p.active GROUP BY p.database, p.table`;

export const verification: Case = {
  name: 'verification',
  quick: false,
  run: async (bench) => {
    const tables = { tables: bench.sizes?.[0] ?? TABLES, parts: bench.sizes?.[1] ?? PARTS };
    const parts = tables.tables * tables.parts;
    const what = `verification of ${plural(tables.tables, 'table')} with ${number(parts)} parts`;
    bench.say(what);
    const arena = await bench.arena({ shards: 1 });
    const { nodes } = arena.rig.cluster;
    const ours: Best<ProductRun> = { best: null };
    const other: Best<Cost> = { best: null };
    // Once: that ZooKeeper is told of so many parts takes minutes, and is not what is compared.
    await arena.reset(tables);
    await attempt(ours, () => runProduct(arena, { deadlineSeconds: 120 + parts * 0.03 }), bench.say);
    if (ours.best) await mustHold(nodes, expectedOf(tables));
    for (let round = 0; round < bench.rounds; round++)
      await attempt(
        other,
        () =>
          runOther(arena, async () => {
            for (const node of nodes) {
              const bare = openBare(node, 1);
              await bare.rows(DIGESTS);
              await bare.close();
            }
          }),
        bench.say,
      );
    const validate = ours.best?.report.stages.find(({ name }) => name === 'validate');
    return [
      judged(
        {
          ...{ case: 'verification', what, against: 'one statement a node' },
          ...{ ours: validate ? stageSeconds(validate) : null, other: other.best?.seconds ?? null },
          ...{ load: ours.best?.load ?? 0, failure: ours.failure ?? other.failure },
          figures: ours.best ? { ...figuresOf(ours.best, tables.tables), recoverySeconds: ours.best.seconds } : {},
        },
        { atMostTimes: 1.2 },
      ),
    ];
  },
};
