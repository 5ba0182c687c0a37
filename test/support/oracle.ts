/**
 * The independent judge: what is in the tables, asked of the nodes and of ZooKeeper directly. It shares no code with
 * the product: its own SQL, its own quoting, its own ZooKeeper client.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ClickHouseLogLevel, createClient, type ClickHouseClient } from '@clickhouse/client';

export interface JudgedCluster {
  nodes: readonly { name: string; url: string }[];
  keeperHosts: readonly string[];
}

export interface TableState {
  engine: string;
  uuid: string;
  /** The create query, UUIDs included. */
  create: string;
  /** Null: the table cannot be read, see `error`. */
  rows: string | null;
  /** Sum and xor of the row hashes, so neither order nor part boundaries count; null for views, whose rows are others'. */
  content: string | null;
  error: string | null;
  /** Sorted `hash_of_all_files/rows` of the active parts with rows; null where merges may go on. */
  parts: string[] | null;
  /** Null: not replicated. `'absent'`: no replica path. */
  keeper: 'agrees' | 'differs' | 'absent' | null;
}

/** Key: node and quoted table; unquoted, `a.b`.`c` and `a`.`b.c` would be one. */
export type Snapshot = Map<string, TableState>;

interface Table {
  database: string;
  name: string;
  engine: string;
  uuid: string;
  create: string;
}

interface Pending {
  state: TableState;
  path: string;
  local: string[];
}

const own = (alias: string) =>
  `${alias}.database NOT IN ('', 'system', 'INFORMATION_SCHEMA', 'information_schema') AND NOT startsWith(${alias}.database, '_recovery')`;
const ident = (name: string) => `\`${name.replace(/[\\`]/g, '\\$&')}\``;

async function rowsOf<Row>(
  client: ClickHouseClient,
  query: string,
  params: Record<string, unknown> = {},
): Promise<Row[]> {
  const answer = await client.query({
    query,
    format: 'JSONEachRow',
    query_params: params,
    clickhouse_settings: {
      show_table_uuid_in_table_create_query_if_not_nil: 1,
      output_format_json_quote_64bit_integers: 1,
    },
  });
  return answer.json<Row>();
}

/**
 * One expression a column that cityHash64 takes and that is never NULL: cityHash64 with one NULL argument is NULL, and
 * sum and groupBitXor skip that row, so its other columns could change unseen. The text of a one-element tuple is
 * quoted and tells NULL from 'NULL'.
 */
function hashable({ name, type }: { name: string; type: string }): string {
  const column = `judged.${ident(name)}`;
  if (type.startsWith('AggregateFunction(')) return `toString(tuple(finalizeAggregation(${column})))`;
  if (/\b(Nullable|Map|JSON|Variant|Dynamic|Object|AggregateFunction|Nothing)\b/.test(type))
    return `toString(tuple(${column}))`;
  return column;
}

async function contentOf(client: ClickHouseClient, table: Table): Promise<Pick<TableState, 'rows' | 'content'>> {
  const from = `FROM ${ident(table.database)}.${ident(table.name)} AS judged`;
  if (table.engine.endsWith('View') && table.engine !== 'MaterializedView') {
    const [row] = await rowsOf<{ oracle_rows: string }>(client, `SELECT count() AS oracle_rows ${from}`);
    return { rows: String(row?.oracle_rows), content: null };
  }
  const columns = await rowsOf<{ name: string; type: string }>(
    client,
    `SELECT c.name AS name, c.type AS type FROM system.columns AS c
     WHERE c.database = {db:String} AND c.table = {t:String} AND c.default_kind NOT IN ('ALIAS', 'EPHEMERAL')
     ORDER BY c.position`,
    { db: table.database, t: table.name },
  );
  // sum counts twins, xor catches what a sum could hide.
  const hash = `cityHash64(tuple(${columns.map(hashable).join(', ')}))`;
  const [row] = await rowsOf<{ oracle_rows: string; oracle_hashed: string; oracle_sum: string; oracle_xor: string }>(
    client,
    `SELECT count() AS oracle_rows, count(${hash}) AS oracle_hashed, toString(sum(${hash})) AS oracle_sum,
       toString(groupBitXor(${hash})) AS oracle_xor ${from}`,
  );
  if (row?.oracle_rows !== row?.oracle_hashed) throw new Error('the oracle has rows without a hash');
  return { rows: String(row?.oracle_rows), content: `${row?.oracle_sum}/${row?.oracle_xor}` };
}

async function readable(
  client: ClickHouseClient,
  table: Table,
): Promise<Pick<TableState, 'rows' | 'content' | 'error'>> {
  try {
    return { ...(await contentOf(client, table)), error: null };
  } catch (error) {
    return { rows: null, content: null, error: error instanceof Error ? error.message : String(error) };
  }
}

