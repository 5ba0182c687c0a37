import { RecoveryError } from '../domain/errors.js';
import { quote, quoteTable, type TableName } from '../domain/names.js';
import { attach, dropReplica, lift } from '../domain/statements.js';
import { ServerError, type ClickHouseNode, type Keeper } from '../ports.js';
import { CLAIM, type DrillView } from './drill-view.js';
import { CLAIM_DATABASE, whoAnswers, type Proof } from './drill-proof.js';
import { pause, type StepContext } from './runtime.js';

/** A server's own. `default` is always there, and may have another engine. */
const OWN = `('system', 'INFORMATION_SCHEMA', 'information_schema', 'default')`;
const DATABASES = `SELECT name FROM system.databases WHERE name NOT IN ${OWN} AND name != '${CLAIM_DATABASE}' ORDER BY name`;
const IN_DEFAULT = `SELECT database, name AS table FROM system.tables WHERE database = 'default' AND NOT is_temporary ORDER BY name`;
/** Of one database: asked for all, an embedded node refuses because of the engine of its `default`. */
const DETACHED = `SELECT database, table FROM system.detached_tables WHERE database = {database:String}`;
const REPLICAS = `SELECT zookeeper_path AS path, replica_name AS replica FROM system.replicas`;
const RESTORING = `SELECT count() AS running FROM system.backups WHERE status = 'RESTORING'`;
const KILL_RESTORES = `KILL QUERY WHERE query LIKE '%RESTORE TABLE%' AND query NOT LIKE 'KILL%' ASYNC`;

/** Nothing keeps a scratch table: not its size, not what depends on it, not what was left detached. */
const DROP_SETTINGS = {
  max_table_size_to_drop: 0,
  max_partition_size_to_drop: 0,
  check_table_dependencies: 0,
  check_referential_table_dependencies: 0,
  force_remove_data_recursively_on_drop: 1,
};

const TRIES = 3;
const POLL_MS = 500;

interface Left {
  databases: string[];
  tables: TableName[];
}

async function leftOn(node: ClickHouseNode): Promise<Left> {
  return {
    databases: (await node.query<{ name: string }>(DATABASES)).map(({ name }) => name),
    tables: await node.query(IN_DEFAULT),
  };
}

const namesOf = ({ databases, tables }: Left) => [...databases, ...tables.map(({ table }) => `default.${table}`)];

/**
 * Claims an empty server for a drill. What an earlier drill left is cleaned up first; what no drill made is refused, and
 * stays: somebody may have marked the wrong cluster as scratch.
 */
export async function claimTarget(
  view: DrillView,
  source: Keeper,
  name: string,
  { keeperKnown }: Proof,
  canaryPath: string,
  context: StepContext,
): Promise<void> {
  await cleanTarget(view, name, context);
  const node = view.cluster.node(name);
  const left = namesOf(await leftOn(node));
  if (left.length > 0)
    throw new RecoveryError(
      'DRILL_TARGET_NOT_EMPTY',
      `node ${name} has ${left.slice(0, 3).join(', ')}, which no drill made`,
      {
        objects: left.slice(0, 20),
      },
    );
  context.assertFresh();
  await node.execute(CLAIM);
  if (!keeperKnown) await proveKeeper(node, view.cluster.keeper, source, canaryPath, context);
}

/**
 * Of a server that cannot be asked which ZooKeeper it uses: what it registers there has to be seen where the
 * configuration says, and not where production looks.
 */
async function proveKeeper(
  node: ClickHouseNode,
  target: Keeper,
  source: Keeper,
  path: string,
  context: StepContext,
): Promise<void> {
  const canary = quoteTable({ database: CLAIM_DATABASE, table: 'canary' });
  const drop = `DROP TABLE IF EXISTS ${canary} SYNC`;
  await node.execute(drop);
  context.assertFresh();
  await node.execute(`CREATE TABLE ${canary} (n UInt8) ENGINE = ReplicatedMergeTree('${path}', 'r') ORDER BY n`);
  const [here, there] = [await target.exists(path), await source.exists(path)];
  await node.execute(drop);
  if (!here || there)
    throw new RecoveryError(
      'DRILL_TARGET_UNSAFE',
      `node ${node.ref.name} uses ${there ? 'the ZooKeeper paths of production' : 'another ZooKeeper, or chroot, than the configuration says'}`,
      { objects: [node.ref.name] },
    );
}

