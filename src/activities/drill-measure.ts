import { inLanes } from '../domain/lanes.js';
import { isLost, MAX_LISTED, type DrilledBackup, type Measured, type TableComparison } from '../domain/drill.js';
import type { LeftOut } from '../domain/drill-left-out.js';
import { compareWithManifest, type FoundRows, type ManifestRows } from '../domain/drill-rows.js';
import { tableKind } from '../domain/inventory.js';
import { quote, quoteTable, tableKey, type TableName } from '../domain/names.js';
import type { ManifestTable } from '../domain/manifest.js';
import { shardsOf, type NodeRef } from '../domain/topology.js';
import type { ClickHouseNode, ClusterPorts, Ports } from '../ports.js';
import { readManifest } from './inspect-backup.js';
import type { StepContext } from './runtime.js';

/** What was restored, and what the source has by now. Reads only. */

const FOREIGN = `database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') AND NOT startsWith(database, '_recovery')`;
const TABLES = `SELECT database, name AS table, engine, total_rows AS rows, toUnixTimestamp(metadata_modification_time) AS changed FROM system.tables WHERE ${FOREIGN} AND NOT is_temporary`;
const OLDEST_PARTS = `SELECT database, table, toUnixTimestamp(min(modification_time)) AS oldest FROM system.parts WHERE active AND rows > 0 AND ${FOREIGN} GROUP BY database, table`;
/** Of the keys: that is when a row happened. Other columns may hold any time; a Date is too coarse to be an age. */
const TIMES = `SELECT database, table, name FROM system.columns WHERE (is_in_partition_key OR is_in_sorting_key) AND match(type, '^(Nullable\\\\()?DateTime') AND ${FOREIGN}`;

const LANES = 4;
const SCAN_TIMEOUT_MS = 600_000;

interface Row extends TableName {
  engine: string;
  rows: string | null;
  changed: number;
}

interface Found extends TableName {
  rows: number | null;
  /** Seconds since the epoch: the oldest trace of it. */
  since: number;
  /** The same of its oldest rows; Infinity: it has none, or is not of the MergeTree family. */
  filledSince: number;
}

export interface MeasureInput {
  backup: DrilledBackup;
  leftOut: readonly LeftOut[];
  /** What the recovery counted in the target; null: not to be compared. */
  found: readonly FoundRows[] | null;
}

export async function measureDrill(
  ports: Ports,
  source: ClusterPorts,
  target: ClusterPorts,
  { backup, leftOut, found }: MeasureInput,
  context: StepContext,
): Promise<Measured> {
  const { takenAt } = backup;
  const taken = Date.parse(takenAt);
  const restored = await byShard(target);
  const present = await byShard(source);
  const all = [...restored.values()].flatMap((tables) => [...tables.values()]);
  const out = new Set(leftOut.map((each) => `${each.shard}/${tableKey(each)}`));
  const compared = [...present].flatMap(([shard, tables]) =>
    [...tables]
      .filter(([key]) => !out.has(`${shard}/${key}`))
      .map(([key, table]) => compare(shard, table, restored.get(shard)?.get(key), taken / 1000)),
  );
  const lacking = compared.filter(
    ({ restoredRows, sourceRows }) => restoredRows === null || (sourceRows ?? 0) > restoredRows,
  );
  return {
    tables: all.length,
    rows: all.reduce((sum, { rows }) => sum + (rows ?? 0), 0),
    newestRow: Number.isFinite(taken) ? await newestRow(target, taken, context) : null,
    lacking: lacking.sort(byWeight).slice(0, MAX_LISTED),
    rowsSince: lacking
      .filter(({ isLost }) => !isLost)
      .reduce((sum, { restoredRows, sourceRows }) => sum + (sourceRows ?? 0) - (restoredRows ?? 0), 0),
    tablesLost: lacking.filter(({ isLost }) => isLost).length,
    manifest: found && (await againstManifest(ports, target, { backup, leftOut, found })),
  };
}

