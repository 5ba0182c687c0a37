import { inLanes } from '../../domain/lanes.js';
import type { ColdHost, KeeperParts, NodeState } from '../../domain/cold.js';
import { replicaComplaint } from '../../domain/cold-plan.js';
import { uncoveredParts } from '../../domain/cold-parts.js';
import { RecoveryError } from '../../domain/errors.js';
import { tableKey } from '../../domain/names.js';
import { ServerError, type ClickHouseNode, type ClusterPorts, type Ports } from '../../ports.js';
import { pack, unpack } from '../packed.js';
import * as queries from '../queries.js';
import { pause, withPatience, type StepContext } from '../runtime.js';

/** For a look at what may well be away. Seconds. */
export const PATIENCE_SECONDS = 5;
const POLL_MS = 500;
const LANES = 16;
/** Differences in one answer. */
const SHOWN = 20;
/** Names of tables and digests do not get smaller than one message for some 30,000 replicas. */
const TOO_MANY = 'one node has more replicated tables than a cold copy can keep account of';

/** Those that answer: which of them have to, the planner knows. */
export async function nodeStates(cluster: ClusterPorts, context: StepContext): Promise<NodeState[]> {
  const states = await inLanes(cluster.topology.nodes, LANES, (ref) =>
    withPatience(PATIENCE_SECONDS, context, () => nodeState(cluster.node(ref.name))).catch((error: unknown) => {
      if (error instanceof ServerError || error instanceof RecoveryError) return null;
      throw error;
    }),
  );
  return states.flatMap((state) => state ?? []);
}

async function nodeState(node: ClickHouseNode): Promise<NodeState> {
  const [about] = await node.query<{ version: string }>(queries.NODE);
  const macros = await node.query<{ macro: string; substitution: string }>(queries.MACROS);
  const replicas = await node.query<Record<'database' | 'table' | 'path' | 'replica', string> & Record<string, number>>(
    queries.REPLICA_LAG,
  );
  return {
    node: node.ref.name,
    version: about?.version ?? '',
    macros: Object.fromEntries(macros.map(({ macro, substitution }) => [macro, substitution])),
    replicas: replicas.map((row) => ({
      ...{ table: tableKey(row), path: row.path, replica: row.replica },
      ...{ readonly: Number(row['readonly']) === 1, sessionExpired: Number(row['sessionExpired']) === 1 },
      ...{ queue: Number(row['queue']), oldestSeconds: Number(row['oldestSeconds']) },
      ...{ active: Number(row['active']), total: Number(row['total']) },
    })),
  };
}

/**
 * Before anything is stopped: which replicas a node has, and parts that lie there and count no more although no other covers
 * them. A server that starts would take those for live: they are left out of the copy.
 */
export async function coldTables(node: ClickHouseNode): Promise<{ replicas: string; dropped: string[] }> {
  const { replicas } = await nodeState(node);
  const rows = await node.query<{ database: string; table: string; name: string; active: number; path: string }>(
    queries.PARTS_WITH_INACTIVE,
  );
  const tables = new Map<string, typeof rows>();
  for (const row of rows) tables.set(tableKey(row), [...(tables.get(tableKey(row)) ?? []), row]);
  const dropped = [...tables.values()].flatMap((parts) =>
    uncoveredParts(
      parts.filter(({ active }) => Number(active) === 0).map(({ name }) => name),
      parts.filter(({ active }) => Number(active) === 1).map(({ name }) => name),
    ).flatMap((name) => parts.find((part) => part.name === name)?.path ?? []),
  );
  return {
    replicas: await pack(
      replicas.map(({ table, path, replica }) => ({ table, path, replica })),
      TOO_MANY,
    ),
    dropped,
  };
}

/** Asked while no ClickHouse server runs, so that nobody changes it. */
export async function keeperParts(ports: Ports, cluster: string, replicas: string): Promise<string> {
  const { keeper } = ports.cluster(cluster);
  const named = await unpack<Omit<KeeperParts, 'parts' | 'digest'>[]>(replicas);
  const found = await inLanes(named, LANES, async ({ table, path, replica }): Promise<KeeperParts> => {
    const names = (await keeper.children(`${path}/replicas/${replica}/parts`)) ?? [];
    return { table, path, replica, parts: names.length, digest: ports.sha256([...names].sort().join('\n')) };
  });
  return pack(found, TOO_MANY);
}

/** Before any ClickHouse server has started, ZooKeeper lists exactly what it listed when it was copied. */
export async function differsInKeeper(ports: Ports, cluster: string, packed: string): Promise<string[]> {
  const before = await unpack<KeeperParts[]>(packed);
  const now = new Map(
    (await unpack<KeeperParts[]>(await keeperParts(ports, cluster, packed))).map((found) => [found.table, found]),
  );
  return before
    .flatMap(({ table, replica, parts, digest }) => {
      const found = now.get(table);
      return found?.digest === digest
        ? []
        : [`${table} of ${replica}: ZooKeeper listed ${parts} parts, lists ${found?.parts ?? 0} that are not the same`];
    })
    .slice(0, SHOWN);
}

/** Waits until a node answers and all of its replicas are writable and have their peers. */
export async function awaitNode(cluster: ClusterPorts, node: ClickHouseNode, context: StepContext): Promise<void> {
  const deadline = performance.now() + cluster.policy.unavailableDeadlineSeconds * 1000;
  for (;;) {
    let why: string | null;
    try {
      const { replicas } = await nodeState(node);
      why = replicas.map(replicaComplaint).find((complaint) => complaint !== null) ?? null;
      if (why === null) return;
    } catch (error) {
      if (!(error instanceof ServerError || error instanceof RecoveryError)) throw error;
      why = error.message;
    }
    if (performance.now() > deadline)
      throw new RecoveryError('COLD_VALIDATION_FAILED', `${node.ref.name}: ${why}`, { objects: [node.ref.name] });
    await pause(POLL_MS, context.signal);
    context.assertFresh();
  }
}

/** Whether a service that no agent speaks for runs: somebody may have started it by hand. */
export async function isServing(cluster: ClusterPorts, { name, role }: ColdHost): Promise<boolean> {
  try {
    if (role === 'keeper') await cluster.keeper.exists('/');
    else await cluster.node(name).query(queries.NODE, { timeoutMs: 5_000 });
    return true;
  } catch (error) {
    if (error instanceof ServerError || error instanceof RecoveryError) return false;
    throw error;
  }
}