/** Drops all that a drill made, its registrations in ZooKeeper too. A server that no drill has claimed is left as it is. */
export async function cleanTarget(view: DrillView, name: string, context: StepContext): Promise<{ cleaned: boolean }> {
  const node = view.forCleanUp(name);
  if (!(await whoAnswers(node)).claimed) return { cleaned: false };
  for (const statement of lift('restore-replica')) await node.execute(statement);
  await endRestores(node, view.cluster.policy.statementDeadlineSeconds, context);
  // Of tables that a later try no longer sees, too.
  const replicas = new Map<string, { path: string; replica: string }>();
  let left = await leftOn(node);
  let reason = '';
  for (let tries = 0; tries < TRIES; tries++) {
    context.progress({ node: name, left: namesOf(left).length });
    // One that is detached keeps its registration, which goes with the table only.
    for (const database of left.databases)
      for (const table of await node.query<TableName>(DETACHED, { params: { database } }))
        await tolerant(node, attach(table));
    for (const row of await node.query<{ path: string; replica: string }>(REPLICAS))
      replicas.set(JSON.stringify(row), row);
    context.assertFresh();
    for (const table of left.tables) reason ||= await tolerant(node, `DROP TABLE IF EXISTS ${quoteTable(table)} SYNC`);
    for (const database of left.databases)
      reason ||= await tolerant(node, `DROP DATABASE IF EXISTS ${quote(database)} SYNC`);
    for (const { path, replica } of replicas.values())
      if (await view.cluster.keeper.exists(`${path}/replicas/${replica}`))
        reason ||= await tolerant(node, dropReplica(replica, path));
    left = await leftOn(node);
    const registered = await stillThere(view.cluster.keeper, [...replicas.values()]);
    if (namesOf(left).length + registered.length === 0) {
      await node.execute(`DROP DATABASE IF EXISTS ${quote(CLAIM_DATABASE)} SYNC`, { settings: DROP_SETTINGS });
      return { cleaned: true };
    }
    reason ||= `still there: ${[...namesOf(left), ...registered].slice(0, 3).join(', ')}`;
    if (tries < TRIES - 1) {
      reason = '';
      await pause(POLL_MS, context.signal);
    }
  }
  throw new RecoveryError('DRILL_NOT_CLEAN', `node ${name}: ${reason}`.slice(0, 500), {
    objects: namesOf(left).slice(0, 20),
  });
}

async function stillThere(keeper: Keeper, replicas: { path: string; replica: string }[]): Promise<string[]> {
  const found: string[] = [];
  for (const { path, replica } of replicas)
    if (await keeper.exists(`${path}/replicas/${replica}`)) found.push(`${path}/replicas/${replica}`);
  return found;
}

/** What the server says against it; ''. It is looked at afterwards in any case. */
async function tolerant(node: ClickHouseNode, statement: string): Promise<string> {
  try {
    await node.execute(statement, statement.startsWith('DROP') ? { settings: DROP_SETTINGS } : {});
    return '';
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    return error.message;
  }
}

/** A RESTORE goes on when whoever started it is gone, and would fill what is dropped. */
async function endRestores(node: ClickHouseNode, deadlineSeconds: number, context: StepContext): Promise<void> {
  const deadline = performance.now() + deadlineSeconds * 1000;
  for (let asked = false; performance.now() < deadline; asked = true) {
    const [row] = await node.query<{ running: string }>(RESTORING);
    if (Number(row?.running ?? 0) === 0) return;
    if (!asked) await tolerant(node, KILL_RESTORES);
    await pause(POLL_MS, context.signal);
    context.assertFresh();
  }
}
