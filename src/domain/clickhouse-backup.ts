import { z } from 'zod';
import { parseEngine, storageClauses } from './ddl.js';
import { RecoveryError } from './errors.js';
import { tableKind, type TableDefinition } from './inventory.js';
import type { BackupContents, ManifestTable } from './manifest.js';
import { tableKey, type TableName } from './names.js';

/** One table of a clickhouse-backup backup, from its JSON. */
export interface ClickHouseBackupTable extends TableName {
  /** All zeros in an Ordinary database. */
  uuid: string;
  /** As clickhouse-backup keeps it: materialized views as ATTACH. */
  query: string;
  /** Names of the parts on all disks. Null: the backup holds the definition only (Log family, views, `--schema`). */
  parts: string[] | null;
  /** Of the data, null where the backup does not say: a part of it is in the base of an incremental backup. */
  bytes: number | null;
  /** Unfinished when the backup was taken. clickhouse-backup applies them to the restored table itself. */
  mutations: { mutationId: string; command: string }[];
}

/** `metadata.json` and the JSON of each table. */
export interface ClickHouseBackupManifest {
  backup: string;
  /** ISO 8601. */
  takenAt: string;
  serverVersion: string;
  /** The base of an incremental backup. */
  requiredBackup: string | null;
  databases: { name: string; engine: string }[];
  functions: string[];
  tables: ClickHouseBackupTable[];
}

const NO_UUID = '00000000-0000-0000-0000-000000000000';
const MAX_TABLES = 100_000;

const name = z.string().min(1).max(1_024);
const backupJson = z.object({
  backup_name: name,
  creation_date: z.iso.datetime({ offset: true }),
  clickhouse_version: z.string().max(200).optional(),
  required_backup: z.string().max(1_024).optional(),
  databases: z.array(z.object({ name, engine: z.string().max(200) })).nullish(),
  functions: z.array(z.object({ name })).nullish(),
  tables: z
    .array(z.object({ database: name, table: name }))
    .max(MAX_TABLES)
    .nullish(),
});
const tableJson = z.object({
  database: name,
  table: name,
  uuid: z
    .string()
    .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    .optional(),
  query: z.string(),
  parts: z
    .record(z.string(), z.array(z.object({ name: z.string(), required: z.boolean().optional() })).nullable())
    .nullish(),
  size: z.record(z.string(), z.int().min(0)).nullish(),
  mutations: z.array(z.object({ mutation_id: z.string(), command: z.string() })).nullish(),
  metadata_only: z.boolean().optional(),
});

/**
 * Reads the JSON texts of one backup. The list in `metadata.json` is written last: a table that has no JSON, or a JSON
 * that is not in the list, means a damaged or unfinished backup. Throws RecoveryError `MANIFEST_INVALID`.
 */
export function parseClickHouseBackup(backup: string, metadata: string, tables: string[]): ClickHouseBackupManifest {
  const head = parse(backupJson, metadata, `${backup}/metadata.json`);
  if (head.backup_name !== backup)
    throw damaged(backup, `its metadata.json is of the backup ${quoted(head.backup_name)}`);
  const found = new Map<string, ClickHouseBackupTable>();
  for (const text of tables) {
    const table = toTable(backup, parse(tableJson, text, `the JSON of a table of ${backup}`));
    if (found.has(tableKey(table))) throw damaged(backup, `the table ${quoted(tableKey(table))} is there twice`);
    found.set(tableKey(table), table);
  }
  const listed = new Set((head.tables ?? []).map(tableKey));
  const missing = [...listed].find((key) => !found.has(key)) ?? [...found.keys()].find((key) => !listed.has(key));
  if (missing !== undefined)
    throw damaged(backup, `metadata.json and the JSON files do not name the same tables: ${quoted(missing)}`);
  return {
    backup,
    takenAt: head.creation_date,
    serverVersion: head.clickhouse_version ?? '',
    requiredBackup: head.required_backup || null,
    databases: head.databases ?? [],
    functions: (head.functions ?? []).map((each) => each.name),
    tables: [...found.values()],
  };
}

