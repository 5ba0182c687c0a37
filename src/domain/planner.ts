import { chooseAuthority } from './authority.js';
import { restoreNames } from './clickhouse-backup-names.js';
import { columnsOf, expandPath, parseReplicatedEngine } from './ddl.js';
import { problem, RecoveryError, type Problem } from './errors.js';
import {
  methodOf,
  NO_PARTS,
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
import { groupByShard, scopedKey, type PlanInput } from './plan-input.js';
import { refuseNodes, refusePatterns } from './plan-refusals.js';
import { fenceOf, isConvertible, missingDatabases, statementsOf } from './plan-statements.js';
import type { RecoveryRequest } from './request.js';
import { stagingName } from './statements.js';
import { judgeMissing, judgePlain, judgeReplicated, type Verdict } from './situation.js';

type Draft = Omit<PlanItem, 'statements' | 'authority' | 'convertible' | 'fetches'> & {
  definition: TableDefinition;
  keeper: KeeperReplicaFacts | null;
  identity: string;
};

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
  const first = [...input.backups.values()][0];
  return {
    cluster: input.request.cluster,
    backup: first
      ? { repository: first.repository, name: first.name, takenAt: first.takenAt, evidence: first.evidence }
      : null,
    nodes: input.nodes.map((node) => ({
      node: node.node,
      embedded: node.embedded,
      version: node.version,
      method: methodOf(node.capabilities),
      strategy: strategyOf(node),
      fence: isChanged(node.node.name, items) ? fenceOf(node) : [],
      databases: missingDatabases(node, items, input),
    })),
    items,
    keeperState: keeperState(input, items),
    warnings,
    refusals,
  };
}

/** How the node's tables get their metadata back, and why so. */
function strategyOf({ capabilities, embedded }: NodeFacts): string {
  if (methodOf(capabilities) === 'conversion')
    return `conversion: the server does not know ${missingStatements(capabilities).join(', ')}`;
  return embedded
    ? 'SYSTEM RESTORE REPLICA (embedded node: replicas never become active)'
    : 'SYSTEM RESTORE REPLICA: the server knows the statement';
}

function missingStatements(can: NodeFacts['capabilities']): string[] {
  const wanted: [boolean, string][] = [
    [can.restoreReplica, 'SYSTEM RESTORE REPLICA'],
    [can.dropReplica, 'SYSTEM DROP REPLICA'],
    [can.attachAs, 'ATTACH … AS REPLICATED'],
    [can.cloneAs, 'CLONE AS'],
    [can.partHashes, 'hashes of parts'],
  ];
  return wanted.filter(([known]) => !known).map(([, what]) => what);
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
    node.tables.some((table) => backup?.tables.some((saved) => tableKey(saved) === tableKey(table.definition))),
  );
  const items: PlanItem[] = [];
  for (const name of [...names.values()].sort(byName)) {
    const drafts = nodes
      .map((node) => draftItem(name, node, nodes, input, backup, !standing))
      .filter((draft) => draft !== null);
    items.push(...finishShardTable(shard, drafts, nodes, input, warnings));
    warnings.push(...notRestored(name, nodes, backup));
  }
  return items;
}

/** clickhouse-backup copies one server: a table that is not replicated is that server's own. */
function isAnothers(saved: ManifestTable, backup: BackupContents | undefined, node: NodeFacts): boolean {
  const kind = tableKind(saved.engine);
  const isOwn = kind === 'merge-tree' || kind === 'other-data';
  return isOwn && backup !== undefined && backup.node !== null && backup.node !== node.node.name;
}

/** What nothing is planned for although it was there: never silence. */
function notRestored(name: TableName, nodes: NodeFacts[], backup: BackupContents | undefined): string[] {
  const saved = backup?.tables.find((table) => tableKey(table) === tableKey(name));
  return nodes
    .filter((node) => !find(node, name))
    .flatMap((node) => {
      if (saved && tableKind(saved.engine) === 'streaming')
        return [
          `${tableKey(name)} is not on ${node.node.name}: once its target tables are right, ${saved.createQuery}`,
        ];
      if (saved && isAnothers(saved, backup, node))
        return [
          `${tableKey(name)} is not on ${node.node.name}: it is not replicated, and ${backup?.destination} is not its backup`,
        ];
      if (saved?.definitionOnly)
        return [`${tableKey(name)} @ ${node.node.name}: the backup has its definition only, its rows are lost`];
      const elsewhere = nodes.map((peer) => find(peer, name)).find((table) => table !== undefined);
      const isOwn = elsewhere && (elsewhere.kind === 'merge-tree' || elsewhere.kind === 'other-data');
      return !saved && isOwn
        ? [`${tableKey(name)} is not on ${node.node.name}: it is not replicated, so no peer has its rows; not restored`]
        : [];
    });
}

