import type { LeftOut } from './drill-left-out.js';
import { mayHoldRows, tableKind } from './inventory.js';
import type { ManifestTable } from './manifest.js';
import { tableKey, type TableName } from './names.js';
import type { TableReport } from './report.js';

/** Rows that were found in the target, table by table, against those that the manifest of the backup has. */

/** As the recovery counted them before merges were allowed again: those of Replacing and its kin drop rows. */
export interface FoundRows extends TableName {
  shard: string;
  /** Null: not counted, or without rows of its own. */
  rows: number | null;
}

interface ShardTable extends TableName {
  shard: string;
}

export interface ManifestRows {
  /** Tables whose rows were compared. */
  counted: number;
  /** Sum of `lost`, and how many tables it is, also beyond those listed. */
  rowsLost: number;
  tablesLost: number;
  /** In the manifest and not, or not whole, in the target. `rows`: how many; null: it has none of its own, or nobody knows. */
  lost: (ShardTable & { rows: number | null })[];
  /** Tables with more rows than the manifest has. */
  extra: ShardTable[];
  uncounted: (ShardTable & { why: string })[];
}

export const MAX_LOST_LISTED = 50;
/** Each is to be named; a report has to fit into an answer of Temporal. */
const MAX_UNCOUNTED_LISTED = 1_000;

/** A table once for each shard: the replica with most rows. What a worker that was killed did not report is not there. */
export function foundRows(tables: readonly TableReport[]): FoundRows[] {
  const found = new Map<string, FoundRows>();
  for (const { database, table, shard, outcome, rowsFound } of tables) {
    if (outcome === 'failed' || outcome === 'skipped') continue;
    const key = keyOf({ database, table, shard });
    const before = found.get(key);
    if (!before || (rowsFound ?? -1) > (before.rows ?? -1)) found.set(key, { database, table, shard, rows: rowsFound });
  }
  return [...found.values()];
}

export function compareWithManifest(
  shards: readonly { shard: string; tables: readonly ManifestTable[] }[],
  found: readonly FoundRows[],
  leftOut: readonly LeftOut[],
): ManifestRows {
  const restored = new Map(found.map((each) => [keyOf(each), each]));
  const out = new Set(leftOut.map(keyOf));
  const result: ManifestRows = { counted: 0, rowsLost: 0, tablesLost: 0, lost: [], extra: [], uncounted: [] };
  for (const { shard, tables } of shards)
    for (const { database, table, engine, parts } of tables) {
      const name = { database, table, shard };
      if (out.has(keyOf(name))) continue;
      const here = restored.get(keyOf(name));
      const hasRows = tableKind(engine) !== 'object';
      const expected = hasRows ? (parts?.rows ?? null) : null;
      if (!here) lose(result, name, expected);
      else if (!hasRows && !mayHoldRows(engine)) continue;
      else if (!hasRows) leave(result, name, `rows of the engine ${engine} are not compared`);
      else if (expected === null) leave(result, name, 'the manifest does not say how many it had');
      else if (here.rows === null) leave(result, name, 'nobody counted what was restored');
      else {
        result.counted++;
        if (here.rows < expected) lose(result, name, expected - here.rows);
        if (here.rows > expected) result.extra.push(name);
      }
    }
  result.lost.sort((a, b) => (b.rows ?? 0) - (a.rows ?? 0));
  result.lost = result.lost.slice(0, MAX_LOST_LISTED);
  result.extra = result.extra.slice(0, MAX_LOST_LISTED);
  return result;
}

function lose(result: ManifestRows, name: ShardTable, rows: number | null): void {
  result.tablesLost++;
  result.rowsLost += rows ?? 0;
  result.lost.push({ ...name, rows });
}

function leave(result: ManifestRows, name: ShardTable, why: string): void {
  if (result.uncounted.length < MAX_UNCOUNTED_LISTED) result.uncounted.push({ ...name, why });
}

function keyOf(name: ShardTable): string {
  return `${name.shard}/${tableKey(name)}`;
}
