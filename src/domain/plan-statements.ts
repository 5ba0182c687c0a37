import { folderOf, type PlaceOrder } from './cold-place.js';
import { parseReplicatedEngine } from './ddl.js';
import { methodOf, tableKind, type Method, type NodeFacts, type TableDefinition } from './inventory.js';
import type { BackupContents } from './manifest.js';
import { cloneName, quote, quoteTable, type TableName } from './names.js';
import { isChanged, type PlanItem, type PlannedStatement, type RebuildRefusal, type StepName } from './plan.js';
import type { PlanInput } from './plan-input.js';
import * as sql from './statements.js';
import { tableIn } from './table-index.js';
import * as conversion from './statements-conversion.js';

export const isOrdinary = ({ uuid }: TableDefinition) => uuid === '' || uuid.startsWith('00000000-0000-0000');

/**
 * ATTACH … AS REPLICATED gives a table the server's default path, and works in Atomic databases only. The conversion does
 * without.
 */
export function rebuildRefusal(definition: TableDefinition, node: NodeFacts): RebuildRefusal | null {
  if (tableKind(definition.engine) !== 'replicated' || methodOf(node.capabilities) === 'conversion') return null;
  // In the middle of it the table is detached, which has to be seen.
  const { attachAs, lacks } = node.capabilities;
  if (!attachAs || lacks.includes('detached_tables.uuid')) return 'UNSUPPORTED_SERVER';
  if (isOrdinary(definition)) return 'EXPLICIT_KEEPER_PATH';
  const engine = parseReplicatedEngine(definition.engineFull);
  return engine.pathTemplate === node.defaultReplicaPath && engine.replicaTemplate === node.defaultReplicaName
    ? null
    : 'EXPLICIT_KEEPER_PATH';
}

/** Stands for the name of a part that an agent has placed. */
export const PART_PLACEHOLDER = '{part}';

/** Stands for the operation id of a RESTORE: it has the staging table's UUID in it, so that a new try has a new one. */
export const OPERATION_PLACEHOLDER = '{operation}';

type Statements = PlannedStatement[];
const planned = (step: StepName, text: string): PlannedStatement => ({ step, sql: text });

/** Where CLONE AS is missing, an empty twin is filled partition by partition. */
function makingStatements(definition: TableDefinition, { capabilities }: NodeFacts): Statements {
  if (methodOf(capabilities) === 'restore-replica' && capabilities.cloneAs)
    return [planned('make-clone', sql.cloneTable(definition))];
  return [
    planned('create-making', createTwin(cloneName('making', definition), definition, methodOf(capabilities))),
    planned('fill-making', conversion.fill('making', definition, definition)),
  ];
}

const createTwin = (name: TableName, definition: TableDefinition, method: Method) =>
  method === 'conversion' ? conversion.createTwin(name, definition) : sql.createStaging(definition, name);

function cloneStatements(definition: TableDefinition, node: NodeFacts): Statements {
  return [
    ...makingStatements(definition, node),
    planned('complete-clone', sql.completeClone('making', definition)),
    planned('drop-making', sql.dropClone('making', definition)),
  ];
}

function rebuildStatements(item: TableName & Pick<PlanItem, 'keeperPath' | 'replicated'>, node: NodeFacts): Statements {
  const fill = [
    planned('replace-partition', sql.replacePartition(item, sql.PARTITION_PLACEHOLDER)),
    planned('drop-partition', sql.dropPartition(item, sql.PARTITION_PLACEHOLDER)),
  ];
  if (!item.replicated) return [planned('attach', sql.attach(item)), ...fill];
  return [
    planned('detach', sql.detach(item)),
    ...clearOwn(item, node),
    planned('attach-not-replicated', sql.attachAsNotReplicated(item)),
    planned('attach', sql.attach(item)),
    ...fill,
    planned('attach-as-replicated', sql.attachAsReplicated(item)),
    planned('restore-replica', sql.restoreReplica(item)),
  ];
}

export interface Around {
  definition: TableDefinition;
  node: NodeFacts;
  backup: BackupContents | undefined;
  /** Dead registrations of others on the path that this replica goes first on; null: the path is not its to clear. */
  left: string[] | null;
}