/** The table behind a materialized view has the view's UUID in its name: every shard has its own. */
const isInner = (name: TableName) => name.table.startsWith('.inner');

function byName(a: TableName, b: TableName): number {
  const [left, right] = [tableKey(a), tableKey(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

const find = (node: NodeFacts, name: TableName) =>
  node.tables.find((table) => tableKey(table.definition) === tableKey(name));

function draftItem(
  name: TableName,
  node: NodeFacts,
  shard: NodeFacts[],
  input: PlanInput,
  backup: BackupContents | undefined,
  shardEmpty: boolean,
): Draft | null {
  const here = find(node, name);
  const saved = backup?.tables.find((table) => tableKey(table) === tableKey(name));
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
  const around = { embedded: node.embedded, backup: saved ? { parts: saved.parts } : null };
  if (here.kind === 'object' || here.kind === 'other-data') return null;
  const replicated = here.kind === 'replicated';
  const verdict = replicated ? judgeReplicated(here, around) : judgePlain(here, around);
  const fromBackup = verdict.action === 'restore-from-backup';
  return draft(here.definition, node, verdict, {
    replicated,
    standing: true,
    identity: verdict.action === 'rebuild-from-clone' && here.clone ? here.clone.digest : here.identity,
    expected: fromBackup
      ? (saved?.parts ?? null)
      : verdict.action === 'rebuild-from-clone' && here.clone
        ? here.clone
        : here.parts,
    keeper: here.keeper,
  });
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
  if (kind === 'object' || kind === 'other-data') {
    const verdict: Verdict = { situation: shardEmpty ? 'data-lost' : 'table-lost', action: 'create-object' };
    // A Log-family table has no parts, but its rows are counted in the end.
    const expected = kind === 'other-data' ? (saved?.parts ?? null) : null;
    return draft(definition, node, verdict, { replicated: false, standing: false, expected, keeper: null });
  }
  const keeper = input.absentPaths.get(scopedKey(node.node.name, definition)) ?? absentKeeper(definition, node);
  const verdict = judgeMissing({
    onPeer: peer !== undefined && (peer.parts.parts > 0 || (saved?.parts?.rows ?? 0) === 0),
    inBackup: saved !== undefined,
    shardEmpty,
    pathActive: keeper?.activeReplicas.includes(keeper.replicaName) ?? false,
    uuidPendingDrop: node.pendingDropUuids.includes(definition.uuid),
  });
  const expected = verdict.action === 'recreate-and-fetch' ? (peer?.parts ?? null) : (saved?.parts ?? null);
  return draft(definition, node, verdict, { replicated: kind === 'replicated', standing: false, expected, keeper });
}

function draft(
  definition: TableDefinition,
  node: NodeFacts,
  verdict: Verdict,
  rest: {
    replicated: boolean;
    standing: boolean;
    identity?: string;
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

/** Chooses who goes first and writes each item's statements. */
function finishShardTable(
  shard: string,
  drafts: Draft[],
  nodes: NodeFacts[],
  input: PlanInput,
  warnings: string[],
): PlanItem[] {
  refuseForeign(drafts);
  const withParts = drafts.filter(
    (item) => item.replicated && (item.action === 'restore-replica' || item.action === 'rebuild-from-clone'),
  );
  const authority = authorityOf(shard, drafts, withParts, nodes, input);
  const first = drafts.find((item) => item.node.name === authority.name);
  for (const item of drafts) if (item !== first && first?.replicated) joinFirst(item);
  const healthy = drafts.flatMap((item) => (item.action === 'none' && item.keeper ? [item.keeper.replicaName] : []));
  let blocked: Problem | null = first
    ? null
    : (authority.diverged ?? drafts.find((item) => item.problem)?.problem ?? null);
  const inOrder = first ? [first, ...drafts.filter((item) => item !== first)] : drafts;
  const decide = (item: Draft): PlanItem => {
    const node = nodes.find((candidate) => candidate.node.name === item.node.name);
    const {
      definition,
      keeper,
      identity: _identity,
      ...rest
    } = authority.diverged && withParts.includes(item)
      ? { ...item, situation: 'diverged' as const, action: 'needs-operator' as const, problem: authority.diverged }
      : item;
    const decided: Omit<PlanItem, 'statements'> = {
      ...rest,
      authority: item === first,
      convertible: node !== undefined && isConvertible(definition, node),
      ...later(item, first, node),
    };
    const refused = (refusal: Problem): PlanItem => {
      if (item === first) blocked = refusal;
      return { ...decided, action: 'needs-operator', problem: refusal, statements: [] };
    };
    if (item === first && decided.action === 'needs-operator') blocked = decided.problem ?? null;
    // Without the one that goes first, it would go first itself.
    if (
      blocked &&
      item !== first &&
      item.replicated &&
      decided.action !== 'none' &&
      decided.action !== 'needs-operator'
    )
      return refused(blocked);
    const backup = input.backups.get(shard);
    if (decided.action === 'restore-from-backup' && backup && backup.node !== null) {
      const order = restoreOrder(decided, backup, backup.node);
      if ('code' in order) return refused(order);
      decided.restore = order;
    }
    const refusal = item.replicated ? refuseItem(decided, definition) : null;
    if (refusal) return refused(refusal);
    if (decided.action === 'restore-replica' && decided.method === 'restore-replica' && !decided.convertible)
      warnings.push(
        `${tableKey(item)} has an explicit ZooKeeper path: a crash in the middle of its SYSTEM RESTORE REPLICA cannot be repaired in place`,
      );
    const context = { definition, node, backup, left: leftBehind(keeper, decided, healthy) };
    if (!node) return { ...decided, statements: [] };
    try {
      return { ...decided, statements: statementsOf(decided, { ...context, node }) };
    } catch (error) {
      // One table that cannot be read keeps no other from being recovered.
      if (!(error instanceof RecoveryError)) throw error;
      return refused(problem(error.code, error.message, { objects: [tableKey(item)] }));
    }
  };
  const items = new Map(inOrder.map((item) => [item, decide(item)]));
  return drafts.flatMap((item) => items.get(item) ?? []);
}

/**
 * A replica that is active on the path and is none of ours, or is ours by name while ours has lost its table: whoever
 * joined the path would share its parts with that server. Then nobody of the shard does.
 */
function refuseForeign(drafts: Draft[]): void {
  const healthy = drafts.filter((item) => item.action === 'none').map((item) => item.keeper?.replicaName);
  const foreign = drafts
    .flatMap((item) => item.keeper?.activeReplicas ?? [])
    .filter((replica) => !healthy.includes(replica));
  if (foreign.length === 0) return;
  for (const item of drafts) {
    if (!item.replicated || item.action === 'none' || item.action === 'needs-operator') continue;
    item.situation = 'stale-path-live-replica';
    item.action = 'needs-operator';
    item.problem = problem(
      'REPLICA_ACTIVE',
      `${tableKey(item)}: replica ${foreign[0]} is active on its ZooKeeper path, in another server`,
      { objects: [tableKey(item)] },
    );
  }
}

/** Once another goes first, a replica without the parts takes them from there, not from the backup. */
function joinFirst(item: Draft): void {
  if (!item.replicated) return;
  if (item.action === 'restore-from-backup') {
    item.situation = 'replica-lost';
    item.action = 'recreate-and-fetch';
  }
  // One that stands, empty, is registered where it is.
  if (item.action === 'recreate-and-fetch' && item.standing && item.method === 'restore-replica')
    item.action = 'restore-replica';
}

/** What a later replica fetches and must have in the end: what the first one has. */
function later(
  item: Draft,
  first: Draft | undefined,
  node: NodeFacts | undefined,
): Pick<PlanItem, 'fetches' | 'expected'> {
  if (!item.replicated || !first || item === first || item.action === 'none' || !node || node.embedded)
    return { fetches: null, expected: item.expected };
  const known = first.action === 'none' ? null : first.expected;
  return { fetches: known ?? 'live', expected: known };
}

/** How clickhouse-backup, which is beside one node only, is to restore the table; a problem where it cannot. */
function restoreOrder(
  item: Omit<PlanItem, 'statements'>,
  backup: BackupContents,
  at: string,
): NonNullable<PlanItem['restore']> | Problem {
  const objects = [tableKey(item)];
  const saved = backup.tables.find((table) => tableKey(table) === tableKey(item));
  if (item.node.name !== at)
    return problem('DATA_LOST_NO_BACKUP', `${tableKey(item)}: ${backup.destination}, not on ${item.node.name}`, {
      objects,
    });
  if (!saved || saved.definitionOnly)
    return problem('DATA_LOST_NO_BACKUP', `${tableKey(item)}: the backup has its definition only`, { objects });
  try {
    const names = restoreNames(
      saved.source,
      stagingName(item).table,
      backup.tables.map((table) => table.source),
    );
    return { repository: backup.repository, backup: backup.name, names, counted: saved.counted ?? null };
  } catch (error) {
    if (!(error instanceof RecoveryError)) throw error;
    return problem(error.code, error.message, { objects });
  }
}

/**
 * What the one that goes first finds on its path, and has to remove: whoever joins a path with other registrations, dead
 * ones too, attaches nothing of its own and waits for parts that nobody has.
 */
function leftBehind(
  keeper: KeeperReplicaFacts | null,
  item: Pick<PlanItem, 'authority' | 'action'>,
  healthy: string[],
): string[] | null {
  if (!keeper?.tablePathExists || !item.authority || item.action === 'none' || keeper.activeReplicas.length > 0)
    return null;
  if (keeper.replicas.some((replica) => healthy.includes(replica))) return null;
  return keeper.replicas.filter((replica) => replica !== keeper.replicaName);
}

/** Where a replicated table cannot be brought back in the way that its server allows. */
function refuseItem(item: Omit<PlanItem, 'statements'>, definition: TableDefinition): Problem | null {
  const objects = [tableKey(item)];
  if (item.action === 'none' || item.action === 'needs-operator') return null;
  if (item.method === 'conversion')
    return isOrdinary(definition)
      ? null
      : problem(
          'UNSUPPORTED_SERVER',
          `${tableKey(item)}: the server lacks a statement for SYSTEM RESTORE REPLICA in place, and the conversion needs a database of the engine Ordinary`,
          { objects },
        );
  if (!item.convertible && (item.action === 'restore-from-backup' || item.action === 'rebuild-from-clone'))
    return problem('EXPLICIT_KEEPER_PATH', `${tableKey(item)}: its ZooKeeper path is not the server's default`, {
      objects,
    });
  return null;
}

const isOrdinary = ({ uuid }: TableDefinition) => uuid === '' || uuid.startsWith('00000000-0000-0000');

function authorityOf(
  shard: string,
  drafts: Draft[],
  withParts: Draft[],
  nodes: NodeFacts[],
  input: PlanInput,
): { name: string | null; diverged?: Problem } {
  if (withParts.length === 0) {
    // Nobody has parts: the node whose backup it is goes first, else the first one that restores.
    const restoring = drafts.filter((item) => item.action === 'restore-from-backup');
    const at = input.backups.get(shard)?.node;
    const first = restoring.find((item) => item.node.name === at) ?? restoring[0];
    return { name: (first ?? drafts.find((item) => item.action === 'none'))?.node.name ?? null };
  }
  const lists = input.partLists.get(scopedKey(shard, withParts[0] as TableName));
  // A replica that needs nothing may hold what the others lack: it counts, and may be the one that goes first.
  const candidates = [...withParts, ...drafts.filter((item) => item.replicated && item.action === 'none')];
  const decision = chooseAuthority(
    candidates.map((item) => ({
      replica: item.node.name,
      digest: { ...(item.expected ?? NO_PARTS), digest: item.identity },
      parts: lists?.get(item.node.name) ?? null,
    })),
  );
  if (decision.authority !== null) return { name: decision.authority };
  const objects = decision.difference
    .flatMap(({ replica, onlyThere }) => onlyThere.map((part) => `${replica}: ${part}`))
    .slice(0, 40);
  return {
    name: null,
    diverged: problem(
      'REPLICAS_DIVERGED',
      `${tableKey(withParts[0] as TableName)}: no replica of shard ${shard} has all parts`,
      { objects },
    ),
  };
}
