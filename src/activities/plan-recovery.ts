import { inLanes } from '../domain/lanes.js';
import { RecoveryError } from '../domain/errors.js';
import type { KeeperReplicaFacts, NodeFacts, TableFacts } from '../domain/inventory.js';
import type { PartRef } from '../domain/authority.js';
import type { LeftOut } from '../domain/drill-left-out.js';
import type { BackupContents } from '../domain/manifest.js';
import { tableKey, type TableName } from '../domain/names.js';
import type { Plan } from '../domain/plan.js';
import { scopedKey } from '../domain/plan-input.js';
import { absentKeeper, makePlan } from '../domain/planner.js';
import type { RecoveryRequest } from '../domain/request.js';
import { entryFor } from '../domain/table-index.js';
import { shardsOf } from '../domain/topology.js';
import type { ClusterPorts, Ports } from '../ports.js';
import { capabilitiesOf } from './capabilities.js';
import { inspectClickHouseBackup } from './clickhouse-backup.js';
import { coldRepository, inspectCopies } from './inspect-copies.js';
import { inspectBackup, resolveBackup } from './inspect-backup.js';
import { keeperFacts, observeNode } from './observe-node.js';
import * as queries from './queries.js';
import { detachedContext, pause, type StepContext } from './runtime.js';

/** Looks at every node, the Keeper and the backup, and plans. Reads only, but for mounting the backup. */
export async function planRecovery(
  ports: Ports,
  request: RecoveryRequest,
  context: StepContext = detachedContext(),
  /** Of a cold copy, for each shard, as its agent packed it: a worker cannot read it. */
  copies: readonly string[] | null = null,
): Promise<Plan> {
  const cluster = ports.cluster(request.cluster);
  // An unreachable ensemble is not a lost one: find out before anything is compared with it.
  await cluster.keeper.exists('/');
  let backups: Map<string, BackupContents> | null = null;
  let leftOut: LeftOut[] = [];
  const startedAt = performance.now();
  const { sessionTimeoutSeconds } = cluster.policy;
  for (;;) {
    const observed = await inLanes(cluster.topology.nodes, 8, (ref) => observeNode(cluster, ref, ports.sha256));
    const own = new Set(observed.flatMap((node) => node.beside));
    const nodes = observed.map((node) => ({ ...node, tables: node.tables.map((table) => withoutOwn(table, own)) }));
    if (backups === null) {
      const whole =
        request.backup === undefined
          ? new Map<string, BackupContents>()
          : await inspectBackups(ports, cluster, { ref: request.backup, copies }, nodes);
      leftOut = await leftOutOf(cluster, whole, nodes);
      backups = without(whole, leftOut);
    }
    const partLists = await fetchPartLists(cluster, nodes);
    const absentPaths = new Map(
      [...(await fetchAbsentPaths(cluster, nodes, backups))].map(([key, facts]) => [key, notOwn(facts, own)]),
    );
    const made = makePlan({ request, nodes, backups, partLists, absentPaths, keepAside: cluster.policy.keepAside });
    const plan = cluster.leaveOut ? { ...made, leftOut } : made;
    // A server that lost its own session looks for the next every 10 s or so, whatever the time-out.
    const patience = Math.max(sessionTimeoutSeconds, isReconnecting(nodes) ? MIN_RECONNECT_SECONDS : 0);
    const isPast = performance.now() - startedAt > patience * 1000;
    if (isPast || !(isReconnecting(nodes) || plan.items.some((item) => item.problem?.code === 'REPLICA_ACTIVE')))
      return { ...plan, hash: ports.sha256(JSON.stringify(plan)) };
    context.progress({ waiting: 'for sessions in ZooKeeper to expire' });
    await pause(POLL_MS, context.signal);
    context.assertFresh();
  }
}

/** Once a shard: what one of its nodes must not have is not restored on the others either. */
async function leftOutOf(
  cluster: ClusterPorts,
  backups: Map<string, BackupContents>,
  nodes: NodeFacts[],
): Promise<LeftOut[]> {
  const found = new Map<string, LeftOut>();
  for (const node of nodes) {
    const backup = backups.get(node.node.shard);
    if (!cluster.leaveOut || !backup) continue;
    for (const each of await cluster.leaveOut(backup, node)) {
      const key = scopedKey(each.shard, each);
      if (!found.has(key)) found.set(key, each);
    }
  }
  return [...found.values()];
}

function without(backups: Map<string, BackupContents>, leftOut: LeftOut[]): Map<string, BackupContents> {
  const keys = new Set(leftOut.map((each) => scopedKey(each.shard, each)));
  return new Map(
    [...backups].map(([shard, backup]) => [
      shard,
      { ...backup, tables: backup.tables.filter((table) => !keys.has(scopedKey(shard, table))) },
    ]),
  );
}

/** What an unfinished recovery registered beside a table is no other server. */
function notOwn(facts: KeeperReplicaFacts, own: ReadonlySet<string>): KeeperReplicaFacts {
  const activeReplicas = facts.activeReplicas.filter((name) => !own.has(`${facts.tablePath}/replicas/${name}`));
  return { ...facts, activeReplicas };
}

const withoutOwn = (table: TableFacts, own: ReadonlySet<string>): TableFacts =>
  table.keeper ? { ...table, keeper: notOwn(table.keeper, own) } : table;

