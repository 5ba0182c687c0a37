/** From what one table takes here to what a large cluster takes: the table in docs/scale.md. Pure. */
import { number, type Results, type Row } from './model.js';

export interface PerTable {
  /** Which measurement it is from. */
  from: string;
  tables: number;
  ours: number;
  bareMs: number | null;
  events: number;
  bytes: number;
  actions: number;
  keeperRequests: number;
  keeperWrites: number;
  keeperCpuMs: number;
  statements: number;
  temporalCpuMs: number;
  workerCpuMs: number;
  largestPayload: number;
  /** Mean milliseconds of each activity. */
  latencies: Record<string, number>;
}

const figure = (row: Row, name: string): number => Number(row.figures[name] ?? 0);

/** Of the largest run of restore-replica on one shard that got to its end. */
export function perTableFigures(results: Results): PerTable | null {
  const rows = (results.cases['restore-replica']?.rows ?? [])
    .map((row) => ({ row, tables: Number(/, ([\d,]+) tables?, 1 shard$/.exec(row.what)?.[1]?.replace(/,/g, '') ?? 0) }))
    .filter(({ row, tables }) => tables > 0 && row.ours !== null)
    .sort((a, b) => b.tables - a.tables);
  const found = rows[0];
  if (!found) return null;
  const { row, tables } = found;
  const latencies = Object.entries(row.figures).flatMap(([name, value]) =>
    name.startsWith('meanMs ') ? [[name.slice('meanMs '.length), Number(value)] as const] : [],
  );
  return {
    ...{ from: row.what, tables, ours: ((row.ours ?? 0) * 1000) / tables },
    bareMs: row.other === null ? null : (row.other * 1000) / tables,
    events: figure(row, 'eventsPerTable'),
    bytes: figure(row, 'historyBytesPerTable'),
    actions: figure(row, 'actionsPerTable'),
    keeperRequests: figure(row, 'keeperRequestsPerTable'),
    keeperWrites: figure(row, 'keeperWritesPerTable'),
    keeperCpuMs: figure(row, 'cpuMsPerTable keeper'),
    statements: figure(row, 'statementsPerTable'),
    temporalCpuMs: figure(row, 'cpuMsPerTable temporal'),
    workerCpuMs: figure(row, 'cpuMsPerTable workers'),
    largestPayload: figure(row, 'largestPayloadBytes'),
    latencies: Object.fromEntries(latencies),
  };
}

export interface Topology {
  shards: number;
  replicas: number;
  tables: number;
}

export interface Scale {
  units: number;
  events: number;
  gigabytes: number;
  actions: number;
  keeperWrites: number;
  keeperRequests: number;
  /** Hours, were it the only limit. */
  hours: { engines: number | null; keeper: number; temporalCore: number; workerCore: number };
  /** In which nothing but the engines and one ensemble limits: what everything else has to keep up with. */
  limitHours: number;
  limit: 'engines' | 'ZooKeeper';
  temporalCores: number;
  workerCores: number;
}

const HOUR_MS = 3_600_000;

/** A table on one replica is a unit, and a later replica is taken to cost what the first one costs. */
export function computeScale(each: PerTable, { shards, replicas, tables }: Topology): Scale {
  const units = shards * replicas * tables;
  // Nodes work side by side, and a later replica follows its authority table by table.
  const engines = each.bareMs === null ? null : (tables * each.bareMs) / HOUR_MS;
  // Its writes go through one leader, one after the other: so one core, however many servers there are.
  const keeper = (units * each.keeperCpuMs) / HOUR_MS;
  const limitHours = Math.max(engines ?? 0, keeper);
  const temporalCore = (units * each.temporalCpuMs) / HOUR_MS;
  const workerCore = (units * each.workerCpuMs) / HOUR_MS;
  return {
    ...{ units, events: units * each.events, gigabytes: (units * each.bytes) / 1e9, actions: units * each.actions },
    ...{ keeperWrites: units * each.keeperWrites, keeperRequests: units * each.keeperRequests },
    hours: { engines, keeper, temporalCore, workerCore },
    ...{ limitHours, limit: keeper > (engines ?? 0) ? ('ZooKeeper' as const) : ('engines' as const) },
    temporalCores: limitHours === 0 ? 0 : temporalCore / limitHours,
    workerCores: limitHours === 0 ? 0 : workerCore / limitHours,
  };
}

export const LARGE: Topology = { shards: 100, replicas: 3, tables: 10_000 };

const hours = (value: number | null) =>
  value === null ? '–' : value < 1 ? `${number(value * 60)} min` : `${number(value)} h`;

const cores = (coreHours: number, toKeepUp: number) => [
  `${number(coreHours)} core hours`,
  `${number(toKeepUp)} cores keep up`,
];

/** One line for each thing that is used up. */
export function scaleMarkdown(results: Results, topology = LARGE): string {
  const each = perTableFigures(results);
  if (!each) return 'Not measured yet.';
  const all = computeScale(each, topology);
  const lines = [
    [
      'engines',
      `${each.bareMs === null ? '–' : number(each.bareMs)} ms of a node`,
      `${number(topology.tables)} tables on each node`,
      hours(all.hours.engines),
    ],
    [
      'ZooKeeper',
      `${number(each.keeperRequests)} requests, ${number(each.keeperWrites)} of them writes; ${number(each.keeperCpuMs)} ms`,
      `${number(all.keeperRequests)} requests, ${number(all.keeperWrites)} writes`,
      `${hours(all.hours.keeper)} of one core`,
    ],
    [
      'Temporal’s histories',
      `${number(each.events)} events, ${number(each.bytes)} bytes`,
      `${number(all.events)} events, ${number(all.gigabytes)} GB`,
      '',
    ],
    ['Temporal’s actions', number(each.actions), number(all.actions), ''],
    ['Temporal’s CPU', `${number(each.temporalCpuMs)} ms`, ...cores(all.hours.temporalCore, all.temporalCores)],
    ['workers’ CPU', `${number(each.workerCpuMs)} ms`, ...cores(all.hours.workerCore, all.workerCores)],
  ];
  const { shards, replicas, tables } = topology;
  return [
    `| | a table on a replica, measured | ${number(shards)} shards × ${number(replicas)} replicas × ${number(tables)} tables, computed | time, were it the only limit |`,
    '|---|---|---|---|',
    ...lines.map((cells) => `| ${cells.join(' | ')} |`),
    '',
    `Measured: ${each.from}. Of the two that we cannot do without, the engines and one ensemble, **${all.limit}** limits first: ${hours(all.limitHours)}.`,
  ].join('\n');
}
