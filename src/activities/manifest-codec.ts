import { z } from 'zod';
import { RecoveryError } from '../domain/errors.js';
import { MANIFEST_VERSION, type Manifest } from '../domain/manifest.js';

const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const name = z.string().min(1).max(1000);
const parts = z.strictObject({ parts: count, rows: count, digest: z.string().regex(/^\d{1,20}$/) });
const tableSchema = z.strictObject({
  database: name,
  table: name,
  uuid: z.string().regex(/^[0-9a-f-]{36}$/),
  engine: z.string().max(200),
  engineFull: z.string().max(1_000_000),
  partitionKey: z.string(),
  sortingKey: z.string(),
  primaryKey: z.string(),
  samplingKey: z.string(),
  createQuery: z.string().max(4_000_000),
  parts: parts.nullable(),
  partitionIds: z.array(z.string().regex(/^[A-Za-z0-9_-]{1,200}$/)),
  source: z.strictObject({ database: name, table: name }),
});
const headSchema = z.strictObject({
  version: z.number().int().positive(),
  cluster: name,
  shard: name,
  replica: name,
  backup: name,
  takenAt: z.string().max(40),
  serverVersion: z.string().max(100),
  macros: z.record(z.string(), z.string()),
  databases: z.array(z.strictObject({ name, engine: z.string().max(200) })),
  unfinishedMutations: z.array(
    z.strictObject({ database: name, table: name, mutationId: z.string(), command: z.string() }),
  ),
  keeperState: z.array(z.strictObject({ what: z.string(), detail: z.string() })),
  tables: count,
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

/** One line for the head, with the count and the sha256 of the lines that follow: one for each table. */
export function encodeManifest(manifest: Manifest, sha256: (text: string) => string): string[] {
  const { tables, ...head } = manifest;
  const lines = tables.map((table) => JSON.stringify(table));
  const unsigned = { ...head, tables: tables.length };
  return [JSON.stringify({ ...unsigned, sha256: sha256([JSON.stringify(unsigned), ...lines].join('\n')) }), ...lines];
}

/** Throws MANIFEST_INVALID for anything truncated, altered, doubled or out of shape. */
export function parseManifest(lines: string[], sha256: (text: string) => string): Manifest {
  const invalid = (why: string, field = 'manifest') =>
    new RecoveryError('MANIFEST_INVALID', why.slice(0, 300), { field });
  const [first, ...rest] = lines;
  if (first === undefined) throw invalid('the manifest is empty');
  const json = (text: string): unknown => {
    let value: unknown;
    let written: string;
    try {
      value = JSON.parse(text);
      written = JSON.stringify(value);
    } catch {
      throw invalid('the manifest is not JSON, or too deep');
    }
    // What we write is canonical: a doubled key or a `__proto__` does not come back as it was.
    if (written !== text || text.includes('"__proto__"')) throw invalid('the manifest is not as it was written');
    return value;
  };
  const raw = json(first);
  const version = typeof raw === 'object' && raw !== null && 'version' in raw ? raw.version : undefined;
  if (typeof version === 'number' && version > MANIFEST_VERSION)
    throw new RecoveryError(
      'MANIFEST_NEWER',
      `the manifest has version ${version}, this program knows ${MANIFEST_VERSION}`,
    );
  const head = headSchema.safeParse(raw);
  if (!head.success)
    throw invalid(`head: ${head.error.issues[0]?.path.join('.') ?? ''}: ${head.error.issues[0]?.message ?? ''}`);
  const { sha256: claimed, tables: tableCount, ...fields } = head.data;
  if (rest.length !== tableCount)
    throw invalid(`the manifest lists ${rest.length} tables, it should list ${tableCount}: truncated`);
  // What is hashed is the text as it was written, so rebuild the head from the raw text, in its own key order.
  const unsigned = { ...(raw as Record<string, unknown>) };
  delete unsigned['sha256'];
  if (sha256([JSON.stringify(unsigned), ...rest].join('\n')) !== claimed)
    throw invalid('the sha256 of the manifest does not fit: altered or damaged');
  const seen = new Set<string>();
  const tables = rest.map((line, index) => {
    const table = tableSchema.safeParse(json(line));
    if (!table.success)
      throw invalid(
        `table ${index}: ${table.error.issues[0]?.path.join('.') ?? ''}: ${table.error.issues[0]?.message ?? ''}`,
      );
    const key = JSON.stringify([table.data.database, table.data.table]);
    if (seen.has(key)) throw invalid(`table ${table.data.database}.${table.data.table} is listed twice`);
    seen.add(key);
    return table.data;
  });
  return { ...fields, tables };
}
