import { columnsOf, expandPath, parseReplicatedEngine } from './ddl.js';
import { carriesSecret } from './ddl-secrets.js';
import { problem, RecoveryError } from './errors.js';
import {
  mayHoldRows,
  methodOf,
  missingStatements,
  tableKind,
  type KeeperReplicaFacts,
  type NodeFacts,
  type PartsDigest,
  type TableDefinition,
  type TableFacts,
} from './inventory.js';
import { keeperState } from './keeper-state.js';
import type { BackupContents, ManifestTable } from './manifest.js';
import { compilePattern, OWN_DATABASES, quoteTable, tableKey, type TableName } from './names.js';
import { isChanged, type Plan, type PlanItem } from './plan.js';
import { groupByShard, scopedKey, type Draft, type PlanInput } from './plan-input.js';
import { refuseNodes, refusePatterns } from './plan-refusals.js';
import { closingOf, fenceOf, missingDatabases } from './plan-statements.js';
import type { RecoveryRequest } from './request.js';
import { finishShardTable } from './shard-order.js';
import { judgeMissing, judgePlain, judgeReplicated, type Verdict } from './situation.js';
import { entryFor, tableIn } from './table-index.js';

/** What exists, what the backup holds and what was asked for → what is done about each table. Pure. */
export function makePlan(input: PlanInput): Omit<Plan, 'hash'> {
  const selected = selector(input.request);
  const warnings: string[] = [];
  const refusals = refuseNodes(input);
  const items: PlanItem[] = [];
  for (const [shard, nodes] of groupByShard(input.nodes))
    items.push(...planShard(shard, nodes, input, selected, warnings));
  refusals.push(...refusePatterns(input));
  const fragile = new Set(
    items.flatMap((item) =>
      item.method === 'conversion' && item.situation === 'keeper-metadata-lost' ? [item.node.name] : [],
    ),
  );
  if (fragile.size > 0)
    warnings.push(
      `do not restart ClickHouse on ${[...fragile].sort().join(', ')} before this is done: a server of that age does not start, or starts without its tables, while their ZooKeeper metadata is missing`,
    );
  const inPlaceOnly = new Set(
    items.flatMap((item) =>
      item.action === 'restore-replica' && item.rebuildRefusal === 'UNSUPPORTED_SERVER' ? [item.node.name] : [],
    ),
  );
  if (inPlaceOnly.size > 0)
    warnings.push(
      `do not restart ClickHouse on ${[...inPlaceOnly].sort().join(', ')} before this is done: without ATTACH … AS REPLICATED, a table whose server dies in the middle of its SYSTEM RESTORE REPLICA cannot be repaired in place; its parts stay in _recovery`,
    );
  const first = [...input.backups.values()][0];
  if (first?.cold)
    warnings.push(
      'of the cold copy, parts and definitions are used: what its ZooKeeper held besides, unfinished mutations among it, stays there',
    );
  return {
    cluster: input.request.cluster,
    backup: first
      ? { repository: first.repository, name: first.name, ...evidenceOf([...input.backups.values()]) }
      : null,
    nodes: input.nodes.map((node) => ({
      node: node.node,
      embedded: node.embedded,
      version: node.version,
      method: methodOf(node.capabilities),
      strategy: strategyOf(node),
      fence: isChanged(node.node.name, items) ? fenceOf(node) : [],
      databases: missingDatabases(node, items, input),
      closing: closingOf(node, items, input),
    })),
    items,
    keepAside: input.keepAside,
    keeperState: keeperState(input, items),
    warnings,
    refusals,
  };
}

/** How the node's tables get their metadata back, and why so. */
function strategyOf({ capabilities, embedded }: NodeFacts): string {
  const missing = missingStatements(capabilities).join(', ');
  if (methodOf(capabilities) === 'conversion') return `conversion: the server does not know ${missing}`;
  const known = embedded
    ? 'SYSTEM RESTORE REPLICA (embedded node: replicas never become active)'
    : 'SYSTEM RESTORE REPLICA: the server knows the statement';
  return missing === '' ? known : `${known}, and not ${missing}`;
}

function selector(request: RecoveryRequest): (name: TableName) => boolean {
  const matchers = request.tables?.map(compilePattern);
  return (name) => !OWN_DATABASES.includes(name.database) && (!matchers || matchers.some((matches) => matches(name)));
}

