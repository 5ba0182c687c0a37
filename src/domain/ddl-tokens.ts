import { tableKey, type TableName } from './names.js';

/** A word of a definition as `system.tables` prints it. */
export interface Token {
  kind: 'name' | 'string' | 'other';
  /** Unquoted. */
  text: string;
}

const TOKEN = /'((?:[^'\\]|\\[^]|'')*)'|`((?:[^`\\]|\\[^])*)`|"((?:[^"\\]|\\[^])*)"|([A-Za-z_][\w$]*)|(\S)/g;
const unescape = (text: string) => text.replace(/\\([^])/g, '$1');

export function tokensOf(definition: string): Token[] {
  return [...definition.matchAll(TOKEN)].map(([, string, backtick, quoted, word, other]) =>
    string !== undefined
      ? { kind: 'string', text: unescape(string) }
      : other !== undefined
        ? { kind: 'other', text: other }
        : { kind: 'name', text: word ?? unescape(backtick ?? quoted ?? '') },
  );
}

/** What is in brackets after such a name has the name of something else: `INDEX url (…)`, `TABLE db.url (…)`. */
const NAMING = ['index', 'projection', 'constraint'];

/** Functions and engines that are called, in lower case, each with the first word in its brackets. */
export function callsIn(tokens: readonly Token[]): { name: string; first: Token | undefined }[] {
  return tokens.flatMap(({ kind, text }, at) => {
    const before = tokens[at - 1];
    const isCall =
      kind === 'name' &&
      tokens[at + 1]?.text === '(' &&
      tokens[at + 1]?.kind === 'other' &&
      before?.text !== '.' &&
      !NAMING.includes(before?.text.toLowerCase() ?? '');
    return isCall ? [{ name: text.toLowerCase(), first: tokens[at + 2] }] : [];
  });
}

/**
 * Keys of all that may be a table in it: `db.table`, also as text (`dictGet('db.d', …)`), and two texts side by side
 * (`Buffer('db', 'table', …)`). Columns of tables are among them: too many rather than too few.
 */
export function tablesNamedIn(tokens: readonly Token[]): Set<string> {
  const found = new Set<string>();
  const add = (name: TableName) => found.add(tableKey(name));
  tokens.forEach(({ kind, text }, at) => {
    const [mark, next] = [tokens[at + 1], tokens[at + 2]];
    if (kind === 'other') return;
    // One name in quotes may hold both: Dictionary(`db.d`).
    const dot = text.indexOf('.');
    if (dot > 0) add({ database: text.slice(0, dot), table: text.slice(dot + 1) });
    if (next === undefined || next.kind === 'other') return;
    if ((mark?.text === '.' && kind === 'name' && next.kind === 'name') || mark?.text === ',')
      add({ database: text, table: next.text });
  });
  return found;
}
