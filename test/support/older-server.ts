/** A node of today as a server of the years between, behind a proxy that refuses what came later. */
import type { Imitation } from './recording-proxy.js';

const SYNTAX_ERROR = { code: 62, message: 'Syntax error (SYNTAX_ERROR)' };
const UNKNOWN_TABLE = { code: 60, message: 'Table does not exist (UNKNOWN_TABLE)' };
const UNKNOWN_IDENTIFIER = { code: 47, message: 'Missing columns (UNKNOWN_IDENTIFIER)' };

const LATER_TABLES = ['server_settings', 'dropped_tables', 'detached_tables'];

/** 21.9 to 24.9. It reads `AS REPLICATED` as the name of a table like which another is to be made, so a probe finds nothing. */
export function betweenTheYears({ dropReplica }: { dropReplica: boolean }): Imitation {
  const later = [
    /CLONE AS/,
    /AS NOT REPLICATED/,
    /^(?!EXPLAIN).* AS REPLICATED/,
    ...(dropReplica ? [] : [/FROM ZKPATH/]),
  ];
  return {
    refuse: (sql) => {
      if (later.some((statement) => statement.test(sql))) return SYNTAX_ERROR;
      if (sql.includes('FROM system.columns')) return null;
      if (LATER_TABLES.some((table) => sql.includes(`system.${table}`))) return UNKNOWN_TABLE;
      return sql.includes('query_kind') ? UNKNOWN_IDENTIFIER : null;
    },
    rewrite: (sql) =>
      sql.replace(
        'FROM system.columns WHERE',
        `FROM system.columns WHERE table NOT IN ('${LATER_TABLES.join("', '")}') AND name != 'query_kind' AND`,
      ),
  };
}
