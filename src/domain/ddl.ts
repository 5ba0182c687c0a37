import { RecoveryError } from './errors.js';
import type { TableDefinition } from './inventory.js';

/** An engine clause as ClickHouse prints it: `Name(args) rest`. */
export interface EngineClause {
  name: string;
  args: string[];
  /** PARTITION BY … ORDER BY … TTL … SETTINGS …, with its leading space, or ''. */
  rest: string;
}

/** Index just past the quoted text that starts at `start` (', ` or "), with backslash escapes. */
function skipQuoted(text: string, start: number): number {
  const mark = text[start];
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === mark) return i + 1;
  }
  throw new RecoveryError('NOT_RECOVERABLE', 'a table definition has an unclosed quote');
}

/** Splits `text[start…]`, which starts with '(', at top-level commas. Returns the parts and the index past ')'. */
function splitArguments(text: string, start: number): { parts: string[]; end: number } {
  const parts: string[] = [];
  let depth = 0;
  let from = start + 1;
  for (let i = start; i < text.length;) {
    const char = text[i];
    if (char === "'" || char === '`' || char === '"') {
      i = skipQuoted(text, i);
      continue;
    }
    if (char === '(' || char === '[') depth++;
    else if (char === ')' || char === ']') {
      depth--;
      if (depth === 0) {
        const last = text.slice(from, i).trim();
        if (last !== '' || parts.length > 0) parts.push(last);
        return { parts, end: i + 1 };
      }
    } else if (char === ',' && depth === 1) {
      parts.push(text.slice(from, i).trim());
      from = i + 1;
    }
    i++;
  }
  throw new RecoveryError('NOT_RECOVERABLE', 'a table definition has an unclosed bracket');
}

export function parseEngine(engineFull: string): EngineClause {
  const name = /^\w+/.exec(engineFull)?.[0] ?? '';
  if (engineFull[name.length] !== '(') return { name, args: [], rest: engineFull.slice(name.length) };
  const { parts, end } = splitArguments(engineFull, name.length);
  return { name, args: parts, rest: engineFull.slice(end) };
}

const CLAUSES = ['PARTITION BY', 'PRIMARY KEY', 'ORDER BY', 'SAMPLE BY', 'TTL', 'SETTINGS'] as const;

/** The clauses after the engine, by keyword, as written. */
export function storageClauses(engineFull: string): Partial<Record<(typeof CLAUSES)[number], string>> {
  const { rest } = parseEngine(engineFull);
  const found: { keyword: (typeof CLAUSES)[number]; at: number }[] = [];
  let depth = 0;
  for (let i = 0; i < rest.length;) {
    const char = rest[i];
    if (char === "'" || char === '`' || char === '"') {
      i = skipQuoted(rest, i);
      continue;
    }
    if (char === '(' || char === '[') depth++;
    else if (char === ')' || char === ']') depth--;
    else if (char === ' ' && depth === 0) {
      const keyword = CLAUSES.find((each) => rest.startsWith(` ${each} `, i));
      if (keyword) found.push({ keyword, at: i });
    }
    i++;
  }
  return Object.fromEntries(
    found.map(({ keyword, at }, index) => [keyword, rest.slice(at + keyword.length + 2, found[index + 1]?.at)]),
  );
}

/** Decodes a quoted string literal; null when the text is something else. */
function unquote(text: string): string | null {
  if (!text.startsWith("'") || !text.endsWith("'")) return null;
  return text.slice(1, -1).replace(/\\(.)/g, '$1');
}

export interface ReplicatedEngine {
  /** Without the `Replicated` prefix and the first two arguments: what the plain twin is created with. */
  plain: string;
  pathTemplate: string;
  replicaTemplate: string;
}

/** Takes a `Replicated…MergeTree` clause apart. */
export function parseReplicatedEngine(engineFull: string): ReplicatedEngine {
  const { name, args, rest } = parseEngine(engineFull);
  const path = unquote(args[0] ?? '');
  const replica = unquote(args[1] ?? '');
  if (!name.startsWith('Replicated') || path === null || replica === null)
    throw new RecoveryError('NOT_RECOVERABLE', `cannot read the engine of a replicated table: ${name}`);
  const own = args.slice(2);
  return {
    plain: name.slice('Replicated'.length) + (own.length ? `(${own.join(', ')})` : '') + rest,
    pathTemplate: path,
    replicaTemplate: replica,
  };
}

/** A CREATE TABLE in three: its column list with brackets, and what follows the engine clause (` COMMENT '…'`, or ''). */
function splitCreate(definition: TableDefinition): { columns: string; after: string } {
  const text = definition.createQuery;
  const refuse = () =>
    new RecoveryError('NOT_RECOVERABLE', `cannot read the definition of ${definition.database}.${definition.table}`, {
      objects: [`${definition.database}.${definition.table}`],
    });
  let at = text.indexOf('TABLE ') + 'TABLE '.length;
  for (let i = 0; i < 2; i++) {
    const quoted = text[at] === '`' || text[at] === '"';
    at = quoted ? skipQuoted(text, at) : at + (/^[^\s.(]*/.exec(text.slice(at))?.[0].length ?? 0);
    if (text[at] !== '.') break;
    at++;
  }
  at += /^(?: UUID '[0-9a-f-]{36}')? */.exec(text.slice(at))?.[0].length ?? 0;
  if (text[at] !== '(') throw refuse();
  const { end } = splitArguments(text, at);
  const engine = ` ENGINE = ${definition.engineFull}`;
  if (!text.startsWith(engine, end)) throw refuse();
  const after = text.slice(end + engine.length);
  if (after !== '' && !after.startsWith(' COMMENT ')) throw refuse();
  return { columns: text.slice(at, end), after };
}

/** The column list of a CREATE TABLE, with its brackets. */
export function columnsOf(definition: TableDefinition): string {
  return splitCreate(definition).columns;
}

/** What follows the engine clause: ` COMMENT '…'`, or ''. */
export function commentOf(definition: TableDefinition): string {
  return splitCreate(definition).after;
}

const MAX_MACRO_LEVELS = 10;

/**
 * Expands a Keeper path as the server does: macros of the server, then {database}, {table}, {uuid}.
 * Returns null when a macro is unknown.
 */
export function expandPath(
  template: string,
  macros: Record<string, string>,
  table: { database: string; table: string; uuid: string },
): string | null {
  // Explicit macros win over implicit ones, and macros may hold macros (ClickHouse's Common/Macros.cpp).
  const values: Record<string, string> = {
    database: table.database,
    table: table.table,
    uuid: table.uuid,
    ...macros,
  };
  let expanded = template;
  for (let level = 0; level < MAX_MACRO_LEVELS && /\{[^{}]+\}/.test(expanded); level++)
    expanded = expanded.replace(/\{([^{}]+)\}/g, (whole, name: string) =>
      Object.hasOwn(values, name) ? (values[name] ?? whole) : whole,
    );
  return expanded.includes('{') ? null : expanded;
}
