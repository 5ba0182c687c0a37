/** Live servers without SYSTEM RESTORE REPLICA lose ZooKeeper: the conversion, against a bare script and a runbook. */
import type { BackupServer } from '../../test/support/clickhouse-backup.js';
import { startBackupServers } from '../../test/support/live-backups.js';
import { judged, number, type Row, type Target } from '../model.js';
import { bareConversion } from '../support/bare-conversion.js';
import { restoreBackups, takeBackups } from '../support/clickhouse-backup-side.js';
import { startServersArena } from '../support/servers-arena.js';
import { attempt, runOther, runProduct, type Best, type Cost, type ProductRun } from '../support/sides.js';
import { expectedOf, mustHold } from '../support/tables.js';
import type { Case } from './case.js';
import { figuresOf, otherFigures, plural } from './restore-replica.js';

const SHARDS = 2;
const RUNBOOK = 'one table after the other';
/** 18.16 looks at a new table's queue after 10 s, so that 500 tables one after the other take an hour and a half. */
const RUNBOOK_SECONDS = 420;

export const conversion: Case = {
  name: 'conversion',
  quick: false,
  run: async (bench) => {
    const tables = bench.sizes?.[0] ?? 500;
    const each = { tables: Math.ceil(tables / SHARDS) };
    const all = each.tables * SHARDS;
    const what = `conversion, ${plural(all, 'table')} on ${SHARDS} shards × 2 live servers`;
    bench.say(what);
    await bench.closeArena();
    let backups: BackupServer[] = [];
    const arena = await startServersArena({
      ...{ dir: bench.dir('servers'), shards: SHARDS, backups: {} },
      backUp: async (rig) => {
        backups = await startBackupServers(rig);
        await takeBackups(backups);
      },
    });
    const { nodes } = arena.rig.cluster;
    const side = async <T>(work: () => Promise<T>) => {
      await arena.reset(each);
      const result = await work();
      // Also where the runbook was given up: what it did not begin is where it was.
      await mustHold(nodes, expectedOf(each));
      return result;
    };
    let left = 0;
    const ours: Best<ProductRun> = { best: null };
    const bare: Best<Cost> = { best: null };
    const runbook: Best<Cost> = { best: null };
    const restored: Best<Cost> = { best: null };
    try {
      for (let round = 0; round < bench.rounds; round++) {
        await attempt(ours, () => side(() => runProduct(arena, { deadlineSeconds: 120 + all * 0.5 })), bench.say);
        await attempt(
          bare,
          () => side(() => runOther(arena, async () => void (await bareConversion(nodes, { lanes: arena.lanes })))),
          bench.say,
        );
        await attempt(
          runbook,
          () =>
            side(() =>
              runOther(arena, async () => {
                left = await bareConversion(nodes, { lanes: null, giveUpAfterSeconds: RUNBOOK_SECONDS });
              }),
            ),
          bench.say,
        );
        await attempt(
          restored,
          async () => {
            await arena.emptyButBackups(each);
            return runOther(arena, () => restoreBackups(arena.rig, backups, each));
          },
          bench.say,
        );
      }
    } finally {
      await Promise.all(backups.map((server) => server.kill()));
      await arena.stop();
    }
    const row = (against: string, other: Best<Cost>, target: Target): Row =>
      judged(
        {
          ...{ case: 'conversion', what, against },
          ...{ ours: ours.best?.seconds ?? null, other: other.best?.seconds ?? null },
          load: ours.best?.load ?? 0,
          failure: ours.failure ?? other.failure,
          figures: {
            ...(ours.best ? figuresOf(ours.best, all) : {}),
            ...(other.best ? otherFigures(other.best, all) : {}),
          },
        },
        target,
      );
    return [
      row('bare parallel script', bare, { atMostTimes: 1.1 }),
      row(left === 0 ? RUNBOOK : `${RUNBOOK}, given up with ${number(left)} left`, runbook, { timesFaster: 3 }),
      row('clickhouse-backup restore', restored, { timesFaster: 1 }),
    ];
  },
};
