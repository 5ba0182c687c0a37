import { methodOf, sameParts, type Capabilities, type PartsDigest, type TableFacts } from '../domain/inventory.js';
import { cloneName, type TableName } from '../domain/names.js';
import type { ClickHouseNode } from '../ports.js';
import type { Queries } from './queries.js';
import { toDigest } from './unit.js';

/** What an unfinished recovery has in `_recovery` of the tables, and by which names their parts still compare. */

interface CloneRow {
  name: string;
  parts: string;
  rows: string;
  digest: string;
  identity?: string;
}

/** A table of `_recovery`. `identity`: with the names of its parts, on servers of which the conversion is. */
interface Copy {
  parts: PartsDigest;
  identity: string | null;
}

export async function clonesOn(node: ClickHouseNode, reads: Queries): Promise<Map<string, Copy>> {
  const rows = await node.query<CloneRow>(reads.CLONES_ON_NODE);
  return new Map(rows.map((row) => [row.name, { parts: toDigest(row), identity: row.identity ?? null }]));
}

export function copiesOf(name: TableName, clones: Map<string, Copy>): { clone: PartsDigest | null; held: Copy | null } {
  const clone = clones.get(cloneName('clone', name).table);
  return { clone: clone?.parts ?? null, held: clones.get(cloneName('held', name).table) ?? null };
}

/**
 * The conversion leaves a table's parts as they were under the Keeper path, names and all, until it stands aside; in place,
 * they are attached again under other names. What is not equal to the clone is not what the clone was made of.
 */
export function namesOf(
  { database, table }: TableName,
  can: Capabilities,
  seen: { standing: Pick<TableFacts, 'parts'> | null; clone: PartsDigest | null; held: Copy | null },
): Pick<TableFacts, 'namedIn'> & Partial<Pick<TableFacts, 'identity'>> {
  const { standing, clone, held } = seen;
  if (!clone && !held) return { namedIn: { database, table } };
  if (!clone || methodOf(can) !== 'conversion') return { namedIn: null };
  if (standing) return { namedIn: !held && sameParts(standing.parts, clone) ? { database, table } : null };
  if (!held || held.identity === null || !sameParts(held.parts, clone)) return { namedIn: null };
  return { namedIn: cloneName('held', { database, table }), identity: held.identity };
}