function toTable(backup: string, json: z.infer<typeof tableJson>): ClickHouseBackupTable {
  const { database, table } = json;
  const parts = Object.values(json.parts ?? {}).flatMap((each) => each ?? []);
  const names = parts.map((part) => part.name);
  const where = quoted(tableKey({ database, table }));
  const illegal = names.find((each) => !/^[^/\\\s]{1,200}_\d+_\d+_\d+(_\d+)?$/.test(each));
  if (illegal !== undefined) throw damaged(backup, `${where} has a part with the name ${quoted(illegal)}`);
  if (new Set(names).size !== names.length) throw damaged(backup, `a part of ${where} is there twice`);
  const hasData = json.parts !== null && json.parts !== undefined && json.metadata_only !== true;
  const sizes = Object.values(json.size ?? {});
  return {
    database,
    table,
    uuid: json.uuid ?? NO_UUID,
    query: json.query,
    parts: hasData ? names : null,
    bytes: hasData && json.size && !parts.some((part) => part.required) ? sizes.reduce((a, b) => a + b, 0) : null,
    mutations: (json.mutations ?? []).map(({ mutation_id, command }) => ({ mutationId: mutation_id, command })),
  };
}

/** What the planner knows of the backup. Rows and part hashes are not known: `counted` says what is. */
export function toBackupContents(
  manifest: ClickHouseBackupManifest,
  { repository, node, destination }: { repository: string; node: string; destination: string },
): BackupContents {
  return {
    evidence: 'backup',
    repository,
    name: manifest.backup,
    node,
    destination,
    takenAt: manifest.takenAt,
    tables: manifest.tables.map(toManifestTable),
    databases: manifest.databases,
    // clickhouse-backup sends them to the restored table after its parts: sent again, UPDATE x = x + 1 would count twice.
    unfinishedMutations: [],
    keeperState: [
      ...manifest.functions.map((each) => ({ what: 'function', detail: each })),
      ...manifest.tables.flatMap((table) =>
        table.mutations.map(({ mutationId, command }) => ({
          what: 'unfinished mutation, replayed by clickhouse-backup',
          detail: `${tableKey(table)}: ${mutationId}: ${command}`.slice(0, 500),
        })),
      ),
    ],
  };
}

function toManifestTable(table: ClickHouseBackupTable): ManifestTable {
  const definition = definitionOf(table);
  const kind = tableKind(definition.engine);
  const isMergeTree = kind === 'replicated' || kind === 'merge-tree';
  // Replayed mutations change the parts.
  const bytes = table.mutations.length > 0 ? null : table.bytes;
  return {
    ...definition,
    parts: null,
    partitionIds: isMergeTree ? partitionIds(table.parts ?? [], isOldSyntax(definition.engineFull)) : [],
    source: { database: table.database, table: table.table },
    ...(isMergeTree && table.parts && { counted: { parts: table.parts.length, rows: null, bytes } }),
    ...((isMergeTree || kind === 'other-data') && !table.parts && { definitionOnly: true as const }),
  };
}

const OBJECTS: [string, string][] = [
  ['MATERIALIZED VIEW ', 'MaterializedView'],
  ['LIVE VIEW ', 'LiveView'],
  ['WINDOW VIEW ', 'WindowView'],
  ['VIEW ', 'View'],
  ['DICTIONARY ', 'Dictionary'],
];

/** The definition as `system.tables` gives it, from the CREATE or ATTACH query. */
export function definitionOf({ database, table, uuid, query }: Omit<ClickHouseBackupTable, 'parts'>): TableDefinition {
  const createQuery = oneLine(query).replace(/^ATTACH /, 'CREATE ');
  const object = OBJECTS.find(([words]) => createQuery.startsWith(`CREATE ${words}`));
  const engineFull = object ? '' : engineOf(createQuery);
  return {
    database,
    table,
    uuid,
    engine: object?.[1] ?? parseEngine(engineFull).name,
    engineFull,
    ...keysOf(engineFull),
    createQuery,
  };
}

/** Where secrets were hidden, clickhouse-backup keeps the server's own file, which has line breaks. */
function oneLine(query: string): string {
  if (!query.includes('\n')) return query.trim();
  return query.replace(QUOTED_OR_SPACE, (text) => (/^\s/.test(text) ? ' ' : text)).trim();
}

