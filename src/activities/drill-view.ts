import { drillView, parseDrillView } from '../domain/drill.js';
import { leftOutOf } from '../domain/drill-left-out.js';
import type { ServerIdentity } from '../domain/drill-separation.js';
import { RecoveryError } from '../domain/errors.js';
import { quote } from '../domain/names.js';
import type { ClickHouseNode, ClusterPorts, Ports } from '../ports.js';
import { CLAIM_DATABASE, prove, whoAnswers, type Proof, type Resolve } from './drill-proof.js';

/** A proof is this old at most when a statement is sent. In milliseconds. */
const PROOF_MS = 60_000;

export const CLAIM = `CREATE DATABASE IF NOT EXISTS ${quote(CLAIM_DATABASE)} ENGINE = Atomic`;

/**
 * The scratch target with the backups of the source, as a cluster like any other: `recoverCluster` recovers it, with the
 * same activities. No statement but a read passes before it is proved, and no older than a minute, that the target is
 * apart from production, and before the server itself has said again who it is and that the drill has claimed it.
 */
export interface DrillView {
  cluster: ClusterPorts;
  /** Anew. Throws DRILL_TARGET_UNSAFE. */
  prove(): Promise<Proof>;
  /**
   * For clean-up only: what a drill has claimed was proved then, so it may be emptied also while the source, where an
   * incident may have begun, does not answer.
   */
  forCleanUp(node: string): ClickHouseNode;
}

export interface DrillPorts extends Ports {
  /** Throws DRILL_NOT_CONFIGURED where recovery.yaml has no such drill. */
  drillView(name: string): DrillView;
}

/** The ports, with a cluster `source@target` for each drill of recovery.yaml. */
export function withDrillViews(ports: Ports): DrillPorts {
  const views = new Map<string, DrillView>();
  const view = (name: string): DrillView => {
    let found = views.get(name);
    if (!found) views.set(name, (found = createView(ports, name)));
    return found;
  };
  return {
    ...ports,
    drillView: view,
    cluster: (name) => (parseDrillView(name) ? view(name).cluster : ports.cluster(name)),
    clusterNames: () => [
      ...ports.clusterNames(),
      ...ports.clusterNames().flatMap((name) => {
        const { drill } = ports.cluster(name);
        return drill ? [drillView(name, drill.target)] : [];
      }),
    ],
  };
}

function createView(ports: Ports, name: string): DrillView {
  const names = parseDrillView(name) ?? { source: name, target: '' };
  const source = ports.cluster(names.source);
  if (source.drill?.target !== names.target || !ports.cluster(names.target).scratch)
    throw new RecoveryError('DRILL_NOT_CONFIGURED', `there is no drill of ${names.source} into ${names.target}`);
  const target = ports.cluster(names.target);
  const guard = new Guard(source, target, names, ports.resolve);
  const shards = new Set(source.topology.nodes.map(({ shard }) => shard));
  const build = (isCleanUp: boolean) =>
    new Map(
      target.topology.nodes
        .filter(({ shard }) => shards.has(shard))
        .map((ref) => {
          // Production may have a node of this name: neither people nor what is remembered of a node may take one for the other.
          const shown = { ...ref, name: `${names.target}/${ref.name}` };
          return [shown.name, guard.around(target.node(ref.name), shown, isCleanUp)] as const;
        }),
    );
  const [nodes, cleaners] = [build(false), build(true)];
  const of = (from: Map<string, ClickHouseNode>) => (node: string) => {
    const found = from.get(node);
    if (!found) throw new RecoveryError('INTERNAL', `the target of the drill has no node ${node.slice(0, 206)}`);
    return found;
  };
  return {
    prove: () => guard.prove(),
    forCleanUp: of(cleaners),
    cluster: {
      // What the manifests of its backups say.
      topology: { cluster: names.source, nodes: [...nodes.values()].map(({ ref }) => ref) },
      policy: { ...target.policy, approval: 'auto', keepAside: false, onFailure: 'unfence' },
      node: of(nodes),
      keeper: {
        ...target.keeper,
        deleteStale: async (path, kind) => {
          await guard.fresh();
          await target.keeper.deleteStale(path, kind);
        },
      },
      pace: target.pace,
      keeperChroot: target.keeperChroot,
      // Another kind of backup is restored by a program beside production's nodes.
      repositories: source.repositories.filter(({ kind }) => kind === 'native'),
      endpoint: (node) => target.endpoint(node.slice(`${names.target}/`.length)),
      scratch: true,
      ownDisks: target.ownDisks,
      drill: null,
      leaveOut: async (backup, { node, macros }) => {
        const { target: servers, rootInProduction, productionPaths } = await guard.fresh();
        const known = await of(nodes)(node.name).query<KnownHost>(KNOWN_HOSTS);
        const inside = { macros, clusters: foreignHosts(known, servers), rootInProduction, productionPaths };
        return leftOutOf(backup, inside).map((each) => ({ ...each, shard: node.shard }));
      },
      cold: null,
    },
  };
}