const POLL_MS = 1_000;

/**
 * Sessions take their time: that of a server that was killed outlives it, and its replica looks alive; a server that
 * lost its own is read-only until it has the next, though nothing else is wrong with it.
 */
function isReconnecting(nodes: NodeFacts[]): boolean {
  return nodes.some(
    ({ embedded, tables }) =>
      !embedded && tables.some((table) => table.clone === null && table.readonly && table.keeper?.replicaPathExists),
  );
}

const MIN_RECONNECT_SECONDS = 45;

async function inspectBackups(
  ports: Ports,
  cluster: ClusterPorts,
  { ref, copies }: { ref: string; copies: readonly string[] | null },
  nodes: NodeFacts[],
): Promise<Map<string, BackupContents>> {
  const cold = coldRepository(cluster, ref);
  if (cold !== null) return inspectCopies(cluster, cold, copies);
  const { repository, name } = await resolveBackup(
    cluster,
    ref,
    nodes.map((node) => node.node.name),
  );
  const known = [...new Set(nodes.flatMap((node) => node.databases.map((database) => database.name)))].sort();
  const peers = [
    ...new Map(
      nodes.flatMap((node) => node.tables.map((table) => [tableKey(table.definition), table.definition] as const)),
    ).values(),
  ];
  const contents = new Map<string, BackupContents>();
  for (const shard of shardsOf(cluster.topology).keys()) {
    const members = nodes.filter((node) => node.node.shard === shard);
    const at = members[0];
    if (repository.kind === 'clickhouse-backup')
      contents.set(
        shard,
        await inspectClickHouseBackup(
          cluster,
          repository,
          name,
          members.map((node) => node.node.name),
        ),
      );
    else if (repository.kind === 'native' && at)
      contents.set(shard, await inspectBackup(ports, cluster, repository, name, at, known, peers));
  }
  return contents;
}

/** Part lists leave a node only where the replicas of a shard differ. */
async function fetchPartLists(cluster: ClusterPorts, nodes: NodeFacts[]): Promise<Map<string, Map<string, PartRef[]>>> {
  const lists = new Map<string, Map<string, PartRef[]>>();
  for (const [shard] of shardsOf(cluster.topology)) {
    const members = nodes.filter((node) => node.node.shard === shard);
    if (members.length < 2) continue;
    const tables = new Map<string, TableName>(
      members.flatMap((node) =>
        node.tables
          .filter((table) => table.kind === 'replicated')
          .map((table) => [tableKey(table.definition), table.definition]),
      ),
    );
    for (const name of tables.values()) {
      const having = members.flatMap((node) => {
        const table = entryFor(node.tables, (each) => each.definition, name);
        return table ? [{ node, table }] : [];
      });
      const first = having[0];
      if (!first || having.every((each) => each.table.identity === first.table.identity)) continue;
      const byNode = new Map<string, PartRef[]>();
      for (const { node, table } of having)
        if (table.namedIn) byNode.set(node.node.name, await partList(cluster, node.node.name, table.namedIn));
      lists.set(scopedKey(shard, name), byNode);
    }
  }
  return lists;
}

async function partList(cluster: ClusterPorts, node: string, { database, table }: TableName): Promise<PartRef[]> {
  type Row = Omit<PartRef, 'minBlock' | 'maxBlock' | 'level' | 'rows'> &
    Record<'minBlock' | 'maxBlock' | 'level' | 'rows', string>;
  const at = cluster.node(node);
  const { PART_LIST } = queries.queriesFor(await capabilitiesOf(at));
  const rows = await at.query<Row>(PART_LIST, { params: { database, table }, timeoutMs: 120_000 });
  return rows.map((row) => ({
    ...row,
    minBlock: Number(row.minBlock),
    maxBlock: Number(row.maxBlock),
    level: Number(row.level),
    rows: Number(row.rows),
  }));
}

/** Reads of ZooKeeper under way at once: they are answered in order on one connection. */
const KEEPER_LANES = 32;

/** A lost table may have left its path in Keeper: look at it, by the path in its DDL. */
async function fetchAbsentPaths(
  cluster: ClusterPorts,
  nodes: NodeFacts[],
  backups: Map<string, BackupContents>,
): Promise<Map<string, KeeperReplicaFacts>> {
  const absent = new Map<string, { tablePath: string; replicaName: string }>();
  for (const node of nodes) {
    const here = new Set(node.tables.map((table) => tableKey(table.definition)));
    const saved = backups.get(node.node.shard)?.tables ?? [];
    const peers = nodes
      .filter((peer) => peer.node.shard === node.node.shard)
      .flatMap((peer) => peer.tables.map((table) => table.definition));
    for (const definition of [...saved, ...peers]) {
      if (here.has(tableKey(definition))) continue;
      const where = absentKeeper(definition, node);
      if (where) absent.set(scopedKey(node.node.name, definition), where);
    }
  }
  return new Map(
    await inLanes([...absent], KEEPER_LANES, async ([key, { tablePath, replicaName }]) => [
      key,
      await keeperFacts(cluster.keeper, tablePath, replicaName, async () => []),
    ]),
  );
}

/** Throws the plan's first refusal: callers that must not go on. */
export function refuse(plan: Plan): void {
  const first = plan.refusals[0];
  if (first) throw new RecoveryError(first.code, first.message, { field: first.field, objects: first.objects });
}