const QUOTED_OR_SPACE = /'(?:[^'\\]|\\[^])*'|`(?:[^`\\]|\\[^])*`|"(?:[^"\\]|\\[^])*"|\s+/g;

/** What follows ` ENGINE = ` outside of quotes and brackets, without the table's comment. */
function engineOf(createQuery: string): string {
  const token = /'(?:[^'\\]|\\[^])*'|`(?:[^`\\]|\\[^])*`|"(?:[^"\\]|\\[^])*"|[([{]|[)\]}]| ENGINE = | COMMENT (?=')/g;
  let depth = 0;
  let from = -1;
  for (const { 0: text, index } of createQuery.matchAll(token)) {
    if (/^[([{]$/.test(text)) depth++;
    else if (/^[)\]}]$/.test(text)) depth--;
    else if (depth === 0 && text === ' ENGINE = ' && from < 0) from = index + text.length;
    else if (depth === 0 && text === ' COMMENT ' && from >= 0) return createQuery.slice(from, index);
  }
  return from < 0 ? '' : createQuery.slice(from);
}

function isOldSyntax(engineFull: string): boolean {
  return /MergeTree\(/.test(engineFull) && storageClauses(engineFull)['ORDER BY'] === undefined;
}

type Keys = Pick<TableDefinition, 'partitionKey' | 'sortingKey' | 'primaryKey' | 'samplingKey'>;

function keysOf(engineFull: string): Keys {
  if (isOldSyntax(engineFull)) {
    // MergeTree(date, [sampling,] (keys), granularity, …), after the path and the name of a replicated one.
    const { name: engine, args } = parseEngine(engineFull);
    const own = engine.startsWith('Replicated') ? args.slice(2) : args;
    const granularity = own.findIndex((arg) => /^\d+$/.test(arg));
    if (granularity < 2) return { partitionKey: '', sortingKey: '', primaryKey: '', samplingKey: '' };
    const key = untuple(own[granularity - 1] ?? '');
    const samplingKey = granularity === 3 ? (own[1] ?? '') : '';
    return { partitionKey: `toYYYYMM(${own[0]})`, sortingKey: key, primaryKey: key, samplingKey };
  }
  const clauses = storageClauses(engineFull);
  const sortingKey = untuple(clauses['ORDER BY'] ?? '');
  return {
    partitionKey: untuple(clauses['PARTITION BY'] ?? ''),
    sortingKey,
    primaryKey: untuple(clauses['PRIMARY KEY'] ?? '') || sortingKey,
    samplingKey: clauses['SAMPLE BY'] ?? '',
  };
}

/** `(a, b)` and `tuple(a, b)` stand as `a, b` in system.tables, and `tuple()` as nothing. */
function untuple(expression: string): string {
  const text = expression.trim();
  const inner = /^(?:tuple)?\(([^]*)\)$/.exec(text)?.[1];
  if (inner === undefined) return text;
  // `(a) + (b)` is no tuple: its first bracket closes before the end.
  let depth = 0;
  for (const char of inner) {
    if (char === '(') depth++;
    else if (char === ')' && --depth < 0) return text;
  }
  return inner.trim();
}

/** Parts are `<partition>_<min>_<max>_<level>`, with the old syntax `<min date>_<max date>_<min>_<max>_<level>`. */
function partitionIds(parts: string[], old: boolean): string[] {
  return [...new Set(parts.map((part) => (old ? part.slice(0, 6) : (part.split('_')[0] ?? part))))].sort();
}

function parse<T>(schema: z.ZodType<T>, text: string, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RecoveryError('MANIFEST_INVALID', `${what.slice(0, 300)} is not JSON`);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  throw new RecoveryError(
    'MANIFEST_INVALID',
    `${what.slice(0, 300)}: ${(issue?.path ?? []).map(String).join('.').slice(0, 200)}: ${(issue?.message ?? 'not valid').slice(0, 200)}`,
  );
}

function damaged(backup: string, complaint: string): RecoveryError {
  return new RecoveryError('MANIFEST_INVALID', `${backup.slice(0, 206)}: ${complaint}`);
}

/** Shown to people: escaped, and not longer than it has to be. */
function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 120));
}