/** `local`: the server itself. What it would be sent to elsewhere is the target's, or not. */
interface KnownHost {
  cluster: string;
  host: string;
  address: string;
  port: string;
  local: string;
}
const KNOWN_HOSTS = `SELECT cluster, host_name AS host, host_address AS address, toString(port) AS port, toString(is_local) AS local FROM system.clusters`;

function foreignHosts(known: KnownHost[], servers: ServerIdentity[]): Map<string, string[]> {
  const own = new Set(
    servers.flatMap(({ host, addresses, tcpPort }) =>
      tcpPort === '' ? [] : [host, ...addresses].map((each) => `${each}:${tcpPort}`),
    ),
  );
  const clusters = new Map<string, string[]>();
  for (const { cluster, host, address, port, local } of known) {
    const foreign = clusters.get(cluster) ?? [];
    clusters.set(cluster, foreign);
    const isOwn = local === '1' || own.has(`${host}:${port}`) || own.has(`${address}:${port}`);
    if (!isOwn) foreign.push(`${host}:${port}`);
  }
  return clusters;
}

const AWAY = ['NODE_UNAVAILABLE', 'KEEPER_UNAVAILABLE'];

class Guard {
  private proved: { at: number; proof: Promise<Proof> } | null = null;

  constructor(
    private readonly source: ClusterPorts,
    private readonly target: ClusterPorts,
    private readonly names: { source: string; target: string },
    private readonly resolve: Resolve,
  ) {}

  prove(): Promise<Proof> {
    const proof = prove(this.source, this.target, this.names, this.resolve);
    this.proved = { at: performance.now(), proof };
    proof.catch(() => (this.proved = null));
    return proof;
  }

  fresh(): Promise<Proof> {
    const { proved } = this;
    return proved && performance.now() - proved.at < PROOF_MS ? proved.proof : this.prove();
  }

  around(node: ClickHouseNode, ref: ClickHouseNode['ref'], isCleanUp: boolean): ClickHouseNode {
    return {
      ref,
      query: (sql, options) => node.query(sql, options),
      execute: async (sql, options) => {
        // Parsed, not run.
        if (!sql.startsWith('EXPLAIN ')) await this.check(node, sql, isCleanUp);
        await node.execute(sql, options);
      },
    };
  }

  private async check(node: ClickHouseNode, sql: string, isCleanUp: boolean): Promise<void> {
    const proof = await this.fresh().catch((error: unknown) => {
      if (isCleanUp && error instanceof RecoveryError && AWAY.includes(error.code)) return null;
      throw error;
    });
    const now = await whoAnswers(node);
    const before = proof?.target.find((each) => each.node === node.ref.name);
    if (proof && (!before || !isSame(now, before)))
      throw unsafe(`node ${node.ref.name} of ${this.names.target} is another server than a moment ago`);
    if (!now.claimed && sql !== CLAIM)
      throw unsafe(`node ${node.ref.name} of ${this.names.target} was not claimed by a drill`);
  }
}

type Told = Pick<ServerIdentity, 'uuid' | 'host' | 'paths'>;

function isSame(a: Told, b: Told): boolean {
  return a.uuid === b.uuid && a.host === b.host && a.paths.join() === b.paths.join();
}

function unsafe(message: string): RecoveryError {
  return new RecoveryError('DRILL_TARGET_UNSAFE', message);
}
