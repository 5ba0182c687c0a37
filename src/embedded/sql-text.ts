/**
 * The little that the HTTP interface must understand of a statement's text. Pure.
 *
 * The engine itself accepts several statements in one call; ClickHouse's HTTP interface does not,
 * and a caller that relies on the difference would be surprised on a real server.
 */

/** A ClickHouse string literal with the value `text`. */
export function quoteString(text: string): string {
  return `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'").replace(/\0/g, '\\0')}'`;
}

/** `name` as a quoted identifier. */
export function quoteIdentifier(name: string): string {
  return `\`${name.replace(/\\/g, '\\\\').replace(/`/g, '\\`')}\``;
}

/**
 * The first word of a statement in upper case, after comments and opening brackets;
 * empty when there is none.
 */
export function firstKeyword(sql: string): string {
  const at = skipBlank(sql, 0, true);
  return /^[A-Za-z]+/.exec(sql.slice(at, at + 32))?.[0].toUpperCase() ?? '';
}

/**
 * Whether a second statement follows the first one's semicolon. Data after INSERT is not looked
 * at: a semicolon there belongs to a row.
 */
export function hasSecondStatement(sql: string): boolean {
  if (firstKeyword(sql) === 'INSERT') return false;
  const end = statementEnd(sql);
  return end < sql.length && skipBlank(sql, end + 1, false, true) < sql.length;
}

/** Names of the query parameters (`{name:Type}`) that a statement's text mentions. */
export function mentionedParameters(sql: string): Set<string> {
  return new Set([...sql.matchAll(/\{\s*([A-Za-z_]\w*)\s*:/g)].map((match) => match[1] ?? ''));
}

/** Setting names on the left-hand side in a `SET a = 1, b = 2` statement (a superset of them). */
export function settingsNamed(sql: string): string[] {
  return [...sql.matchAll(/([A-Za-z_]\w*)\s*=/g)].map((match) => match[1] ?? '');
}

/** Statements a read-only request (GET, or `readonly` set) may run. */
export function isReadStatement(sql: string): boolean {
  return ['SELECT', 'WITH', 'SHOW', 'DESCRIBE', 'DESC', 'EXISTS', 'EXPLAIN', 'CHECK', 'VALUES', 'FROM'].includes(
    firstKeyword(sql),
  );
}

/** Index of the semicolon that ends the first statement, or the text's length. */
function statementEnd(sql: string): number {
  let at = 0;
  while (at < sql.length) {
    const c = sql[at];
    if (c === ';') return at;
    if (c === "'" || c === '"' || c === '`') at = skipQuoted(sql, at, c);
    else if (c === '$') at = skipHeredoc(sql, at);
    else {
      const next = skipComment(sql, at);
      at = next > at ? next : at + 1;
    }
  }
  return at;
}

function skipQuoted(sql: string, start: number, quote: string): number {
  let at = start + 1;
  while (at < sql.length) {
    if (sql[at] === '\\') at += 2;
    else if (sql[at] !== quote) at += 1;
    else if (sql[at + 1] === quote) at += 2;
    else return at + 1;
  }
  return sql.length;
}

/** `$tag$ … $tag$` is a string literal in ClickHouse. */
function skipHeredoc(sql: string, start: number): number {
  const tag = /^\$\w*\$/.exec(sql.slice(start, start + 64))?.[0];
  const close = tag === undefined ? -1 : sql.indexOf(tag, start + tag.length);
  return tag === undefined || close < 0 ? start + 1 : close + tag.length;
}

/** The index after a comment that starts at `at`, or `at` when none does. */
function skipComment(sql: string, at: number): number {
  const two = sql.slice(at, at + 2);
  const closing = two === '/*' ? '*/' : two === '--' || two === '# ' || two === '#!' ? '\n' : undefined;
  if (closing === undefined) return at;
  const end = sql.indexOf(closing, at + 2);
  return end < 0 ? sql.length : end + closing.length;
}

function skipBlank(sql: string, start: number, brackets: boolean, semicolons = false): number {
  let at = start;
  while (at < sql.length) {
    const c = sql[at] ?? '';
    if (/\s/.test(c) || (brackets && c === '(') || (semicolons && c === ';')) at += 1;
    else {
      const next = skipComment(sql, at);
      if (next === at) return at;
      at = next;
    }
  }
  return at;
}