function planShard(
  shard: string,
  nodes: NodeFacts[],
  input: PlanInput,
  selected: (name: TableName) => boolean,
  warnings: string[],
): PlanItem[] {
  const backup = input.backups.get(shard);
  const names = new Map<string, TableName>();
  for (const node of nodes)
    for (const table of node.tables)
      if (selected(table.definition)) names.set(tableKey(table.definition), table.definition);
  for (const table of backup?.tables ?? []) if (selected(table)) names.set(tableKey(table), table);
  // Without a backup, a replicated table that the other shards have and this one lacks is lost here.
  if (!backup && names.size > 0)
    for (const node of input.nodes)
      for (const table of node.tables)
        if (table.kind === 'replicated' && !isInner(table.definition) && selected(table.definition))
          names.set(tableKey(table.definition), table.definition);
  const standing = nodes.some((node) =>
    node.tables.some((table) => backup !== undefined && tableIn(backup.tables, table.definition) !== undefined),
  );
  const items: PlanItem[] = [];
  for (const name of [...names.values()].sort(byName)) {
    const drafts = nodes
      .map((node) => draftItem(name, node, nodes, input, backup, !standing))
      .filter((draft) => draft !== null);
    items.push(...finishShardTable(shard, drafts, nodes, input, warnings));
    warnings.push(...notRestored(name, nodes, backup), ...putAside(name, nodes));
  }
  return items;
}

/** One shard without a manifest: nothing is claimed of the whole that is true of a part. The oldest is its age. */
function evidenceOf(backups: BackupContents[]): Pick<BackupContents, 'takenAt' | 'evidence'> {
  return {
    takenAt: backups.map(({ takenAt }) => takenAt).sort()[0] ?? '',
    evidence: backups.every(({ evidence }) => evidence === 'manifest') ? 'manifest' : 'backup',
  };
}

/** clickhouse-backup copies one server: a table that is not replicated is that server's own. */
function isAnothers(saved: ManifestTable, backup: BackupContents | undefined, node: NodeFacts): boolean {
  const kind = tableKind(saved.engine);
  const isOwn = kind === 'merge-tree' || kind === 'other-data';
  return isOwn && backup !== undefined && backup.node !== null && backup.node !== node.node.name;
}

/** What nothing is planned for although it was there: never silence. */
function notRestored(name: TableName, nodes: NodeFacts[], backup: BackupContents | undefined): string[] {
  const saved = backup && tableIn(backup.tables, name);
  return nodes
    .filter((node) => !find(node, name))
    .flatMap((node) => {
      if (saved && tableKind(saved.engine) === 'streaming')
        return [
          `${tableKey(name)} is not on ${node.node.name}: create it once its target tables are right (engine ${saved.engine}; its definition may hold credentials and is not shown)`,
        ];
      if (saved && isAnothers(saved, backup, node))
        return [
          `${tableKey(name)} is not on ${node.node.name}: it is not replicated, and ${backup?.destination} is not its backup`,
        ];
      if (saved?.definitionOnly)
        return [
          `${tableKey(name)} @ ${node.node.name}: ${backup?.cold ? `agents place parts, and it has none: its rows stay in the ${backup.destination}` : 'the backup has its definition only, its rows are lost'}`,
        ];
      if (saved && mayHoldRows(saved.engine))
        return [
          `${tableKey(name)} @ ${node.node.name}: made anew from its definition, without rows that it may have had (engine ${saved.engine}: they are in no backup of ours)`,
        ];
      const elsewhere = nodes.map((peer) => find(peer, name)).find((table) => table !== undefined);
      const isOwn = elsewhere && (elsewhere.kind === 'merge-tree' || elsewhere.kind === 'other-data');
      return !saved && isOwn
        ? [`${tableKey(name)} is not on ${node.node.name}: it is not replicated, so no peer has its rows; not restored`]
        : [];
    });
}

