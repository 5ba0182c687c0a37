import { RecoveryError } from './errors.js';

/** The database on every node that holds clones, staging tables and the ledger. */
export const RECOVERY_DATABASE = '_recovery';
export const LEDGER_TABLE = 'ledger';

export interface TableName {
  database: string;
  table: string;
}

/** Databases that are the server's own, or ours: never recovered, never backed up. */
export const OWN_DATABASES: readonly string[] = [
  'system',
  'INFORMATION_SCHEMA',
  'information_schema',
  RECOVERY_DATABASE,
];

/** The longest name we accept, in characters: ClickHouse keeps one file a table, and a file name has 255 bytes. */
export const MAX_NAME_LENGTH = 206;

/** Quotes an identifier for ClickHouse. The one place where it is done. */
export function quote(identifier: string): string {
  return '`' + identifier.replaceAll('\\', '\\\\').replaceAll('`', '\\`') + '`';
}

export function quoteTable({ database, table }: TableName): string {
  return `${quote(database)}.${quote(table)}`;
}

/** A string literal, for the statements that take no bound parameter (SYSTEM, DDL). */
export function literal(text: string): string {
  return "'" + text.replaceAll('\\', '\\\\').replaceAll("'", "\\'") + "'";
}

/** A stable text for maps and labels. Not SQL. A dot in a database name is escaped, so that no two tables share one. */
export function tableKey({ database, table }: TableName): string {
  return `${database.replaceAll('\\', '\\\\').replaceAll('.', '\\.')}.${table}`;
}

/** Label for people: `db.t @ shard/replica`, at most 120 characters. */
export function unitLabel(name: TableName, shard: string, replica: string): string {
  const label = `${name.database}.${name.table} @ ${shard}/${replica}`;
  return label.length <= 120 ? label : label.slice(0, 117) + '…';
}

// C0 and C1 controls and bidirectional overrides: they can make one name look like another in an approval.
// eslint-disable-next-line no-control-regex
const DECEIVING = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;

/** Refuses names that cannot be shown or stored safely. Names are refused, never 'cleaned': cleaning makes aliases. */
export function checkName(name: string, field: string): string {
  if (name === '') throw new RecoveryError('INPUT_INVALID', `${field} is empty`, { field });
  if (name.length > MAX_NAME_LENGTH)
    throw new RecoveryError(
      'INPUT_INVALID',
      `${field} has ${name.length} characters, at most ${MAX_NAME_LENGTH} are allowed`,
      { field },
    );
  if (DECEIVING.test(name))
    throw new RecoveryError('INPUT_INVALID', `${field} has a control or direction character`, { field });
  return name;
}

/** Names that end up in a path of a backup disk: no separators, no parent folders. */
export function checkPathSegment(name: string, field: string): string {
  checkName(name, field);
  if (!/^[A-Za-z0-9][A-Za-z0-9._:+-]*$/.test(name) || name.includes('..'))
    throw new RecoveryError('INPUT_INVALID', `${field} may have letters, digits and ._:+- only`, { field });
  return name;
}

/** `making`: a clone not yet compared. `clone`: complete. `staging`: restored, not yet verified. `held`: what a table held before it was rebuilt. */
export type CloneRole = 'making' | 'clone' | 'staging' | 'held';

/** Bytes that a table name takes as a file name: ClickHouse writes every byte but letters, digits and _ as %XX. */
function fileNameBytes(name: string): number {
  let bytes = 0;
  for (const char of name) {
    const code = char.codePointAt(0) ?? 0;
    const utf8 = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    bytes += /[A-Za-z0-9_]/.test(char) ? 1 : utf8 * 3;
  }
  return bytes;
}

/** 53-bit FNV-like hash, only to shorten names; the full name stands in the clone's comment. */
function shortHash(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x1000193;
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ (code * 31 + 7), 0x85ebca6b);
  }
  return (a >>> 0).toString(16).padStart(8, '0') + (b >>> 0).toString(16).padStart(8, '0');
}

/** The name of a table's clone in `_recovery`: readable where it fits in a file name, shortened with a hash where not. */
export function cloneName(role: CloneRole, name: TableName): TableName {
  const readable = `${role} ${tableKey(name)}`;
  // 213: 255 less room for '.sql.detached' and the suffix that DROP adds to a file it keeps for a while.
  const table = fileNameBytes(readable) <= 200 ? readable : `${role} ${shortHash(tableKey(name))}`;
  return { database: RECOVERY_DATABASE, table };
}

/** Compiles `database.table` patterns with * (any run of characters). A dot inside a name is written `\.`. */
export function compilePattern(pattern: string): (name: TableName) => boolean {
  const source = pattern.replace(/[\\^$+?.()|[\]{}*]/g, (char) => (char === '*' ? '.*' : '\\' + char));
  const regex = new RegExp(`^${source}$`, 'us');
  return (name) => regex.test(`${name.database}.${name.table}`) || regex.test(tableKey(name));
}