/** Every statement that the item may need, in the order of the undisturbed run, repairs last. */
export function statementsOf(item: Omit<PlanItem, 'statements'>, around: Around): Statements {
  if (item.method === 'conversion' && item.replicated) return conversionStatements(item, around);
  const { definition, node, backup } = around;
  const peers = clearOthers(item, around);
  const source = (backup && tableIn(backup.tables, item))?.source ?? item;
  const restore =
    backup?.node === null
      ? [planned('restore', sql.restoreTable(source, sql.stagingName(item), backup.destination, OPERATION_PLACEHOLDER))]
      : [];
  switch (item.action) {
    case 'none':
    case 'needs-operator':
      return [];
    case 'restore-replica':
      return unique([
        ...cloneStatements(definition, node),
        // An embedded node does not get the session back that way: it has to be started anew.
        ...(node.embedded ? [] : [planned('restart-replica', sql.restartReplica(item))]),
        planned('restore-replica', sql.restoreReplica(item)),
        ...(item.rebuildRefusal === null ? rebuildStatements(item, node) : []),
        ...peers,
      ]);
    case 'rebuild-from-clone':
      return unique([...cloneStatements(definition, node), ...rebuildStatements(item, node), ...peers]);
    case 'recreate-and-fetch':
      return [...clearOwn(item, node), planned('create-replicated', sql.createReplicated(definition))];
    case 'create-object':
      if (tableKind(definition.engine) !== 'other-data' || restore.length === 0)
        return [planned('create-object', sql.createObject(definition))];
      return [
        planned('create-staging', sql.createWholeStaging(definition)),
        ...restore,
        planned('rename-into-place', sql.promoteByRename(item)),
        planned('drop-staging', sql.dropClone('staging', item)),
      ];
    case 'restore-from-backup':
      return unique([
        ...(item.restore || item.place
          ? stagingStatements(item, definition, backup)
          : [planned('create-staging', sql.createStaging(definition)), ...restore]),
        planned('complete-staging', sql.completeClone('staging', item)),
        planned('create-plain', sql.createPlain(definition, item.replicated)),
        ...rebuildStatements(item, node),
        ...makingStatements(definition, node),
        planned('hold-clone', sql.holdClone(item)),
        planned('drop-making', sql.dropClone('making', item)),
        planned('drop-staging', sql.dropClone('staging', item)),
        ...peers,
      ]);
  }
}

function conversionStatements(item: Omit<PlanItem, 'statements'>, around: Around): Statements {
  const { definition, node, backup } = around;
  const clone = cloneName('clone', item);
  const takeOut = [
    planned('detach', conversion.detach(item)),
    planned('attach-plain', conversion.attachPlain(definition)),
    planned('move-aside', conversion.moveAside(item)),
  ];
  const stalePath = [...clearOwn(item, node), ...clearOthers(item, around)];
  const next = [
    planned('create-next', conversion.createNext(definition, node.macros)),
    ...(item.action === 'recreate-and-fetch'
      ? []
      : [
          planned('fill-next', conversion.fill('next', clone, item)),
          planned('empty-next', conversion.empty('next', item)),
        ]),
    planned('promote', conversion.promote(item)),
  ];
  switch (item.action) {
    case 'none':
    case 'needs-operator':
    case 'create-object':
      return [];
    case 'restore-replica':
    case 'rebuild-from-clone':
      return [
        ...makingStatements(definition, node),
        planned('complete-clone', sql.completeClone('making', item)),
        ...takeOut,
        ...next,
        ...stalePath,
        planned('drop-making', conversion.drop('making', item)),
      ];
    case 'recreate-and-fetch':
      return [...(item.standing ? takeOut : []), ...stalePath, ...next];
    case 'restore-from-backup':
      return [
        ...stagingStatements(item, definition, backup),
        planned('complete-staging', sql.completeClone('staging', item)),
        ...(item.standing ? takeOut : []),
        ...stalePath,
        ...next,
      ];
  }
}

/**
 * The twin that clickhouse-backup restores into, or whose parts an agent places. What they are told is no SQL, and stands in
 * the plan as it is.
 */
function stagingStatements(
  { restore, place, method, ...name }: Omit<PlanItem, 'statements'>,
  definition: TableDefinition,
  backup: BackupContents | undefined,
): Statements {
  if (place) return placeStatements({ ...name, method, place }, definition);
  if (!restore || !backup) return [];
  const { target, pattern } = restore.names;
  const drop = `DROP TABLE IF EXISTS ${quoteTable(target)}${method === 'conversion' ? '' : ' SYNC'}`;
  return [
    planned('create-target', createTwin(target, definition, method)),
    planned(
      'restore',
      `${backup.destination}: restore --data --table ${JSON.stringify(pattern)} into ${quoteTable(target)}`,
    ),
    ...(target.table === sql.stagingName(name).table
      ? []
      : [planned('rename-target', sql.renameToStaging(target, name))]),
    planned('drop-target', drop),
  ];
}

function placeStatements(
  { place, method, ...name }: TableName & { place: PlaceOrder; method: Method },
  definition: TableDefinition,
): Statements {
  const target = sql.stagingName(name);
  return [
    planned('create-target', createTwin(target, definition, method)),
    planned(
      'restore',
      `agent of ${place.host}: place ${place.counted.parts} parts of ${folderOf(name)} in its cold copy ${JSON.stringify(place.generation)} into detached/ of ${quoteTable(target)}`,
    ),
    planned('attach-part', sql.attachPart(target, PART_PLACEHOLDER)),
    planned('drop-target', `DROP TABLE IF EXISTS ${quoteTable(target)}${method === 'conversion' ? '' : ' SYNC'}`),
  ];
}