/** A server that starts after ZooKeeper came back from an older copy hides what is newer, and then all looks well. */
function putAside(name: TableName, nodes: NodeFacts[]): string[] {
  return nodes.flatMap((node) => {
    const parts = find(node, name)?.putAside ?? 0;
    return parts === 0
      ? []
      : [
          `${tableKey(name)} @ ${node.node.name}: ${parts} parts in detached/ that the server put aside when it started, since ZooKeeper does not list them: their rows are not in the table`,
        ];
  });
}

/** The table behind a materialized view has the view's UUID in its name: every shard has its own. */
const isInner = (name: TableName) => name.table.startsWith('.inner');

function byName(a: TableName, b: TableName): number {
  const [left, right] = [tableKey(a), tableKey(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

const find = (node: NodeFacts, name: TableName) => entryFor(node.tables, (table) => table.definition, name);

function draftItem(
  name: TableName,
  node: NodeFacts,
  shard: NodeFacts[],
  input: PlanInput,
  backup: BackupContents | undefined,
  shardEmpty: boolean,
): Draft | null {
  const here = find(node, name);
  const saved = backup && tableIn(backup.tables, name);
  if (here?.kind === 'streaming' || (saved && tableKind(saved.engine) === 'streaming')) return null;
  if (here) return standingItem(here, node, saved);
  if (saved && isAnothers(saved, backup, node)) return null;
  // A plain table is its server's own: only replicated tables and objects are the same on all replicas.
  const peer = shard
    .map((other) => find(other, name))
    .filter((table) => table !== undefined && (table.kind === 'replicated' || table.kind === 'object'))
    .sort((a, b) => (b?.parts.rows ?? 0) - (a?.parts.rows ?? 0))[0];
  const elsewhere = backup
    ? undefined
    : input.nodes.map((other) => find(other, name)).find((table) => table?.kind === 'replicated');
  const definition = saved ? fromBackup(saved, backup, input, node) : (peer ?? elsewhere)?.definition;
  if (!definition) return null;
  return missingItem(definition, node, { peer, saved, shardEmpty, input });
}

function standingItem(here: TableFacts, node: NodeFacts, saved: ManifestTable | undefined): Draft | null {
  const around = { embedded: node.embedded, backup: saved ? { parts: saved.parts ?? countedParts(saved) } : null };
  if (here.kind === 'object' || here.kind === 'other-data') return null;
  const replicated = here.kind === 'replicated';
  const verdict = replicated ? judgeReplicated(here, around) : judgePlain(here, around);
  const fromBackup = verdict.action === 'restore-from-backup';
  return draft(here.definition, node, verdict, {
    replicated,
    standing: true,
    identity:
      verdict.action === 'rebuild-from-clone' && here.clone && !here.namedIn ? here.clone.digest : here.identity,
    named: here.namedIn !== null,
    expected: fromBackup
      ? (saved?.parts ?? null)
      : verdict.action === 'rebuild-from-clone' && here.clone
        ? here.clone
        : here.parts,
    keeper: here.keeper,
  });
}

/** Enough to see that a table which stands empty had rows. */
function countedParts({ counted }: ManifestTable): PartsDigest | null {
  return counted && counted.rows !== null ? { parts: counted.parts, rows: counted.rows, digest: '0' } : null;
}

function missingItem(
  definition: TableDefinition,
  node: NodeFacts,
  {
    peer,
    saved,
    shardEmpty,
    input,
  }: { peer: TableFacts | undefined; saved: ManifestTable | undefined; shardEmpty: boolean; input: PlanInput },
): Draft {
  const kind = tableKind(definition.engine);
  if (carriesSecret(definition.createQuery))
    return draft(definition, node, withSecret(shardEmpty), {
      ...{ replicated: kind === 'replicated', standing: false, expected: null, keeper: null },
    });
  if (kind === 'object' || kind === 'other-data') {
    const verdict: Verdict = { situation: shardEmpty ? 'data-lost' : 'table-lost', action: 'create-object' };
    // A Log-family table has no parts, but its rows are counted in the end.
    const expected = kind === 'other-data' ? (saved?.parts ?? null) : null;
    return draft(definition, node, verdict, { replicated: false, standing: false, expected, keeper: null });
  }
  const keeper = input.absentPaths.get(scopedKey(node.node.name, definition)) ?? absentKeeper(definition, node);
  const verdict = judgeMissing({
    onPeer:
      peer !== undefined &&
      (peer.parts.parts > 0 || ((saved && (saved.parts ?? countedParts(saved)))?.rows ?? 0) === 0),
    inBackup: saved !== undefined,
    shardEmpty,
    pathActive: keeper?.activeReplicas.includes(keeper.replicaName) ?? false,
    uuidPendingDrop: node.pendingDropUuids.includes(definition.uuid),
  });
  const expected = verdict.action === 'recreate-and-fetch' ? (peer?.parts ?? null) : (saved?.parts ?? null);
  return draft(definition, node, verdict, { replicated: kind === 'replicated', standing: false, expected, keeper });
}

function withSecret(shardEmpty: boolean): Verdict {
  return {
    situation: shardEmpty ? 'data-lost' : 'table-lost',
    action: 'needs-operator',
    code: 'DEFINITION_HAS_SECRET',
    why: 'its definition carries a credential, or hides it, and is not shown',
  };
}

function draft(
  definition: TableDefinition,
  node: NodeFacts,
  verdict: Verdict,
  rest: {
    replicated: boolean;
    standing: boolean;
    identity?: string;
    named?: boolean;
    expected: PartsDigest | null;
    keeper: KeeperReplicaFacts | null;
  },
): Draft {
  return {
    database: definition.database,
    table: definition.table,
    node: node.node,
    situation: verdict.situation,
    action: verdict.action,
    replicated: rest.replicated,
    method: methodOf(node.capabilities),
    standing: rest.standing,
    expected: rest.expected,
    keeperPath: rest.keeper ? { tablePath: rest.keeper.tablePath, replicaName: rest.keeper.replicaName } : null,
    uuid: definition.uuid,
    definition,
    keeper: rest.keeper,
    identity: rest.identity ?? '0',
    named: rest.named ?? true,
    ...(verdict.code
      ? {
          problem: problem(verdict.code, `${definition.database}.${definition.table}: ${verdict.why ?? ''}`, {
            objects: [tableKey(definition)],
          }),
        }
      : {}),
  };
}

/** Where a lost table's Keeper path is, from its DDL and the node's macros. */
export function absentKeeper(definition: TableDefinition, node: NodeFacts): KeeperReplicaFacts | null {
  if (tableKind(definition.engine) !== 'replicated') return null;
  const engine = parseReplicatedEngine(definition.engineFull);
  const tablePath = expandPath(engine.pathTemplate, node.macros, definition);
  const replicaName = expandPath(engine.replicaTemplate, node.macros, definition);
  if (tablePath === null || replicaName === null) return null;
  return {
    tablePath,
    replicaName,
    tablePathExists: false,
    replicaPathExists: false,
    replicas: [],
    activeReplicas: [],
    partsInKeeper: null,
    partsAgree: null,
    missingLocally: 0,
    notListed: 0,
  };
}

/**
 * A plain native backup shows its tables without `Replicated` and UUID: take those from the same table elsewhere in
 * the cluster. A manifest has them.
 */
function fromBackup(
  saved: ManifestTable,
  backup: BackupContents | undefined,
  input: PlanInput,
  node: NodeFacts,
): TableDefinition {
  if (backup?.evidence !== 'backup' || tableKind(saved.engine) !== 'merge-tree') return saved;
  const elsewhere = input.nodes.map((other) => find(other, saved)).find((table) => table?.kind === 'replicated');
  if (!elsewhere) {
    // The mount shows `ReplacingMergeTree` for `ReplicatedReplacingMergeTree(…, version)`: never recreate that silently.
    if (saved.engine !== 'MergeTree' && saved.engine !== 'AggregatingMergeTree')
      throw new RecoveryError(
        'NOT_RECOVERABLE',
        `${tableKey(saved)}: a backup without a manifest does not show the arguments of ${saved.engine}, and no other node has the table`,
        { objects: [tableKey(saved)] },
      );
    return saved;
  }
  const engineFull = elsewhere.definition.engineFull;
  const uuid = find(node, saved)?.definition.uuid ?? saved.uuid;
  return {
    ...saved,
    uuid,
    engine: elsewhere.definition.engine,
    engineFull,
    createQuery: `CREATE TABLE ${quoteTable(saved)} ${columnsOf(saved)} ENGINE = ${engineFull}`,
  };
}
