/**
 * The independent judge: what is in the tables, asked of the nodes and of ZooKeeper directly. It shares no code with
 * the product: its own SQL, its own quoting, its own ZooKeeper client. It reads servers from 18.16 on.
 */
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { ClickHouseLogLevel, createClient, type ClickHouseClient } from '@clickhouse/client';

export interface JudgedCluster {
  /** `shard`: replicated tables of the nodes of one shard must hold the same. */
  nodes: readonly JudgedNode[];
  keeperHosts: readonly string[];
  /** Servers that replicate, so that their replicas must be active in the end; not so embedded nodes. @default false */
  live?: boolean;
}

export interface JudgedNode {
  name: string;
  url: string;
  shard?: string;
  user?: string;
  password?: string;
}

/** How a live replica stands. */
export interface ReplicaState {
  readonly: boolean;
  sessionExpired: boolean;
  /** Entries of the replication queue. */
  queue: number;
  /** Null: ZooKeeper does not have the table. */
  active: number | null;
  total: number | null;
}

export interface TableState {
  engine: string;
  /** Empty where tables have none. */
  uuid: string;
  /** The create query, UUIDs included. */
  create: string;
  /** Null: the table cannot be read, see `error`. */
  rows: string | null;
  /** Sum and xor of the row hashes, so neither order nor part boundaries count; null for views, whose rows are others'. */
  content: string | null;
  error: string | null;
  /**
   * Sorted `hash_of_all_files/rows` of the active parts with rows, on servers without such hashes `partition_id/rows`;
   * null where merges may go on.
   */
  parts: string[] | null;
  /** Null: not replicated. `'absent'`: no replica path. */
  keeper: 'agrees' | 'differs' | 'absent' | null;
  /** Null: not replicated, or no live cluster. */
  replica: ReplicaState | null;
  /** Nodes of the same shard whose table has other rows, or is missing. Empty where it is not replicated. */
  unlike: string[];
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
  active: string[];
  /** Not active any more, and not yet removed: for a while ZooKeeper has them too. */
  outdated: string[];
}

/** What this server can be asked. */
interface Abilities {
  uuids: boolean;
  partHashes: boolean;
  uuidsInCreateQueries: boolean;
}

const own = (alias: string) =>
  `${alias}.database NOT IN ('', 'system', 'INFORMATION_SCHEMA', 'information_schema') AND NOT startsWith(${alias}.database, '_recovery')`;
const ident = (name: string) => `\`${name.replace(/[\\`]/g, '\\$&')}\``;
/** Quoted by us: 18.16 does not bind parameters. */
const text = (value: string) => `'${value.replace(/[\\']/g, '\\$&')}'`;

async function rowsOf<Row>(client: ClickHouseClient, query: string): Promise<Row[]> {
  return (await client.query({ query, format: 'JSONEachRow' })).json<Row>();
}

/** Old servers refuse a setting or a column that they do not know. */
async function abilitiesOf(client: ClickHouseClient): Promise<Abilities> {
  const [row] = await rowsOf<Record<keyof Abilities, string>>(
    client,
    `SELECT countIf(c.table = 'tables' AND c.name = 'uuid') AS uuids,
       countIf(c.table = 'parts' AND c.name = 'hash_of_all_files') AS partHashes
     FROM system.columns AS c WHERE c.database = 'system'`,
  );
  const settings = await rowsOf<{ name: string }>(
    client,
    `SELECT s.name AS name FROM system.settings AS s WHERE s.name = 'show_table_uuid_in_table_create_query_if_not_nil'`,
  );
  return {
    uuids: Number(row?.uuids) > 0,
    partHashes: Number(row?.partHashes) > 0,
    uuidsInCreateQueries: settings.length > 0,
  };
}

/**
 * One expression a column that cityHash64 takes and that is never NULL: cityHash64 with one NULL argument is NULL, and
 * sum and groupBitXor skip that row, so its other columns could change unseen. The text of a one-element tuple is
 * quoted and tells NULL from 'NULL'.
 */
