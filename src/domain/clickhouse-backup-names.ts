import { RecoveryError } from './errors.js';
import { RECOVERY_DATABASE, tableKey, type TableName } from './names.js';

/** The names that a restore of one table is asked for with. */
export interface RestoreNames {
  /** `table` of the request: a glob that matches this table alone. */
  pattern: string;
  databaseMapping: string;
  /** Null: clickhouse-backup cannot map this name, so the table keeps it. */
  tableMapping: string | null;
  /** Where the data goes: the caller makes it first, and renames it afterwards where `tableMapping` is null. */
  target: TableName;
}

/** clickhouse-backup finds the database in the query with `[^\s.]*`, and puts it into a regular expression and a glob. */
const MAPPABLE = /^[\p{L}\p{N}_-]*[A-Za-z0-9_]$/u;

/**
 * Names for a restore of `source` into the table `target` of `_recovery`, given all tables of the backup.
 *
 * Seen on 2.6.39: a database called with a space or a dot ends the clickhouse-backup process (index out of range), so
 * such a request is refused here. A table called so cannot be mapped, but restores into `_recovery` under its own name.
 * In the pattern nothing can be escaped, so globs and commas are written as `?`; a second table that it matched would
 * not be mapped, and its data would go into the live table. Throws RecoveryError `NOT_RECOVERABLE`.
 */
export function restoreNames(source: TableName, target: string, all: readonly TableName[]): RestoreNames {
  const refuse = (why: string) =>
    new RecoveryError('NOT_RECOVERABLE', `${tableKey(source).slice(0, 300)}: clickhouse-backup ${why}`, {
      objects: [tableKey(source)],
    });
  if (!MAPPABLE.test(source.database)) throw refuse('cannot restore a database of this name elsewhere');
  // Spaces at the ends would be trimmed, and a slash matches as the underscore.
  const pattern = `${source.database}.${source.table.replace(/[*?[\],\\/]|^\s|\s$/g, '?')}`;
  const alike = pattern.includes('?')
    ? all.filter((each) => matches(pattern, each))
    : (textsOf(all).get(pattern) ?? []);
  const other = alike.find((each) => tableKey(each) !== tableKey(source));
  if (other) throw refuse(`cannot tell it from ${tableKey(other).slice(0, 300)}`);
  const databaseMapping = `${source.database}:${RECOVERY_DATABASE}`;
  if (!MAPPABLE.test(source.table))
    return { pattern, databaseMapping, tableMapping: null, target: { ...source, database: RECOVERY_DATABASE } };
  if (!/^\w[^,:]*$/.test(target)) throw new RecoveryError('INTERNAL', 'a staging table with a comma or a colon');
  return {
    pattern,
    databaseMapping,
    tableMapping: `${source.table}:${target}`,
    target: { database: RECOVERY_DATABASE, table: target },
  };
}

/** `database.table`, with slashes made underscores as clickhouse-backup does. */
const textOf = ({ database, table }: TableName) => `${database}.${table}`.replace(/[\\/]/g, '_');

const texts = new WeakMap<readonly TableName[], Map<string, TableName[]>>();

/** Most patterns have no wildcard: of ten thousand tables, each is not to be compared with each. */
function textsOf(all: readonly TableName[]): Map<string, TableName[]> {
  let found = texts.get(all);
  if (!found) {
    found = new Map();
    for (const name of all) found.set(textOf(name), [...(found.get(textOf(name)) ?? []), name]);
    texts.set(all, found);
  }
  return found;
}

/** As Go's filepath.Match. */
function matches(pattern: string, name: TableName): boolean {
  const text = [...textOf(name)];
  const glob = [...pattern];
  return glob.length === text.length && glob.every((char, index) => char === '?' || char === text[index]);
}
