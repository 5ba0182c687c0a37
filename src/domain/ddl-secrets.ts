/** Engines and table functions that take a credential, and the first argument that may be one, from 0. */
const CREDENTIAL_FROM: Readonly<Record<string, number>> = {
  ...{ mysql: 4, postgresql: 4, materializedpostgresql: 3, materializedmysql: 3, mongodb: 4, redis: 2 },
  ...{ remote: 3, remotesecure: 3, odbc: 0, jdbc: 0 },
  ...{ s3: 2, s3cluster: 3, s3queue: 2, cosn: 2, oss: 2, gcs: 2, iceberg: 2, icebergs3: 2, deltalake: 2, hudi: 2 },
  ...{ azureblobstorage: 3, icebergazure: 3 },
};
const CALL = new RegExp(`\\b(${Object.keys(CREDENTIAL_FROM).join('|')})\\s*\\(`, 'gi');
const LITERAL = /'((?:[^'\\]|\\.)*)'/g;
/** `PASSWORD 'x'`, `rabbitmq_password = 'x'`, `secret_access_key='x'`, but not `password String`. */
const NAMED = /\w*(?:password|secret|token|access_key|credential|account_key)\w*[`"]?\s*[=(]?\s*'[^']/i;
const USERINFO = /:\/\/[^/\s'"@]+:[^/\s'"@]+@/;
/** What servers since 23 show in the place of a credential. */
const MASK = /\[HIDDEN\]/;

/**
 * Whether a definition carries a credential, or shows that one was masked. Such an object is left to a person: its DDL
 * would stand in the plan and with it in Temporal's history, and a masked one would be created with a wrong password.
 * Suspects rather too much: an S3 engine with a format and a compression looks as one with keys.
 * Source: ClickHouse's documentation of the engines and table functions, and of `format_display_secrets_in_show_and_select`.
 */
export function carriesSecret(createQuery: string): boolean {
  if (MASK.test(createQuery) || NAMED.test(createQuery) || USERINFO.test(createQuery)) return true;
  return [...createQuery.matchAll(CALL)].some((call) => {
    const from = CREDENTIAL_FROM[(call[1] ?? '').toLowerCase()] ?? 0;
    return argumentsAt(createQuery, call.index + call[0].length)
      .slice(from)
      .some((argument) => [...argument.matchAll(LITERAL)].some(([, text]) => text !== ''));
  });
}

/** The arguments of a call, as written, from just past its bracket. Tolerant: what cannot be read ends with the text. */
function argumentsAt(text: string, start: number): string[] {
  const found = [''];
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    const char = text[i] ?? '';
    const quoted = /^(?:'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)/.exec(text.slice(i, i + 10_000))?.[0];
    if (quoted === undefined && char === ')' && depth-- === 0) break;
    if (quoted === undefined && char === '(') depth++;
    if (quoted === undefined && char === ',' && depth === 0) found.push('');
    else found[found.length - 1] += quoted ?? char;
    if (quoted !== undefined) i += quoted.length - 1;
  }
  return found;
}