/** Children of each path, null where it is absent, read by a short-lived process: see oracle-keeper.mjs on why. */
function keeperChildren(hosts: readonly string[], paths: string[]): Promise<Record<string, string[] | null>> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('./oracle-keeper.mjs', import.meta.url))]);
    let out = '';
    let err = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (out += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (err += chunk));
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0
        ? resolve(JSON.parse(out) as Record<string, string[] | null>)
        : reject(new Error(`the oracle cannot read ZooKeeper (exit code ${code}): ${err.slice(-500)}`)),
    );
    child.stdin.on('error', () => undefined); // it ended early: 'close' tells
    child.stdin.end(JSON.stringify({ hosts: hosts.join(','), paths }));
  });
}

async function judgeNode(
  node: { name: string; url: string },
  client: ClickHouseClient,
): Promise<{ states: [string, TableState][]; pending: Pending[] }> {
  const tables = await rowsOf<Table>(
    client,
    `SELECT t.database AS database, t.name AS name, toString(t.uuid) AS uuid, t.engine AS engine,
       t.create_table_query AS create FROM system.tables AS t WHERE ${own('t')} ORDER BY 1, 2`,
  );
  const parts = await rowsOf<{ database: string; table: string; name: string; rows: string; hash: string }>(
    client,
    `SELECT p.database AS database, p.table AS table, p.name AS name, p.rows AS rows, p.hash_of_all_files AS hash
     FROM system.parts AS p WHERE p.active AND ${own('p')}`,
  );
  const replicas = await rowsOf<{ database: string; table: string; path: string }>(
    client,
    `SELECT r.database AS database, r.table AS table, r.replica_path AS path FROM system.replicas AS r WHERE ${own('r')}`,
  );
  const states: [string, TableState][] = [];
  const pending: Pending[] = [];
  for (const table of tables) {
    const isOwn = (row: { database: string; table: string }) =>
      row.database === table.database && row.table === table.name;
    const active = parts.filter(isOwn);
    const isReplicated = /^Replicated.*MergeTree$/.test(table.engine);
    const state: TableState = {
      engine: table.engine,
      uuid: table.uuid,
      create: table.create,
      ...(await readable(client, table)),
      parts: isReplicated
        ? active
            .filter((part) => part.rows !== '0')
            .map((part) => `${part.hash}/${part.rows}`)
            .sort()
        : null,
      // Until ZooKeeper has said otherwise.
      keeper: isReplicated ? 'absent' : null,
    };
    const path = replicas.find(isOwn)?.path;
    if (isReplicated && path) pending.push({ state, path: `${path}/parts`, local: active.map((part) => part.name) });
    states.push([`${node.name} ${ident(table.database)}.${ident(table.name)}`, state]);
  }
  return { states, pending };
}

/** @throws Error when a node or ZooKeeper does not answer; a table that cannot be read is a finding, not an error */
export async function takeSnapshot(cluster: JudgedCluster): Promise<Snapshot> {
  const judged = await Promise.all(
    cluster.nodes.map(async (node) => {
      const client = createClient({ url: node.url, request_timeout: 120_000, log: { level: ClickHouseLogLevel.OFF } });
      try {
        return await judgeNode(node, client);
      } catch (cause) {
        throw new Error(`the oracle cannot read ${node.name}`, { cause });
      } finally {
        await client.close();
      }
    }),
  );
  const pending = judged.flatMap((each) => each.pending);
  const paths = pending.map((each) => each.path);
  const listed = paths.length > 0 ? await keeperChildren(cluster.keeperHosts, paths) : {};
  for (const { state, path, local } of pending) {
    const children = listed[path];
    if (children) state.keeper = sameNames(children, local) ? 'agrees' : 'differs';
  }
  return new Map(judged.flatMap((each) => each.states));
}

const sameNames = (a: readonly string[], b: readonly string[]) => [...a].sort().join() === [...b].sort().join();

/**
 * Differences for people, each naming node and table; empty: the same, every table of `after` can be read, and
 * ZooKeeper agrees with each of its replicated tables.
 */
export function compareSnapshots(before: Snapshot, after: Snapshot): string[] {
  const differences: string[] = [];
  for (const [key, old] of before) {
    const now = after.get(key);
    if (!now) {
      differences.push(`${key} is missing`);
      continue;
    }
    for (const field of ['engine', 'uuid', 'create', 'rows', 'content'] as const)
      if (old[field] !== now[field]) differences.push(`${key}: ${field} was ${old[field]}, is ${now[field]}`);
    if (old.parts && now.parts && old.parts.join() !== now.parts.join())
      differences.push(`${key}: other parts (${old.parts.length} were, ${now.parts.length} are)`);
  }
  for (const [key, now] of after) {
    if (!before.has(key)) differences.push(`${key} was not there before`);
    if (now.error !== null) differences.push(`${key} cannot be read: ${now.error}`);
    if (now.keeper === 'absent') differences.push(`${key}: ZooKeeper does not have its replica`);
    if (now.keeper === 'differs') differences.push(`${key}: ZooKeeper lists other parts`);
  }
  return differences;
}
