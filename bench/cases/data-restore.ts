/** A shard's data is gone: the whole way back from a native backup, against a plain RESTORE of the same tables. */
import { quote, quoteTable } from '../../src/domain/names.js';
import { CLUSTER, REPOSITORY } from '../../test/support/recovery-rig.js';
import { judged, number, type Row } from '../model.js';
import { stopWorkers } from '../support/arena.js';
import { openBare, type Bare } from '../support/bare.js';
import { attempt, inTurns, runOther, runProduct, type Best, type Cost } from '../support/sides.js';
import { DATABASE, UNMERGEABLE } from '../support/tables.js';
import type { Case } from './case.js';
import { figuresOf } from './restore-replica.js';

const TABLES = 8;
const PARTS = 4;
const BYTES_IN_ROW = 1_024;
const BACKUP = 'bench';
const MB = 1e6;

const table = (index: number) => ({ database: DATABASE, table: `t${index}` });

/** Random, so that a byte in a table is a byte on the disk. */
async function fill(node: Bare, bytes: number): Promise<number> {
  const rows = Math.ceil(bytes / TABLES / PARTS / BYTES_IN_ROW);
  await node.run(`CREATE DATABASE ${quote(DATABASE)} ENGINE = Atomic`);
  for (let i = 0; i < TABLES; i++) {
    const name = quoteTable(table(i));
    await node.run(
      `CREATE TABLE ${name} (id UInt64, bytes String CODEC(NONE)) ENGINE = MergeTree ORDER BY id SETTINGS ${UNMERGEABLE}`,
    );
    for (let part = 0; part < PARTS; part++)
      await node.run(
        `INSERT INTO ${name} SELECT number + ${part * rows}, randomString(${BYTES_IN_ROW}) FROM numbers(${rows}) SETTINGS min_insert_block_size_rows = ${rows}, max_insert_threads = 1, min_insert_block_size_bytes = 0, max_block_size = ${rows}`,
      );
    await node.run(`DETACH TABLE ${name} SYNC`);
    await node.run(`ATTACH TABLE ${name} AS REPLICATED`);
    await node.run(`SYSTEM RESTORE REPLICA ${name}`);
  }
  return rows * PARTS * TABLES;
}

const COUNT = `SELECT toString(sum(p.rows)) AS found, toString(sum(p.bytes_on_disk)) AS bytes FROM system.parts AS p WHERE p.active AND p.database IN ('${DATABASE}', 'plain')`;

export const dataRestore: Case = {
  name: 'data-restore',
  quick: false,
  run: async (bench) => {
    const gigabytes = bench.sizes?.[0] ?? 4;
    const what = `restore ${number(gigabytes)} GB from a native backup, ${TABLES} tables`;
    bench.say(what);
    const arena = await bench.arena({ shards: 1 });
    const { rig } = arena;
    const node = rig.cluster.nodes[0]!;
    await arena.empty();
    const bare = openBare(node, TABLES);
    const rows = await fill(bare, gigabytes * 1e9);
    const bytes = Number((await bare.rows<{ bytes: string }>(COUNT))[0]?.bytes);
    await bare.close();
    const worker = await rig.startWorker();
    const backup = await rig.cli('backup', '--cluster', CLUSTER, '--to', REPOSITORY, '--name', BACKUP, '--wait');
    if (backup.exitCode !== 0) throw new Error(`the backup failed: ${backup.stderr}${backup.stdout}`);
    await stopWorkers([worker]);
    const check = async () => {
      const after = openBare(node, 1);
      const found = Number((await after.rows<{ found: string }>(COUNT))[0]?.found);
      await after.close();
      if (found !== rows) throw new Error(`${found} rows came back of ${rows}`);
    };
    const deadlineSeconds = 300 + gigabytes * 120;
    const source = `Disk('backups', '${CLUSTER}/${node.shard}/${BACKUP}')`;
    const restore = async (alsoCheck: boolean) => {
      const again = openBare(node, TABLES);
      await again.run('CREATE DATABASE plain ENGINE = Atomic');
      const names = Array.from({ length: TABLES }, (_, i) => i);
      for (const i of names)
        await again.run(
          `CREATE TABLE plain.t${i} (id UInt64, bytes String CODEC(NONE)) ENGINE = MergeTree ORDER BY id`,
        );
      const tables = names.map((i) => `TABLE ${quoteTable(table(i))} AS plain.t${i}`).join(', ');
      await again.run(`RESTORE ${tables} FROM ${source} SETTINGS allow_different_table_def = 1`);
      if (alsoCheck) await Promise.all(names.map((i) => again.rows(`CHECK TABLE plain.t${i}`)));
      await again.close();
    };
    const [ours, plain] = await inTurns(
      bench.rounds,
      async () => {
        await arena.empty();
        const run = await runProduct(arena, { deadlineSeconds, request: { backup: `${REPOSITORY}/${BACKUP}` } });
        await check();
        return run;
      },
      async () => {
        await arena.empty();
        const run = await runOther(arena, () => restore(false));
        await check();
        return run;
      },
      bench.say,
    );
    const checked: Best<Cost> = { best: null };
    for (let round = 0; round < bench.rounds; round++)
      await attempt(
        checked,
        async () => {
          await arena.empty();
          return runOther(arena, () => restore(true));
        },
        bench.say,
      );
    await bench.closeArena();
    const rate = (seconds: number | undefined) => (seconds === undefined ? null : bytes / MB / seconds);
    const common = {
      ...{ case: 'data-restore', ours: rate(ours.best?.seconds), unit: 'MB/s' as const },
      ...{ load: ours.best?.load ?? 0, failure: ours.failure ?? plain.failure },
    };
    const figures: Row['figures'] = { bytes, ...(ours.best ? figuresOf(ours.best, TABLES) : {}) };
    return [
      judged(
        { ...common, what, against: 'plain RESTORE, nothing verified', other: rate(plain.best?.seconds), figures },
        { atLeastTimes: 0.95 },
      ),
      judged(
        { ...common, what, against: 'RESTORE, then CHECK TABLE', other: rate(checked.best?.seconds), figures: {} },
        { atLeastTimes: 0.95 },
      ),
    ];
  },
};
