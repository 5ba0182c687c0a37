import { covers, partBlocks } from './part-name.js';

/** Parts of a MergeTree table as they lie on the disk: what can be known, exactly, of servers that are stopped. */

/** `rows`: from the part's `count.txt`; null where it has none. */
export interface DiskPart {
  name: string;
  rows: number | null;
}

/** One table's folder. */
export interface PartsOnDisk {
  /** Tree and folder: `data/data/shop/orders`. */
  table: string;
  /** Those that the server will use. */
  active: DiskPart[];
  /** Entries of `detached/`. */
  detached: string[];
  /** Parts that lie there and count no more: their partition was dropped or replaced. They are not copied. */
  dropped: string[];
}

/** The parts that no other covers: what a server makes active when it starts. Sorted by name. */
export function activeParts(parts: readonly DiskPart[]): DiskPart[] {
  const known = parts.flatMap((part) => {
    const blocks = partBlocks(part.name);
    return blocks ? [{ part, blocks }] : [];
  });
  const byPartition = grouped(known, ({ blocks }) => blocks.partition);
  const active = [...byPartition.values()].flatMap((same) => {
    // In this order whatever covers a part comes before it.
    const sorted = [...same].sort(
      (a, b) =>
        a.blocks.min - b.blocks.min ||
        b.blocks.max - a.blocks.max ||
        b.blocks.level - a.blocks.level ||
        b.blocks.mutation - a.blocks.mutation,
    );
    const kept: typeof sorted = [];
    for (const candidate of sorted) {
      const last = kept.at(-1);
      if (!last || !covers(last.blocks, candidate.blocks)) kept.push(candidate);
    }
    return kept.map(({ part }) => part);
  });
  return active.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Of parts that count no more, those that no live part has replaced: a server that starts would count them again. */
export function uncoveredParts(inactive: readonly string[], active: readonly string[]): string[] {
  const live = grouped(
    active.flatMap((name) => partBlocks(name) ?? []),
    ({ partition }) => partition,
  );
  return inactive.filter((name) => {
    const blocks = partBlocks(name);
    return blocks !== null && !live.get(blocks.partition)?.some((other) => covers(other, blocks));
  });
}

function grouped<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

/**
 * What is wrong with tables that were copied and run again. Writers are back and merges go on, so parts may have been
 * added or merged; none may be gone, changed or set aside. For people, at most `limit` lines.
 */
export function lostParts(before: readonly PartsOnDisk[], now: readonly PartsOnDisk[], limit = 20): string[] {
  const tables = new Map(now.map((table) => [table.table, table]));
  const findings: string[] = [];
  for (const table of before) {
    const found = tables.get(table.table);
    const names = new Map(found?.active.map((part) => [part.name, part]));
    const covering = grouped(
      (found?.active ?? []).flatMap((part) => partBlocks(part.name) ?? []),
      ({ partition }) => partition,
    );
    for (const part of table.active) {
      const same = names.get(part.name);
      if (same && same.rows !== part.rows)
        findings.push(`${table.table}: part ${part.name} had ${part.rows} rows, has ${same.rows}`);
      if (same) continue;
      const blocks = partBlocks(part.name);
      if (!blocks || !covering.get(blocks.partition)?.some((other) => covers(other, blocks)))
        findings.push(`${table.table}: part ${part.name} (${part.rows ?? 'unknown'} rows) is missing`);
    }
    const known = new Set(table.detached);
    for (const name of found?.detached ?? [])
      if (!known.has(name) && !table.dropped.some((part) => name.endsWith(part)))
        findings.push(`${table.table}: new in detached/: ${name}`);
  }
  return findings.length > limit ? [...findings.slice(0, limit), `and ${findings.length - limit} more`] : findings;
}

export function totals(tables: readonly PartsOnDisk[]): { parts: number; rows: number } {
  let parts = 0;
  let rows = 0;
  for (const table of tables) {
    parts += table.active.length;
    for (const part of table.active) rows += part.rows ?? 0;
  }
  return { parts, rows };
}
