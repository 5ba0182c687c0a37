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
const DECEIVING =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff]/u;

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
  if (!/^[A-Za-z0-9][A-Za-z0-9._:+-]*$/.test(name) || name.includes('..') || name.endsWith('.'))
    throw new RecoveryError('INPUT_INVALID', `${field} may have letters, digits and ._:+- only`, { field });
  return name;
}

/**
 * `making`: a clone not yet compared. `clone`: complete. `staging`: restored, not yet verified. `held`: what stood in the
 * way. `next`: the replicated table that takes its place once it is validated.
 */
export type CloneRole = 'making' | 'clone' | 'staging' | 'held' | 'next';

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

/** 64-bit FNV-like hash, only to shorten names; the full name stands in the clone's comment. */
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
  // 255 bytes, less what a dropped table's file gets for a while: its database before it, its UUID and '.sql' after it.
  const table = fileNameBytes(readable) <= 180 ? readable : `${role} ${shortHash(tableKey(name))}`;
  return { database: RECOVERY_DATABASE, table };
}

/** The name that a finished recovery's table in `_recovery` is kept under. */
export function asideTable(recoveryId: string, table: string): string {
  const readable = `aside ${shortHash(recoveryId)} ${table}`;
  return fileNameBytes(readable) <= 200 ? readable : `aside ${shortHash(recoveryId)} ${shortHash(table)}`;
}

/** Index of the dot between database and table: the first that no backslash escapes; -1 without one. */
export function separatorOf(pattern: string): number {
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === '\\') i++;
    else if (pattern[i] === '.') return i;
  }
  return -1;
}

/** Compiles a `database.table` pattern. `*` is any run of characters within one name; `\\.` is a dot of a database's name. */
export function compilePattern(pattern: string): (name: TableName) => boolean {
  const dot = separatorOf(pattern);
  if (dot < 0) return () => false;
  const unescape = (text: string) => text.replace(/\\(.)/g, '$1');
  const database = unescape(pattern.slice(0, dot));
  const table = unescape(pattern.slice(dot + 1));
  return (name) => globMatches(database, name.database) && globMatches(table, name.table);
}

/** Greedy with one point to come back to: linear in practice, where a regular expression of many `*` is not. */
function globMatches(glob: string, text: string): boolean {
  let g = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (glob[g] === '*') {
      star = g++;
      resume = t;
    } else if (g < glob.length && glob[g] === text[t]) {
      g++;
      t++;
    } else if (star >= 0) {
      g = star + 1;
      t = ++resume;
    } else return false;
  }
  while (glob[g] === '*') g++;
  return g === glob.length;
}
