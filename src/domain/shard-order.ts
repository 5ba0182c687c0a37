import { chooseAuthority } from './authority.js';
import { restoreNames } from './clickhouse-backup-names.js';
import type { PlaceOrder } from './cold-place.js';
import { problem, RecoveryError, type Problem } from './errors.js';
import { NO_PARTS, type KeeperReplicaFacts, type NodeFacts, type TableDefinition } from './inventory.js';
import type { BackupContents, ManifestTable } from './manifest.js';
import { tableKey, type TableName } from './names.js';
import { NOT_REBUILT, type PlanItem } from './plan.js';
import { scopedKey, type Draft, type PlanInput } from './plan-input.js';
import { isOrdinary, rebuildRefusal, statementsOf } from './plan-statements.js';
import { stagingName } from './statements.js';
import { tableIn } from './table-index.js';

/**
 * Among the replicas of a shard: who goes first with a table, what the others do then, and who does nothing. Writes each
 * item's statements.
 */
export function finishShardTable(
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
  const healthy = drafts.flatMap((item) =>
    item.keeper && (item.action === 'none' || isBeside(item, nodes)) ? [item.keeper.replicaName] : [],
  );
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
      named: _named,
      ...rest
    } = authority.diverged && withParts.includes(item)
      ? { ...item, situation: 'diverged' as const, action: 'needs-operator' as const, problem: authority.diverged }
      : item;
    const decided: Omit<PlanItem, 'statements'> = {
      ...rest,
      authority: item === first,
      rebuildRefusal: node ? rebuildRefusal(definition, node) : null,
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
      if ('host' in order) decided.place = order;
      else decided.restore = order;
    }
    const refusal = item.replicated ? refuseItem(decided, definition) : null;
    if (refusal) return refused(refusal);
    if (decided.action === 'restore-replica' && decided.rebuildRefusal === 'EXPLICIT_KEEPER_PATH')
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

