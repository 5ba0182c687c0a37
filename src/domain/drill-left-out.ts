import { expandPath, parseEngine, parseReplicatedEngine } from './ddl.js';
import { callsIn, tablesNamedIn, tokensOf, type Token } from './ddl-tokens.js';
import { STREAMING_ENGINES, tableKind, type TableDefinition } from './inventory.js';
import { tableKey, type TableName } from './names.js';

/**
 * What a drill does not make in its target. The definitions in a backup are production's: a Kafka table would take its
 * messages, a view would write through remote() to its servers. What is not known to stay inside is left out, so that an
 * engine of tomorrow is, too.
 */
export interface LeftOut extends TableName {
  shard: string;
  why: string;
}

/** The server that the tables would be made on, and what of production it could reach. */
export interface Inside {
  macros: Record<string, string>;
  /** By name, the clusters that it knows, with the hosts of each that are no server of the target. */
  clusters: ReadonlyMap<string, readonly string[]>;
  /** Where its ZooKeeper root is in production's ZooKeeper; null: not in it. */
  rootInProduction: string | null;
  /** ZooKeeper paths of production's tables. */
  productionPaths: readonly string[];
}

interface Saved {
  tables: readonly TableDefinition[];
  databases: readonly { name: string; engine: string }[];
}

/** All that is left out, in the order of the backup, what depends on it too. */
export function leftOutOf({ tables, databases }: Saved, inside: Inside): (TableName & { why: string })[] {
  const engines = new Map(databases.map(({ name, engine }) => [name, engine]));
  const read = tables.map((definition) => {
    const tokens = tokensOf(definition.createQuery);
    return { definition, tokens, named: namedIn(definition, tokens) };
  });
  const found = new Map<string, string>();
  for (const { definition, tokens } of read) {
    const why = whyOutside(definition, tokens, engines.get(definition.database) ?? 'Atomic', inside);
    if (why !== null) found.set(tableKey(definition), why);
  }
  // Until nothing is added: a view of a view.
  for (let before = -1; before < found.size;) {
    before = found.size;
    for (const { definition, named } of read) {
      const gone = named.find((key) => found.has(key));
      if (gone !== undefined && !found.has(tableKey(definition)))
        found.set(tableKey(definition), `it depends on ${gone}, which is left out`);
    }
  }
  return read.flatMap(({ definition: { database, table } }) => {
    const why = found.get(tableKey({ database, table }));
    return why === undefined ? [] : [{ database, table, why }];
  });
}

/** What the definition names but for itself; a view also its inner table, which it does not name. */
function namedIn(definition: TableDefinition, tokens: readonly Token[]): string[] {
  const { database, table, uuid } = definition;
  const own = tableKey(definition);
  // `dictGet('d', …)`: of the database that somebody was in, most likely this one.
  const looked = callsIn(tokens).filter(({ name }) => /^(?:dict|joinget)/.test(name));
  const beside = [`.inner_id.${uuid}`, `.inner.${table}`, ...looked.map(({ first }) => first?.text ?? '')];
  const named = [
    ...tablesNamedIn(tokens),
    ...beside.map((each) => tableKey({ database, table: each })),
    ...(isDictionary(definition) ? sourceTables(tokens) : []),
  ];
  return named.filter((key) => key !== own);
}

const isDictionary = ({ createQuery }: TableDefinition) => /^\s*CREATE DICTIONARY\b/.test(createQuery);

/** `SOURCE(CLICKHOUSE(DB 'd' TABLE 't'))`, or a QUERY, which is a text there. */
function sourceTables(tokens: readonly Token[]): string[] {
  const after = (word: string) => tokens[tokens.findIndex(({ text }) => text === word) + 1]?.text ?? '';
  const queries = tokens.filter(({ kind, text }) => kind === 'string' && text.includes(' '));
  return [
    tableKey({ database: after('DB'), table: after('TABLE') }),
    ...queries.flatMap(({ text }) => [...tablesNamedIn(tokensOf(text))]),
  ];
}

const INSIDE_DATABASES = ['Atomic', 'Ordinary', 'Memory', 'Replicated', 'Lazy'];
/** Besides the MergeTree family: what keeps to the server that it is on. */
const INSIDE_ENGINES = [
  ...['Log', 'TinyLog', 'StripeLog', 'Memory', 'Set', 'Join', 'EmbeddedRocksDB', 'KeeperMap', 'Null', 'File'],
  ...['View', 'MaterializedView', 'Buffer', 'Merge', 'Dictionary', 'Distributed', 'Alias', 'Loop', 'TimeSeries'],
  ...['GenerateRandom', 'FuzzJSON'],
];

function whyOutside(
  definition: TableDefinition,
  tokens: readonly Token[],
  databaseEngine: string,
  inside: Inside,
): string | null {
  const { engine } = definition;
  if (!INSIDE_DATABASES.includes(databaseEngine))
    return `its database has the engine ${databaseEngine}, which is not known to stay inside the server`;
  if (isDictionary(definition)) return whyDictionary(tokens);
  if (STREAMING_ENGINES.includes(engine)) return `the engine ${engine} consumes by itself, from outside the server`;
  const kind = tableKind(engine);
  if (kind !== 'replicated' && kind !== 'merge-tree' && !INSIDE_ENGINES.includes(engine))
    return `the engine ${engine} reaches outside the server, or is not known not to`;
  if (engine === 'MaterializedView' && isRefreshed(tokens))
    return 'it refreshes by itself, and would replace what was restored';
  return (
    (engine === 'Distributed' ? whyDistributed(definition, inside) : null) ??
    (kind === 'replicated' ? whyReplicated(definition, inside) : null) ??
    whyCalls(tokens, inside)
  );
}

