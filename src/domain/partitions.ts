/** One partition of one table, as its server tells. Numbers are text. */
export interface Partition {
  id: string;
  /** Rows. */
  total: string;
  /** How many parts, and a hash of them. */
  content: string;
}

export interface DifferingPartition {
  id: string;
  sides: ('from' | 'to')[];
  /** It is on both sides, with as many rows. */
  sameRows: boolean;
}

/** Partitions in which two tables differ, in the order of their ids. */
export function differingPartitions(from: readonly Partition[], to: readonly Partition[]): DifferingPartition[] {
  const byId = (partitions: readonly Partition[]) => new Map(partitions.map((each) => [each.id, each]));
  const [ofFrom, ofTo] = [byId(from), byId(to)];
  return [...new Set([...ofFrom.keys(), ...ofTo.keys()])].sort().flatMap((id): DifferingPartition[] => {
    const [a, b] = [ofFrom.get(id), ofTo.get(id)];
    if (!a || !b) return [{ id, sides: [a ? 'from' : 'to'], sameRows: false }];
    const sameRows = a.total === b.total;
    return sameRows && a.content === b.content ? [] : [{ id, sides: ['from', 'to'], sameRows }];
  });
}