/** An unfinished recovery has made its replica beside it, which is ours and lives. */
function isBeside({ node, keeperPath }: Draft, nodes: NodeFacts[]): boolean {
  if (!keeperPath) return false;
  const path = `${keeperPath.tablePath}/replicas/${keeperPath.replicaName}`;
  return nodes.some((facts) => facts.node.name === node.name && facts.beside.includes(path));
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

const sources = new WeakMap<readonly ManifestTable[], TableName[]>();

/** One list a backup, so that what is known of it is found out once. */
function sourcesOf(tables: readonly ManifestTable[]): TableName[] {
  const found = sources.get(tables) ?? tables.map((table) => table.source);
  sources.set(tables, found);
  return found;
}

/** How clickhouse-backup or an agent, which are beside one node only, are to restore the table; a problem where they cannot. */
function restoreOrder(
  item: Omit<PlanItem, 'statements'>,
  backup: BackupContents,
  at: string,
): NonNullable<PlanItem['restore']> | PlaceOrder | Problem {
  const objects = [tableKey(item)];
  const saved = tableIn(backup.tables, item);
  if (item.node.name !== at)
    return problem('DATA_LOST_NO_BACKUP', `${tableKey(item)}: ${backup.destination}, not on ${item.node.name}`, {
      objects,
    });
  if (!saved || saved.definitionOnly)
    return problem('DATA_LOST_NO_BACKUP', `${tableKey(item)}: the backup has its definition only`, { objects });
  if (backup.cold)
    return saved.counted
      ? { host: at, generation: backup.name, manifest: backup.cold.manifest, counted: saved.counted }
      : problem('DATA_LOST_NO_BACKUP', `${tableKey(item)}: ${backup.destination} has no folder of its parts`, {
          objects,
        });
  try {
    const names = restoreNames(saved.source, stagingName(item).table, sourcesOf(backup.tables));
    return { repository: backup.repository, backup: backup.name, names, counted: saved.counted ?? null };
  } catch (error) {
    if (!(error instanceof RecoveryError)) throw error;
    return problem(error.code, error.message, { objects });
  }
}

/**
 * Whom the one that goes first removes from its path: whoever joins a path with other registrations, dead ones too,
 * attaches nothing of its own and waits for parts that nobody has. Null: somebody lives there, or it does not go first.
 */
function leftBehind(
  keeper: KeeperReplicaFacts | null,
  item: Pick<PlanItem, 'authority' | 'action'>,
  healthy: string[],
): string[] | null {
  if (!keeper || !item.authority || item.action === 'none') return null;
  const others = keeper.replicas.filter((replica) => replica !== keeper.replicaName);
  return others.some((replica) => keeper.activeReplicas.includes(replica) || healthy.includes(replica)) ? null : others;
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
          `${tableKey(item)}: the server does not know SYSTEM RESTORE REPLICA, and the conversion needs a database of the engine Ordinary`,
          { objects },
        );
  if (item.rebuildRefusal !== null && (item.action === 'restore-from-backup' || item.action === 'rebuild-from-clone'))
    return problem(item.rebuildRefusal, `${tableKey(item)}: ${NOT_REBUILT[item.rebuildRefusal]}`, { objects });
  return null;
}

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
    const living = drafts.find((item) => item.replicated && item.action === 'none');
    const first = living ?? restoring.find((item) => item.node.name === at) ?? restoring[0];
    return { name: (first ?? drafts.find((item) => item.action === 'none'))?.node.name ?? null };
  }
  // An unfinished recovery has registered its first replica beside the table, which has all rows: it stays the first.
  const begun = withParts
    .filter((item) => isBeside(item, nodes))
    .sort((a, b) => (b.expected?.rows ?? 0) - (a.expected?.rows ?? 0));
  if (begun[0]) return { name: begun[0].node.name };
  // Where one lives and another lost its registration, the living one may have been registered anew since.
  const living = drafts.filter((item) => item.replicated && item.action === 'none' && item.keeper?.replicaPathExists);
  const sameBlocks = living.length === 0 || withParts.every((item) => item.keeper?.replicaPathExists);
  // Without hashes a part is known by its name.
  const isMixed = withParts.some((item) => !item.named || (!sameBlocks && item.method === 'conversion'));
  const lists = input.partLists.get(scopedKey(shard, withParts[0] as TableName));
  // A replica that needs nothing may hold what the others lack: it counts, and may be the one that goes first.
  const candidates = [...withParts, ...drafts.filter((item) => item.replicated && item.action === 'none')];
  const decision = chooseAuthority(
    candidates.map((item) => ({
      replica: item.node.name,
      // Where names of parts do not compare, only equal ones are known to be equal.
      digest: isMixed ? (item.expected ?? NO_PARTS) : { ...(item.expected ?? NO_PARTS), digest: item.identity },
      parts: isMixed ? null : (lists?.get(item.node.name) ?? null),
    })),
    sameBlocks,
  );
  // A replica that is registered and well is written to: whoever joins it takes what it has, and never goes first.
  const chosen = living.find((item) => item.node.name === decision.authority) ?? living[0];
  if (decision.authority !== null && (!chosen || chosen.node.name === decision.authority || decision.equal))
    return { name: chosen?.node.name ?? decision.authority };
  const difference = decision.authority === null ? decision.difference : [];
  const objects = difference
    .flatMap(({ replica, onlyThere }) => onlyThere.map((part) => `${replica}: ${part}`))
    .slice(0, 40);
  return {
    name: null,
    diverged: problem(
      'REPLICAS_DIVERGED',
      decision.authority === null
        ? `${tableKey(withParts[0] as TableName)}: no replica of shard ${shard} has all parts`
        : `${tableKey(withParts[0] as TableName)}: ${decision.authority}, which lost its metadata, has parts that its living peer lacks`,
      { objects },
    ),
  };
}