/** The manifest is read again: what the recovery did not plan is lost too. */
async function againstManifest(
  ports: Ports,
  target: ClusterPorts,
  { backup, leftOut, found }: MeasureInput & { found: readonly FoundRows[] },
): Promise<ManifestRows | null> {
  const repository = target.repositories.find(({ name }) => name === backup.repository);
  if (repository?.kind !== 'native') return null;
  const shards: { shard: string; tables: ManifestTable[] }[] = [];
  for (const [shard, [first]] of shardsOf(target.topology)) {
    const manifest = first ? await readManifest(ports, target, repository, backup.name, first) : null;
    if (!manifest) return null;
    shards.push({ shard, tables: manifest.tables });
  }
  return compareWithManifest(shards, found, leftOut);
}

function byWeight(a: TableComparison, b: TableComparison): number {
  const weight = (each: TableComparison) => (each.sourceRows ?? 0) - (each.restoredRows ?? 0);
  return Number(b.isLost) - Number(a.isLost) || weight(b) - weight(a) || (tableKey(a) < tableKey(b) ? -1 : 1);
}

function compare(shard: string, present: Found, restored: Found | undefined, taken: number): TableComparison {
  return {
    database: present.database,
    table: present.table,
    shard,
    restoredRows: restored ? (restored.rows ?? 0) : null,
    sourceRows: present.rows,
    isLost: isLost({
      restored: restored && { rows: restored.rows },
      since: present.since,
      filledSince: present.filledSince,
      taken,
    }),
  };
}

/** Of a shard, a table has as many rows as its fullest replica. */
async function byShard(cluster: ClusterPorts): Promise<Map<string, Map<string, Found>>> {
  const shards = new Map<string, Map<string, Found>>();
  for (const [ref, tables] of await inLanes(
    cluster.topology.nodes,
    8,
    async (ref) => [ref, await tablesOf(cluster.node(ref.name))] as const,
  )) {
    const known = shards.get(ref.shard) ?? new Map<string, Found>();
    shards.set(ref.shard, known);
    for (const table of tables) {
      const before = known.get(tableKey(table));
      known.set(tableKey(table), before && (before.rows ?? 0) >= (table.rows ?? 0) ? before : table);
    }
  }
  return shards;
}

async function tablesOf(node: ClickHouseNode): Promise<Found[]> {
  const oldest = new Map(
    (await node.query<TableName & { oldest: number }>(OLDEST_PARTS)).map((row) => [tableKey(row), Number(row.oldest)]),
  );
  return (await node.query<Row>(TABLES))
    .filter(({ engine }) => tableKind(engine) !== 'streaming')
    .map(({ database, table, engine, rows, changed }) => ({
      database,
      table,
      filledSince: oldest.get(tableKey({ database, table })) ?? Infinity,
      // Those of a view are its inner table's.
      rows: rows === null || tableKind(engine) === 'object' ? null : Number(rows),
      // An ALTER makes the definition look young, a merge the parts: the older of the two is nearer to the truth.
      since: Math.min(Number(changed), oldest.get(tableKey({ database, table })) ?? Infinity),
    }));
}

async function newestRow(target: ClusterPorts, taken: number, context: StepContext): Promise<string | null> {
  const first = new Map<string, NodeRef>();
  for (const ref of target.topology.nodes) if (!first.has(ref.shard)) first.set(ref.shard, ref);
  let newest: number | null = null;
  for (const ref of first.values()) {
    const node = target.node(ref.name);
    const columns = await node.query<TableName & { name: string }>(TIMES);
    const found = await inLanes(columns, LANES, async (column) => {
      context.progress({ measuring: tableKey(column) });
      // What is dated later than the backup was not known to it: an expiry date, say.
      const time = `toUnixTimestamp64Milli(toDateTime64(assumeNotNull(${quote(column.name)}), 3))`;
      const [row] = await node.query<{ newest: string | null }>(
        `SELECT maxOrNullIf(${time}, ${time} <= {taken:Int64}) AS newest FROM ${quoteTable(column)} WHERE ${quote(column.name)} IS NOT NULL`,
        { params: { taken }, timeoutMs: SCAN_TIMEOUT_MS },
      );
      return row === undefined || row.newest === null ? null : Number(row.newest);
    });
    for (const each of found) if (each !== null && (newest === null || each > newest)) newest = each;
  }
  return newest === null ? null : new Date(newest).toISOString();
}
