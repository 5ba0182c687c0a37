/**
 * Runs one HTTP request's statement on a session, with its settings, query parameters and database. What the session
 * has from the one before is changed only where it differs: each change is a statement of its own for the engine.
 */
import { raise, toEngineError } from './clickhouse-error.js';
import type { PooledSession } from './session-pool.js';
import {
  hasSecondStatement,
  firstKeyword,
  isReadStatement,
  mentionedParameters,
  quoteIdentifier,
  quoteString,
  settingsNamed,
} from './sql-text.js';

/** One statement as the HTTP interface read it. */
export interface Statement {
  readonly sql: string;
  /** Format of the answer unless the statement names one. */
  readonly format: string;
  readonly database: string | undefined;
  readonly settings: ReadonlyMap<string, string>;
  /** Query parameter values, still in ClickHouse's escaped form. */
  readonly parameters: ReadonlyMap<string, string>;
  readonly readonly: boolean;
}

/**
 * @returns the answer's bytes; empty for statements without a result
 * @throws EngineError with ClickHouse's code
 */
export async function runStatement(session: PooledSession, statement: Statement): Promise<Uint8Array> {
  checkStatement(session, statement);
  try {
    await prepare(session, statement);
    const result = await session.engine.queryAsync(statement.sql, { format: statement.format });
    return result.bytes();
  } catch (cause) {
    throw toEngineError(cause);
  } finally {
    await restore(session, statement);
  }
}

function checkStatement(session: PooledSession, { sql, parameters, readonly }: Statement): void {
  if (sql.trim() === '') throw raise('syntaxError', 'Syntax error: failed at position 1 (end of query): Empty query');
  if (hasSecondStatement(sql)) throw raise('syntaxError', 'Syntax error (Multi-statements are not allowed)');
  if (readonly && !isReadStatement(sql)) {
    throw raise(
      'readonly',
      'Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly',
    );
  }
  // A parameter cannot be unset in a session: without this check the value an earlier request left
  // would be used in silence.
  for (const name of mentionedParameters(sql)) {
    if (session.parameters.has(name) && !parameters.has(name)) {
      throw raise('unknownParameter', `Substitution \`${name}\` is not set`);
    }
  }
}

/** Databases that are always there, or whose loss shows elsewhere: of any other, only the engine knows whether it is. */
const LASTING = new Set(['default', 'system']);

const databaseOf = ({ database }: Statement): string => database ?? 'default';

function isIn(session: PooledSession, database: string): boolean {
  return session.database === database && LASTING.has(database);
}

/** Null: its default. */
function changesOf(session: PooledSession, { settings }: Statement): [name: string, value: string | null][] {
  const wanted = [...settings].filter(([name, value]) => session.settings.get(name) !== value);
  const left = [...session.settings.keys()].filter((name) => !settings.has(name));
  return [...wanted, ...left.map((name): [string, null] => [name, null])];
}

async function prepare(session: PooledSession, statement: Statement): Promise<void> {
  const changes = changesOf(session, statement);
  for (const [name] of changes)
    if (!/^[A-Za-z_]\w*$/.test(name)) throw raise('unknownSetting', `Unknown setting '${name}'`);
  const parameters = [...statement.parameters].filter(([name, value]) => session.parameters.get(name) !== value);
  for (const [name] of parameters)
    if (!/^[A-Za-z_]\w*$/.test(name)) throw raise('unknownParameter', `Bad query parameter name '${name}'`);
  const assignments = [
    ...changes.map(([name, value]) => `${name} = ${value === null ? 'DEFAULT' : quoteString(value)}`),
    ...parameters.map(([name, value]) => `param_${name} = ${quoteString(value)}`),
  ];
  for (const [name, value] of parameters) session.parameters.set(name, value);
  try {
    if (assignments.length > 0) await execute(session, `SET ${assignments.join(', ')}`);
  } catch (cause) {
    // One bad name or value spoils the whole statement, or the rest of it: which, nobody says.
    for (const [name] of parameters) session.parameters.set(name, UNKNOWN);
    await resetSettings(
      session,
      changes.map(([name]) => name),
    );
    throw cause;
  }
  for (const [name, value] of changes)
    if (value === null) session.settings.delete(name);
    else session.settings.set(name, value);
  await use(session, statement);
}

/** No parameter has this value. */
const UNKNOWN = '\0';

async function use(session: PooledSession, statement: Statement): Promise<void> {
  const database = databaseOf(statement);
  if (isIn(session, database)) return;
  session.database = '';
  try {
    await execute(session, `USE ${quoteIdentifier(database)}`);
    session.database = database;
  } catch (cause) {
    // Nobody asked for the default one, and it may be among what was lost.
    if (statement.database !== undefined) throw cause;
  }
}

async function restore(session: PooledSession, { sql }: Statement): Promise<void> {
  const keyword = firstKeyword(sql);
  // `SET` and `USE` do not outlive their request on a server either (no `session_id`).
  if (keyword === 'USE') session.database = '';
  if (keyword === 'SET') await resetSettings(session, settingsNamed(sql));
}

/** One by one: an unknown name spoils the whole statement. */
async function resetSettings(session: PooledSession, names: string[]): Promise<void> {
  for (const name of names) {
    if (name.startsWith('param_')) session.parameters.set(name.slice('param_'.length), UNKNOWN);
    else await execute(session, `SET ${name} = DEFAULT`).catch(() => undefined);
    session.settings.delete(name);
  }
}

async function execute(session: PooledSession, sql: string): Promise<void> {
  await session.engine.queryAsync(sql, { format: 'Null' });
}