/** Before the columns and the SELECT: there a column may have that name. */
function isRefreshed(tokens: readonly Token[]): boolean {
  const end = tokens.findIndex(({ kind, text }) => kind === 'other' && text === '(');
  return tokens
    .slice(0, end < 0 ? undefined : end)
    .some(({ text }, at, head) => text === 'REFRESH' && ['EVERY', 'AFTER'].includes(head[at + 1]?.text ?? ''));
}

/** The server's own tables, or nothing, are no outside. A host may be any server, `localhost` production's beside this one. */
function whyDictionary(tokens: readonly Token[]): string | null {
  const at = tokens.findIndex(({ text }, i) => text === 'SOURCE' && tokens[i + 1]?.text === '(');
  const source = (at < 0 ? '' : (tokens[at + 2]?.text ?? '')).toUpperCase();
  if (source === 'NULL') return null;
  if (source !== 'CLICKHOUSE') return `its source ${source} is outside the server`;
  const end = tokens.findIndex(({ kind, text }, i) => i > at && kind === 'other' && text === ')');
  const settings = tokens.slice(at, end);
  const named = settings.find(({ kind, text }) => kind === 'name' && ['HOST', 'PORT', 'NAME'].includes(text));
  if (named) return `its source names a ${named.text === 'NAME' ? 'named collection' : 'server'}`;
  // A QUERY is a text here.
  const call = settings.filter(({ kind }) => kind === 'string').flatMap(({ text }) => callsIn(tokensOf(text)));
  const outside = call.find(({ name }) => isOutside(name) || name in CLUSTER_FUNCTIONS);
  return outside ? `its query calls ${outside.name}()` : null;
}

function whyDistributed({ engineFull }: TableDefinition, inside: Inside): string | null {
  const [first = ''] = parseEngine(engineFull).args;
  return whyCluster(tokensOf(first)[0]?.text ?? '', inside);
}

function whyCluster(name: string, { clusters, macros }: Inside): string | null {
  const expanded = name.replace(/\{([^{}]+)\}/g, (whole, macro: string) => macros[macro] ?? whole);
  const hosts = clusters.get(expanded);
  if (hosts === undefined) return `the servers of the target know no cluster ${expanded.slice(0, 100)}`;
  const [first] = hosts;
  return first === undefined
    ? null
    : `its cluster ${expanded.slice(0, 100)} has ${first.slice(0, 100)}, which is no server of the target`;
}

function whyReplicated(definition: TableDefinition, { macros, rootInProduction, productionPaths }: Inside) {
  const { pathTemplate } = parseReplicatedEngine(definition.engineFull);
  const path = expandPath(pathTemplate, macros, definition) ?? pathTemplate;
  const [, auxiliary] = /^([^/:]+):/.exec(path) ?? [];
  if (auxiliary !== undefined && auxiliary !== 'default')
    return `its path is in the ZooKeeper ${auxiliary.slice(0, 100)}, which is not proved to be apart from production`;
  if (rootInProduction === null) return null;
  const there = `${rootInProduction}/${path}/`.replace(/\/+/g, '/');
  const taken = productionPaths.find((each) => there.startsWith(`${each}/`) || `${each}/`.startsWith(there));
  return taken === undefined ? null : `its ZooKeeper path is that of production's ${taken.slice(0, 200)}`;
}

function whyCalls(tokens: readonly Token[], inside: Inside): string | null {
  for (const { name, first } of callsIn(tokens)) {
    if (name === 'disk') return 'its disk is defined in it, so it would be where production has it';
    if (isOutside(name)) return `its definition calls ${name}()`;
    if (name in CLUSTER_FUNCTIONS) {
      const why = whyCluster(first?.text ?? '', inside);
      if (why !== null) return why;
    }
  }
  return null;
}

const CLUSTER_FUNCTIONS = { cluster: true, clusterallreplicas: true };
/** Table functions of ClickHouse 26.7 that go to other machines, run programs, or run what only a text says. */
const OUTSIDE = new Set([
  ...['remote', 'remotesecure', 'url', 'mysql', 'postgresql', 'mongodb', 'redis', 'jdbc', 'odbc', 'sqlite', 'ytsaurus'],
  ...['s3', 'gcs', 'oss', 'cosn', 'hdfs', 'hive', 'azureblobstorage', 'arrowflight', 'arrowstream'],
  ...['prometheusquery', 'prometheusqueryrange', 'executable', 'eval', 'urlcluster', 'filecluster'],
]);
const OUTSIDE_FAMILIES =
  /^(?:s3|azureblobstorage|hdfs)cluster$|^(?:iceberg|deltalake|hudi|paimon)|^ai(?:classify|generate|extract|translate|embed)/;

function isOutside(name: string): boolean {
  return OUTSIDE.has(name) || OUTSIDE_FAMILIES.test(name);
}
