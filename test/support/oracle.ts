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

interface TableState {
  engine: string;
  uuid: string;
  create: string;
  rows: string;
  content: string;
  /** Sorted `hash_of_all_files/rows` of the active parts with rows; null where merges may go on. */
  parts: string[] | null;
  /** Null: not replicated. `'absent'`: no replica path. */
  keeper: 'agrees' | 'differs' | 'absent' | null;
}

/** Key: `node db.table`. */
export type Snapshot = Map<string, TableState>;

const OWN = `database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') AND NOT startsWith(database, '_recovery')`;
const ident = (name: string) => `\`${name.replace(/[\\`]/g, '\\$&')}\``;

async function rowsOf<Row>(client: ClickHouseClient, query: string, params: Record<string, unknown> = {}): Promise<Row[]> {
  const answer = await client.query({ query, format: 'JSONEachRow', query_params: params, clickhouse_settings: { show_table_uuid_in_table_create_query_if_not_nil: 1, output_format_json_quote_64bit_integers: 1 } });
  return answer.json<Row>();
}

/** One expression a column that cityHash64 takes, whatever the type. */
function hashable(column: { name: string; type: string }): string {
  const name = ident(column.name);
  if (column.type.includes('AggregateFunction') && !column.type.startsWith('Simple')) return `toString(finalizeAggregation(${name}))`;
  if (/^(Map|JSON|Variant|Dynamic|Object)/.test(column.type)) return `toString(${name})`;
  return name;
}

async function contentOf(client: ClickHouseClient, table: { database: string; name: string }): Promise<{ rows: string; content: string }> {
  const columns = await rowsOf<{ name: string; type: string }>(client, 'SELECT name, type FROM system.columns WHERE database = {db:String} AND table = {t:String} ORDER BY position', { db: table.database, t: table.name });
  // sum counts twins, xor catches what a sum could hide.
  const hash = `cityHash64(${columns.map(hashable).join(', ')})`;
  const [row] = await rowsOf<{ oracle_rows: string; oracle_sum: string; oracle_xor: string }>(client, `SELECT count() AS oracle_rows, toString(sum(${hash})) AS oracle_sum, toString(groupBitXor(${hash})) AS oracle_xor FROM ${ident(table.database)}.${ident(table.name)}`);
  return { rows: String(row?.oracle_rows), content: `${row?.oracle_sum}/${row?.oracle_xor}` };
}

function keeperChildren(hosts: readonly string[], paths: string[]): Promise<Record<string, string[] | null>> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('./oracle-keeper.mjs', import.meta.url))], { stdio: ['pipe', 'pipe', 'ignore'] });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve(JSON.parse(out) as Record<string, string[] | null>) : reject(new Error(`the oracle cannot read ZooKeeper (${code})`))));
    child.stdin.end(JSON.stringify({ hosts: hosts.join(','), paths }));
  });
}

export async function takeSnapshot(cluster: JudgedCluster): Promise<Snapshot> {
  const snapshot: Snapshot = new Map();
  const pending: { state: TableState; path: string; local: string[] }[] = [];
  for (const node of cluster.nodes) {
    const client = createClient({ url: node.url, request_timeout: 120_000, log: { level: ClickHouseLogLevel.OFF } });
    const tables = await rowsOf<{ database: string; name: string; uuid: string; engine: string; create: string }>(client, `SELECT database, name, toString(uuid) AS uuid, engine, create_table_query AS create FROM system.tables WHERE ${OWN} ORDER BY 1, 2`);
    const parts = await rowsOf<{ database: string; table: string; name: string; rows: string; hash: string }>(client, `SELECT database, table, name, rows, hash_of_all_files AS hash FROM system.parts WHERE active AND ${OWN}`);
    const replicas = await rowsOf<{ database: string; table: string; path: string }>(client, `SELECT database, table, replica_path AS path FROM system.replicas WHERE ${OWN}`);
    for (const table of tables) {
      const own = parts.filter((part) => part.database === table.database && part.table === table.name);
      const replica = replicas.find((each) => each.database === table.database && each.table === table.name);
      const state: TableState = {
        engine: table.engine,
        uuid: table.uuid,
        create: table.create,
        ...(await contentOf(client, table)),
        parts: replica ? own.filter((part) => Number(part.rows) > 0).map((part) => `${part.hash}/${part.rows}`).sort() : null,
        keeper: null,
      };
      if (replica) pending.push({ state, path: `${replica.path}/parts`, local: own.map((part) => part.name) });
      snapshot.set(`${node.name} ${table.database}.${table.name}`, state);
    }
    await client.close();
  }
  const listed = await keeperChildren(cluster.keeperHosts, pending.map((each) => each.path));
  for (const { state, path, local } of pending) {
    const children = listed[path];
    state.keeper = !children ? 'absent' : [...children].sort().join() === [...local].sort().join() ? 'agrees' : 'differs';
  }
  return snapshot;
}

/** Differences for people; empty: the same, and ZooKeeper agrees with every replicated table of `after`. */
export function compareSnapshots(before: Snapshot, after: Snapshot): string[] {
  const differences: string[] = [];
  for (const [key, old] of before) {
    const now = after.get(key);
    if (!now) {
      differences.push(`${key} is missing`);
      continue;
    }
    for (const field of ['engine', 'uuid', 'create', 'rows', 'content'] as const) if (old[field] !== now[field]) differences.push(`${key}: ${field} was ${old[field]}, is ${now[field]}`);
    if (old.parts && now.parts && old.parts.join() !== now.parts.join()) differences.push(`${key}: other parts (${old.parts.length} were, ${now.parts.length} are)`);
  }
  for (const [key, now] of after) {
    if (!before.has(key)) differences.push(`${key} was not there before`);
    if (now.keeper !== null && now.keeper !== 'agrees') differences.push(`${key}: ZooKeeper ${now.keeper === 'absent' ? 'does not have its replica' : 'lists other parts'}`);
  }
  return differences;
}
