/**
 * Runs one HTTP request's statement on a session, with its settings and query parameters, and
 * leaves the session as it found it.
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
    if (session.staleParameters.has(name) && !parameters.has(name)) {
      throw raise('unknownParameter', `Substitution \`${name}\` is not set`);
    }
  }
}

async function prepare(session: PooledSession, statement: Statement): Promise<void> {
  const assignments: string[] = [];
  for (const [name, value] of statement.settings) {
    if (!/^[A-Za-z_]\w*$/.test(name)) throw raise('unknownSetting', `Unknown setting '${name}'`);
    assignments.push(`${name} = ${quoteString(value)}`);
  }
  for (const [name, value] of statement.parameters) {
    if (!/^[A-Za-z_]\w*$/.test(name)) throw raise('unknownParameter', `Bad query parameter name '${name}'`);
    session.staleParameters.add(name);
    assignments.push(`param_${name} = ${quoteString(value)}`);
  }
  if (assignments.length > 0) await execute(session, `SET ${assignments.join(', ')}`);
  if (statement.database !== undefined) await execute(session, `USE ${quoteIdentifier(statement.database)}`);
}

async function restore(session: PooledSession, statement: Statement): Promise<void> {
  const keyword = firstKeyword(statement.sql);
  const names = [...statement.settings.keys()].filter((name) => /^[A-Za-z_]\w*$/.test(name));
  // `SET` and `USE` do not outlive their request on a server either (no `session_id`).
  if (keyword === 'SET') names.push(...settingsNamed(statement.sql).filter((name) => !name.startsWith('param_')));
  await execute(session, `SET ${names.map((name) => `${name} = DEFAULT`).join(', ')}`, names.length > 0).catch(
    async () => {
      // One unknown name spoils the whole statement: restore the others one by one.
      for (const name of names) await execute(session, `SET ${name} = DEFAULT`).catch(() => undefined);
    },
  );
  if (statement.database !== undefined || keyword === 'USE')
    await execute(session, 'USE default').catch(() => undefined);
}

async function execute(session: PooledSession, sql: string, wanted = true): Promise<void> {
  if (wanted) await session.engine.queryAsync(sql, { format: 'Null' });
}