function hashable({ name, type }: { name: string; type: string }): string {
  const column = `judged.${ident(name)}`;
  if (type.startsWith('AggregateFunction(')) return `toString(tuple(finalizeAggregation(${column})))`;
  // The last four: not by the cityHash64 of 18.16.
  if (/\b(Nullable|Map|JSON|Variant|Dynamic|Object|AggregateFunction|Nothing|UUID|Decimal|Array|Tuple)\b/.test(type))
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
     WHERE c.database = ${text(table.database)} AND c.table = ${text(table.name)}
       AND c.default_kind NOT IN ('ALIAS', 'EPHEMERAL')
     ORDER BY c.name`,
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
    const script = fileURLToPath(new URL('./oracle-keeper.mjs', import.meta.url));
    const child = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
    let out = '';
    let said = '';
    (child.stdio[3] as Readable).setEncoding('utf8').on('data', (chunk: string) => (out += chunk));
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk: string) => (said += chunk));
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0
        ? resolve(JSON.parse(out) as Record<string, string[] | null>)
        : reject(new Error(`the oracle cannot read ZooKeeper (exit code ${code}): ${said.slice(-500)}`)),
    );
    child.stdin.on('error', () => undefined); // it ended early: 'close' tells
    child.stdin.end(JSON.stringify({ hosts: hosts.join(','), paths }));
  });
}

interface PartRow {
  database: string;
  table: string;
  name: string;
  active: number;
  rows: string;
  /** What is compared besides the rows: the hash, or the partition. */
  mark: string;
}

interface ReplicaRow {
  database: string;
  table: string;
  path: string;
  is_readonly: number;
  is_session_expired: number;
  queue_size: number;
}

/** Where this setting is in the table's own create query, no merge happens, also after a restart. */
const CANNOT_MERGE = /max_bytes_to_merge_at_max_space_in_pool = 1\b/;

async function judgeNode(
  node: JudgedNode,
  client: ClickHouseClient,
  live: boolean,
): Promise<{ states: [string, TableState][]; pending: Pending[] }> {
  const abilities = await abilitiesOf(client);
  const tables = await rowsOf<Table>(
    client,
    `SELECT t.database AS database, t.name AS name, ${abilities.uuids ? 'toString(t.uuid)' : `''`} AS uuid,
       t.engine AS engine, t.create_table_query AS create FROM system.tables AS t WHERE ${own('t')} ORDER BY 1, 2
     ${abilities.uuidsInCreateQueries ? 'SETTINGS show_table_uuid_in_table_create_query_if_not_nil = 1' : ''}`,
  );
  const parts = await rowsOf<PartRow>(
    client,
    `SELECT p.database AS database, p.table AS table, p.name AS name, p.active AS active, toString(p.rows) AS rows,
       ${abilities.partHashes ? 'p.hash_of_all_files' : 'p.partition_id'} AS mark
     FROM system.parts AS p WHERE ${own('p')}`,
  );
  // Not a column more: with nodes missing in ZooKeeper, old servers refuse the whole query for those that need them.
  const replicas = await rowsOf<ReplicaRow>(
    client,
    `SELECT r.database AS database, r.table AS table, r.replica_path AS path, r.is_readonly AS is_readonly,
       r.is_session_expired AS is_session_expired, r.queue_size AS queue_size FROM system.replicas AS r WHERE ${own('r')}`,
  );
  const states: [string, TableState][] = [];
  const pending: Pending[] = [];
  for (const table of tables) {
    const isOwn = (row: { database: string; table: string }) =>
      row.database === table.database && row.table === table.name;
    const [active, outdated] = [1, 0].map((flag) => parts.filter((part) => isOwn(part) && part.active === flag));
    const isReplicated = /^Replicated.*MergeTree$/.test(table.engine);
    const replica = replicas.find(isOwn);
    const state: TableState = {
      engine: table.engine,
      uuid: table.uuid,
      create: table.create,
      ...(await readable(client, table)),
      parts: isReplicated && (!live || CANNOT_MERGE.test(table.create)) ? marks(active ?? []) : null,
      // Until ZooKeeper has said otherwise.
      keeper: isReplicated ? 'absent' : null,
      replica: live && isReplicated && replica ? await replicaState(client, replica) : null,
      unlike: [],
    };
    const names = (rows: PartRow[] = []) => rows.map((part) => part.name);
    if (isReplicated && replica?.path)
      pending.push({ state, path: `${replica.path}/parts`, active: names(active), outdated: names(outdated) });
    states.push([`${ident(table.database)}.${ident(table.name)}`, state]);
  }
  return { states, pending };
}

const marks = (parts: PartRow[]) =>
  parts
    .filter((part) => part.rows !== '0')
    .map((part) => `${part.mark}/${part.rows}`)
    .sort();

async function replicaState(client: ClickHouseClient, replica: ReplicaRow): Promise<ReplicaState> {
  // One by one: a table that ZooKeeper does not have makes the query fail for the others too.
  const [counts] = await rowsOf<{ active: number; total: number }>(
    client,
    `SELECT r.active_replicas AS active, r.total_replicas AS total FROM system.replicas AS r
     WHERE r.database = ${text(replica.database)} AND r.table = ${text(replica.table)}`,
  ).catch(() => []);
  return {
    readonly: replica.is_readonly !== 0,
    sessionExpired: replica.is_session_expired !== 0,
    queue: replica.queue_size,
    active: counts?.active ?? null,
    total: counts?.total ?? null,
  };
}

/** @throws Error when a node or ZooKeeper does not answer; a table that cannot be read is a finding, not an error */
export async function takeSnapshot({ nodes, keeperHosts, live = false }: JudgedCluster): Promise<Snapshot> {
  const judged = await Promise.all(
    nodes.map(async (node) => {
      const client = createClient({
        url: node.url,
        username: node.user ?? 'default',
        password: node.password ?? '',
        request_timeout: 120_000,
        log: { level: ClickHouseLogLevel.OFF },
      });
      try {
        return { node, ...(await judgeNode(node, client, live)) };
      } catch (cause) {
        throw new Error(`the oracle cannot read ${node.name}`, { cause });
      } finally {
        await client.close();
      }
    }),
  );
  const pending = judged.flatMap((each) => each.pending);
  const paths = pending.map((each) => each.path);
  const listed = paths.length > 0 ? await keeperChildren(keeperHosts, paths) : {};
  for (const { state, path, active, outdated } of pending) {
    const children = listed[path];
    if (children) state.keeper = agrees(children, active, outdated) ? 'agrees' : 'differs';
  }
  for (const { node, states } of judged) {
    const peers = judged.filter((each) => each.node !== node && node.shard && each.node.shard === node.shard);
    for (const [table, state] of states)
      if (state.keeper !== null)
        state.unlike = peers
          .filter((peer) => !holdsSame(state, new Map(peer.states).get(table)))
          .map((p) => p.node.name);
  }
  return new Map(
    judged.flatMap(({ node, states }) =>
      states.map(([table, state]): [string, TableState] => [`${node.name} ${table}`, state]),
    ),
  );
}

const holdsSame = (a: TableState, b: TableState | undefined) =>
  b !== undefined && a.content === b.content && a.rows === b.rows && a.parts?.join() === b.parts?.join();

/** ZooKeeper lists every active part, and none that the replica does not have at all. */
function agrees(listed: readonly string[], active: readonly string[], outdated: readonly string[]): boolean {
  const [inKeeper, local] = [new Set(listed), new Set([...active, ...outdated])];
  return active.every((name) => inKeeper.has(name)) && listed.every((name) => local.has(name));
}

/**
 * Differences for people, each naming node and table; empty: the same, every table of `after` can be read, ZooKeeper
 * agrees with each of its replicated tables, and on a live cluster their replicas are active, writable, done with
 * their queue, and hold the same.
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
    differences.push(...replicaFindings(now).map((finding) => `${key}: ${finding}`));
  }
  return differences;
}

function replicaFindings({ replica, unlike }: TableState): string[] {
  const findings = unlike.length > 0 ? [`holds other rows or parts than ${unlike.join(', ')}`] : [];
  if (replica === null) return findings;
  if (replica.sessionExpired) findings.push('its ZooKeeper session expired');
  if (replica.readonly) findings.push('is read-only');
  if (replica.queue > 0) findings.push(`has ${replica.queue} entries in its queue`);
  if (replica.active === null || replica.active !== replica.total)
    findings.push(`${replica.active ?? 'none'} of ${replica.total ?? 'unknown'} replicas are active`);
  return findings;
}