/** Its own registration. */
function clearOwn({ keeperPath }: Pick<PlanItem, 'keeperPath'>, { capabilities }: NodeFacts): Statements {
  if (!keeperPath) return [];
  return capabilities.dropReplica
    ? [planned('drop-replica', sql.dropReplica(keeperPath.replicaName, keeperPath.tablePath))]
    : [planned('delete-replica-path', replicaPath(keeperPath))];
}

/**
 * Where it goes first, what others left on its path. By hand that is the table's node, too, once nobody is under it. Also
 * where there is none yet: a server that dies in the middle of CREATE leaves one, and calls whoever is registered there
 * next lost (`is_lost` = 1), not being the first. That one waits for ever for a replica to copy (415; on 18.16.1 it
 * takes parts meanwhile, and tells nobody of them).
 */
function clearOthers({ keeperPath }: Pick<PlanItem, 'keeperPath'>, { node, left }: Around): Statements {
  if (!keeperPath || left === null) return [];
  const { tablePath } = keeperPath;
  if (node.capabilities.dropReplica)
    return left.map((replica) => planned('drop-peer-replica', sql.dropReplica(replica, tablePath)));
  return [
    ...left.map((replicaName) => planned('delete-peer-path', replicaPath({ tablePath, replicaName }))),
    planned('delete-peer-path', tablePath),
  ];
}

function replicaPath({ tablePath, replicaName }: { tablePath: string; replicaName: string }): string {
  return `${tablePath}/replicas/${replicaName}`;
}

function unique(statements: Statements): Statements {
  const seen = new Set<string>();
  return statements.filter(({ sql }) => !seen.has(sql) && seen.add(sql));
}

export function fenceOf(node: NodeFacts): string[] {
  return [
    ...sql.fence(methodOf(node.capabilities)),
    ...node.tables
      .filter((table) => table.kind === 'streaming')
      .map((table) => sql.detachStreaming(table.definition, methodOf(node.capabilities)))
      .sort(),
  ];
}

/**
 * What is sent after validation. Placeholders stand for what is not known before: the recovery's id, a safety clone, what
 * an attempt left behind. Also of nodes that need no work themselves: they take part in the proof that their shard
 * replicates, and an earlier recovery may have left something there.
 */
export function closingOf(node: NodeFacts, items: PlanItem[], { nodes, keepAside }: PlanInput): string[] {
  const method = methodOf(node.capabilities);
  const { shard, replica } = node.node;
  const canary = sql.canary('{recovery}');
  const work = items.filter((item) => item.action !== 'none');
  if (work.length === 0) return [];
  const hasWork = work.some((item) => item.node.shard === shard);
  const isProved = !node.embedded && hasWork && nodes.filter((other) => other.node.shard === shard).length > 1;
  const streaming = node.tables.filter(({ kind }) => kind === 'streaming');
  const isFenced = isChanged(node.node.name, items);
  return [
    ...(isProved
      ? [
          sql.createCanary(canary, sql.canaryPath('{recovery}', shard), replica),
          sql.insertCanary(canary, '{n}'),
          sql.dropAside(canary.table, method),
        ]
      : []),
    keepAside ? sql.setAside([{ from: '{clone}', to: '{aside}' }]) : sql.dropAside('{clone}', method),
    sql.dropAside('{left behind}', method),
    ...(isFenced ? [...sql.lift(method), ...streaming.map(({ definition }) => sql.attach(definition)).sort()] : []),
  ];
}

export function missingDatabases(node: NodeFacts, items: PlanItem[], input: PlanInput): string[] {
  const needed = new Set(
    items
      .filter((item) => item.node.name === node.node.name && item.action !== 'none' && item.action !== 'needs-operator')
      .map((item) => item.database),
  );
  const saved = input.backups.get(node.node.shard)?.databases ?? [];
  const peers = input.nodes.flatMap((other) => other.databases);
  // The fence makes it elsewhere; a replica that only joins its living peers has none.
  const isJoining = items.some(
    (item) => item.node.name === node.node.name && item.method === 'conversion' && item.fetches === 'live',
  );
  const own = isJoining ? [sql.createRecoveryDatabase('conversion')] : [];
  const missing = [...needed]
    .filter((name) => !node.databases.some((database) => database.name === name))
    .sort()
    .map((name) => {
      const engine =
        (saved.find((database) => database.name === name) ?? peers.find((database) => database.name === name))
          ?.engine ?? (methodOf(node.capabilities) === 'conversion' ? 'Ordinary' : 'Atomic');
      return sql.createDatabase(name, /^\w+$/.test(engine) ? engine : quote(engine));
    });
  return [...own, ...missing];
}
