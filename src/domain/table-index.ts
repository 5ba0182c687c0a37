import { tableKey, type TableName } from './names.js';

const indexes = new WeakMap<readonly unknown[], Map<string, unknown>>();

/**
 * The entry of a list for a table. The list is indexed once, at the first question: a plan asks about every table on
 * every node, and of ten thousand tables each search through the list would be ten thousand comparisons. For lists that
 * do not change any more.
 */
export function entryFor<Entry>(
  list: readonly Entry[],
  nameOf: (entry: Entry) => TableName,
  name: TableName,
): Entry | undefined {
  let index = indexes.get(list) as Map<string, Entry> | undefined;
  if (!index) {
    // The first of a name, as a search would find it.
    index = new Map();
    for (const entry of list) {
      const key = tableKey(nameOf(entry));
      if (!index.has(key)) index.set(key, entry);
    }
    indexes.set(list, index);
  }
  return index.get(tableKey(name));
}

/** Of lists whose entries are tables by name themselves. */
export function tableIn<Entry extends TableName>(list: readonly Entry[], name: TableName): Entry | undefined {
  return entryFor(list, (entry) => entry, name);
}
