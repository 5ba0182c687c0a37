/** All tables of a cluster have lost their metadata in ZooKeeper: SYSTEM RESTORE REPLICA for each. */
import type { StageReport } from '../../src/domain/report.js';
import { judged, number, type Row, type Target } from '../model.js';
import { bareRestoreReplica } from '../support/bare.js';
import { inTurns, runOther, runProduct, type Cost, type ProductRun } from '../support/sides.js';
import { expectedOf, mustHold } from '../support/tables.js';
import type { Bench, Case } from './case.js';

const FEW = 50;
const HEAVY = 1_000;
export const deadlineOf = (tables: number) => 120 + tables * 0.3;
export const perTable = (value: number, tables: number) => Number((value / tables).toFixed(3));

/** At few tables what a run costs beside them counts, at many what each costs. Between them, both do: no target. */
function timeTarget(tables: number): Target | null {
  if (tables >= HEAVY) return { atMostTimes: 1.1 };
  return tables < FEW ? { atMostMore: 3 } : null;
}

export const plural = (count: number, what: string) => `${number(count)} ${what}${count === 1 ? '' : 's'}`;

export interface Pair {
  ours: ProductRun | null;
  other: Cost | null;
  rows: Row[];
}

/** `tables` in all, on all shards together. */
export async function compareRestore(bench: Bench, tables: number, shards: number): Promise<Pair> {
  const arena = await bench.arena({ shards });
  const each = { tables: Math.ceil(tables / shards) };
  const all = each.tables * shards;
  const what = `restore replica, ${plural(all, 'table')}, ${plural(shards, 'shard')}`;
  bench.say(what);
  const check = () => mustHold(arena.rig.cluster.nodes, expectedOf(each));
  const [ours, other] = await inTurns(
    bench.rounds,
    async () => {
      await arena.reset(each);
      const run = await runProduct(arena, { deadlineSeconds: deadlineOf(all) });
      await check();
      return run;
    },
    async () => {
      await arena.reset(each);
      const run = await runOther(arena, () => bareRestoreReplica(arena.rig.cluster.nodes, { lanes: arena.lanes }));
      await check();
      return run;
    },
    bench.say,
  );
  const [run, bare] = [ours.best, other.best];
  const load = Math.max(run?.load ?? 0, bare?.load ?? 0);
  const common = { case: 'restore-replica', load, failure: ours.failure ?? other.failure };
  const rows = [
    judged(
      {
        ...common,
        what,
        against: 'bare parallel script',
        ours: run?.seconds ?? null,
        other: bare?.seconds ?? null,
        figures: { ...(run ? figuresOf(run, all) : {}), ...(bare ? otherFigures(bare, all) : {}) },
      },
      timeTarget(all),
    ),
  ];
  const history = (name: string, ours: number | null, unit: Row['unit'], target: Target) =>
    judged({ ...common, what: `… ${name}`, against: '–', ours, other: null, unit, figures: {} }, target);
  if (run && all >= HEAVY)
    rows.push(
      history('history per table', perTable(run.history.events, all), 'events', { atMost: 1 }),
      history('history per table', perTable(run.history.bytes, all), 'bytes', { atMost: 300 }),
      history('longest run', run.history.longestEvents, 'events', { atMost: 10_240 }),
      history('worker, peak memory', Math.round(run.peakMb ?? 0), 'MB', { atMost: 400 }),
    );
  return { ours: run, other: bare, rows };
}

export function figuresOf(run: ProductRun, tables: number): Row['figures'] {
  const { history, keeper, cpu } = run;
  const latencies = Object.entries(history.latencies).map(([type, { count, totalMs }]) => [
    `meanMs ${type}`,
    Number((totalMs / count).toFixed(1)),
  ]);
  return {
    eventsPerTable: perTable(history.events, tables),
    historyBytesPerTable: perTable(history.bytes, tables),
    actionsPerTable: perTable(history.actions, tables),
    runs: history.runs,
    longestRunEvents: history.longestEvents,
    continuedAsNew: history.continuedAsNew,
    largestPayloadBytes: history.largestPayload,
    activities: history.activities,
    meanWaitForWorkerMs: perTable(history.waitingMs, history.activities),
    keeperRequestsPerTable: perTable(keeper.requests, tables),
    keeperReadsPerTable: perTable(keeper.reads, tables),
    keeperWritesPerTable: perTable(keeper.writes, tables),
    statementsPerTable: perTable(run.statements, tables),
    workerPeakMb: run.peakMb === null ? null : Math.round(run.peakMb),
    ...Object.fromEntries(
      Object.entries(cpu).map(([part, seconds]) => [`cpuMsPerTable ${part}`, perTable(seconds * 1000, tables)]),
    ),
    ...Object.fromEntries(run.report.stages.map((stage) => [`stage ${stage.name} s`, stageSeconds(stage)])),
    ...(Object.fromEntries(latencies) as Record<string, number>),
  };
}

export function stageSeconds({ startedAt, finishedAt }: StageReport): number | null {
  return startedAt === null || finishedAt === null ? null : (Date.parse(finishedAt) - Date.parse(startedAt)) / 1000;
}

export function otherFigures(bare: Cost, tables: number): Row['figures'] {
  return {
    otherKeeperRequestsPerTable: perTable(bare.keeper.requests, tables),
    otherKeeperWritesPerTable: perTable(bare.keeper.writes, tables),
    otherStatementsPerTable: perTable(bare.statements, tables),
    ...Object.fromEntries(
      Object.entries(bare.cpu).map(([part, seconds]) => [
        `otherCpuMsPerTable ${part}`,
        perTable(seconds * 1000, tables),
      ]),
    ),
  };
}

const SIZES = { quick: [10, 100], full: [10, 100, 1_000, 5_000] };

/** Time a table at many tables, against few: of one shard, where nothing else differs. */
function growth(few: number, many: number, pairs: ReadonlyMap<number, Pair>): Row[] {
  const [small, large] = [pairs.get(few), pairs.get(many)];
  if (!small || !large || few === many) return [];
  const ms = (pair: Pair, side: 'ours' | 'other', tables: number) => {
    const seconds = pair[side]?.seconds;
    return seconds === undefined ? null : (seconds * 1000) / tables;
  };
  return [
    judged(
      {
        ...{ case: 'restore-replica', what: `time a table, ${plural(many, 'table')}`, against: plural(few, 'table') },
        ...{ ours: ms(large, 'ours', many), other: ms(small, 'ours', few), unit: 'ms' },
        load: Math.max(...[...small.rows, ...large.rows].map(({ load }) => load)),
        failure: [...small.rows, ...large.rows].find(({ failure }) => failure !== undefined)?.failure,
        // How the engine itself grows.
        figures: { bareMsFew: ms(small, 'other', few), bareMsMany: ms(large, 'other', many) },
      },
      { atMostTimes: 1.15 },
    ),
  ];
}

export const restoreReplica: Case = {
  name: 'restore-replica',
  quick: true,
  run: async (bench) => {
    const rows: Row[] = [];
    for (const shards of [1, 4]) {
      const sizes = bench.sizes ?? (bench.quick ? (shards === 1 ? SIZES.quick : [100]) : SIZES.full);
      const pairs = new Map<number, Pair>();
      for (const tables of sizes) {
        const pair = await compareRestore(bench, tables, shards);
        pairs.set(tables, pair);
        rows.push(...pair.rows);
      }
      if (shards === 1 && sizes.length > 1) rows.push(...growth(HEAVY, sizes.at(-1)!, pairs));
    }
    return rows;
  },
};
