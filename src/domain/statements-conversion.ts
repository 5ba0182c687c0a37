import { columnsOf, expandPath, parseEngine, parseReplicatedEngine, storageClauses } from './ddl.js';
import { RecoveryError } from './errors.js';
import { tableKind, type TableDefinition } from './inventory.js';
import { cloneName, literal, quoteTable, tableKey, type CloneRole, type TableName } from './names.js';
import { inheritedSettings, keys, PARTITION_PLACEHOLDER } from './statements.js';

/**
 * What changes something on servers without SYSTEM RESTORE REPLICA, in the SQL of their time: no SYNC, COMMENT, UUID or
 * CLONE AS. Tried on 18.16.1.
 */

/** A merge has no inputs that small: the one limit counts while the pool is free, the other as it fills. TTL did not exist. */
const UNMERGEABLE = 'max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1';

/** Every insert is refused, 'Too many parts' (252): what it acknowledged would be moved aside with the table. */
const CLOSED = 'parts_to_delay_insert = 0, parts_to_throw_insert = 0';

/** Whether the table that this statement attaches takes no inserts. */
export const isClosed = (attachPlain: string): boolean => attachPlain.endsWith(CLOSED);

/** Plain MergeTree, since a merge of it loses no row, with the keys of the original: parts move only between equals. */
function twinEngine(definition: TableDefinition, settings = UNMERGEABLE): string {
  if (storageClauses(definition.engineFull)['ORDER BY'] !== undefined)
    return `MergeTree${keys(definition)} SETTINGS ${inheritedSettings(definition)}${settings}`;
  // The syntax of before 1.1.54310, MergeTree(date, [sample,] key, granularity, …): another format of parts, no SETTINGS.
  const { args } = parseEngine(definition.engineFull);
  const own = tableKind(definition.engine) === 'replicated' ? args.slice(2) : args;
  const granularity = own.findIndex((argument) => /^\d+$/.test(argument));
  if (granularity < 2)
    throw new RecoveryError('NOT_RECOVERABLE', `cannot read the engine of ${tableKey(definition)}`, {
      objects: [tableKey(definition)],
    });
  return `MergeTree(${own.slice(0, granularity + 1).join(', ')})`;
}

export function createTwin(name: TableName, definition: TableDefinition): string {
  return `CREATE TABLE ${quoteTable(name)} ${columnsOf(definition)} ENGINE = ${twinEngine(definition)}`;
}

/** Hard links, and safe to repeat: ATTACH PARTITION … FROM is not, it refuses parts that are alike. */
export function fill(to: CloneRole, from: TableName, name: TableName): string {
  return `ALTER TABLE ${quoteTable(cloneName(to, name))} REPLACE PARTITION ID ${literal(PARTITION_PLACEHOLDER)} FROM ${quoteTable(from)}`;
}

export function empty(role: CloneRole, name: TableName): string {
  return `ALTER TABLE ${quoteTable(cloneName(role, name))} DROP PARTITION ID ${literal(PARTITION_PLACEHOLDER)}`;
}

export const detach = (name: TableName) => `DETACH TABLE ${quoteTable(name)}`;

/**
 * Rewrites the metadata of a detached table in an Ordinary database: the parts stay, the Keeper is left out. It stands
 * under its own name for a moment, so it takes no inserts; a table of the old engine syntax, which takes no settings,
 * does, and is found out by its rows.
 */
export function attachPlain(definition: TableDefinition): string {
  return `ATTACH TABLE ${quoteTable(definition)} ${columnsOf(definition)} ENGINE = ${twinEngine(definition, `${UNMERGEABLE}, ${CLOSED}`)}`;
}

export function moveAside(name: TableName): string {
  return `RENAME TABLE ${quoteTable(name)} TO ${quoteTable(cloneName('held', name))}`;
}

/**
 * The replicated table under a name that nobody writes to. Its path keeps the server's own macros; {database} and
 * {table} would be ours, so they are filled in.
 */
export function createNext(definition: TableDefinition, macros: Record<string, string>): string {
  return `CREATE TABLE ${quoteTable(cloneName('next', definition))} ${columnsOf(definition)} ENGINE = ${withPath(definition, macros)}`;
}

function withPath(definition: TableDefinition, macros: Record<string, string>): string {
  const { pathTemplate, replicaTemplate, plain } = parseReplicatedEngine(definition.engineFull);
  if (!/\{(database|table|uuid)\}/.test(pathTemplate + replicaTemplate)) return definition.engineFull;
  const path = expandPath(pathTemplate, macros, definition);
  const replica = expandPath(replicaTemplate, macros, definition);
  if (path === null || replica === null)
    throw new RecoveryError('NOT_RECOVERABLE', `the ZooKeeper path of ${tableKey(definition)} cannot be worked out`, {
      objects: [tableKey(definition)],
    });
  const { name, args, rest } = parseEngine(plain);
  return `Replicated${name}(${[literal(path), literal(replica), ...args].join(', ')})${rest}`;
}

export function promote(name: TableName): string {
  return `RENAME TABLE ${quoteTable(cloneName('next', name))} TO ${quoteTable(name)}`;
}

export function drop(role: CloneRole, name: TableName): string {
  return `DROP TABLE IF EXISTS ${quoteTable(cloneName(role, name))}`;
}
