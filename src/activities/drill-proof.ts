import {
  chrootSeenFrom,
  rootSeenBy,
  separation,
  type ClusterIdentity,
  type KeeperView,
  type ServerIdentity,
} from '../domain/drill-separation.js';
import { inLanes } from '../domain/lanes.js';
import { RecoveryError } from '../domain/errors.js';
import { ServerError, type ClickHouseNode, type ClusterPorts, type Keeper } from '../ports.js';
import { objectDisksOf } from './drill-disks.js';
import * as queries from './queries.js';

/** Reads only, of production and of the target: what `separation` decides from. */

/** Marks a server that a drill has found empty and apart from production: all that is in it from then on is the drill's. */
export const CLAIM_DATABASE = '_recovery_drill';

/** Only disks on which tables may be: backups are read from a place that both sides know. */
const PATHS = `(SELECT groupUniqArray(path) FROM system.disks WHERE name IN (SELECT arrayJoin(disks) FROM system.storage_policies))`;
const HOME = `(SELECT any(path) FROM system.disks WHERE name = 'default')`;
const CLAIMED = `(SELECT count() FROM system.databases WHERE name = '${CLAIM_DATABASE}')`;
const IDENTITY = `SELECT toString(serverUUID()) AS uuid, hostName() AS host, ${PATHS} AS paths, ${HOME} AS home, ${CLAIMED} AS claimed`;
/** Of servers without serverUUID() or system.disks. */
const OLD_IDENTITY = `SELECT '' AS uuid, hostName() AS host, ${CLAIMED} AS claimed`;
const ROOT = `SELECT name, toString(czxid) AS czxid FROM system.zookeeper WHERE path = '/'`;
const TABLE_PATHS = `SELECT DISTINCT zookeeper_path AS path FROM system.replicas ORDER BY path`;

const UNKNOWN_FUNCTION = 46;
const UNKNOWN_TABLE = 60;
const NO_SUCH_PORT = 701;

const NO_UUID = '00000000-0000-0000-0000-000000000000';
const withSlash = (path: string) => (path.endsWith('/') ? path : `${path}/`);

interface IdentityRow {
  uuid: string;
  host: string;
  paths: string[];
  home: string;
  claimed: string;
}

/** Who a server says it is. */
type Said = Pick<ServerIdentity, 'node' | 'uuid' | 'host' | 'paths' | 'home'>;

/** Who answers now. Without what needs a query more and never tells alone. */
export async function whoAnswers(node: ClickHouseNode): Promise<Said & { claimed: boolean }> {
  const row = await identityRow(node);
  return {
    node: node.ref.name,
    uuid: row.uuid === NO_UUID ? '' : row.uuid,
    host: row.host,
    paths: row.paths.map(withSlash).sort(),
    home: row.home === '' ? '' : withSlash(row.home),
    claimed: Number(row.claimed) > 0,
  };
}

async function identityRow(node: ClickHouseNode): Promise<IdentityRow> {
  try {
    const [row] = await node.query<IdentityRow>(IDENTITY);
    if (row) return row;
  } catch (error) {
    if (!(error instanceof ServerError) || ![UNKNOWN_FUNCTION, UNKNOWN_TABLE].includes(error.code)) throw error;
  }
  const [row] = await node.query<Omit<IdentityRow, 'paths' | 'home'>>(OLD_IDENTITY);
  const [data] = await node.query<{ path: string }>(queries.SERVER_PATH);
  if (!row || !data) throw new RecoveryError('DRILL_TARGET_UNSAFE', `node ${node.ref.name} does not say who it is`);
  const home = data.path.replace(/(metadata|store)\/.*$/, '');
  return { ...row, paths: [home], home };
}

async function identityOf(cluster: ClusterPorts, name: string, resolve: Resolve): Promise<ServerIdentity> {
  const node = cluster.node(name);
  const { claimed: _claimed, ...who } = await whoAnswers(node);
  const tcpPort = (await portOf(node, 'tcp_port')) || (await portOf(node, 'tcp_port_secure'));
  // Nothing that could tell it from another server.
  if (who.uuid === '' && tcpPort === '' && who.paths.length === 0)
    throw new RecoveryError('DRILL_TARGET_UNSAFE', `node ${who.node} does not say who it is`, { objects: [who.node] });
  const { host, port } = cluster.endpoint(name);
  const reached = await resolve(host);
  return {
    ...who,
    tcpPort,
    addresses: [...new Set([...reached, ...(await resolve(who.host))])],
    endpoints: reached.map((address) => `${address} ${port}`),
    objectDisks: await objectDisksOf(node),
  };
}

/** Addresses of a host; none where the worker cannot resolve it. */
export type Resolve = (host: string) => Promise<string[]>;

async function portOf(node: ClickHouseNode, name: string): Promise<string> {
  try {
    const [row] = await node.query<{ port: string }>(`SELECT toString(getServerPort('${name}')) AS port`);
    return row?.port ?? '';
  } catch (error) {
    if (error instanceof ServerError && [UNKNOWN_FUNCTION, NO_SUCH_PORT].includes(error.code)) return '';
    throw error;
  }
}

/** Stamps and names of what is directly below the root, but for what every ensemble has, which is made by no transaction. */
async function rootOf(keeper: Keeper): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of (await keeper.children('/')) ?? []) {
    const stamp = madeBy(await keeper.stamp(`/${name}`));
    if (stamp !== null) found.set(name, stamp);
  }
  return found;
}

const czxidOf = (stamp: string) => String((JSON.parse(stamp) as unknown[])[0]);
const madeBy = (stamp: string | null) => (stamp === null || czxidOf(stamp) === '0' ? null : stamp);

async function viewOf(cluster: ClusterPorts, other: ClusterPorts): Promise<KeeperView> {
  const { keeper, keeperChroot } = cluster;
  const there = chrootSeenFrom(keeperChroot, other.keeperChroot);
  return {
    chroot: keeperChroot,
    stamps: [...(await rootOf(keeper)).values()],
    atOtherChroot: there === null ? null : madeBy(await keeper.stamp(there === '' ? '/' : there)),
    root: madeBy(await keeper.stamp('/')),
  };
}

/**
 * That the server's ZooKeeper is the one that recovery.yaml says: `unknown` for servers that cannot be asked (embedded
 * ones have no system.zookeeper).
 */
async function keeperOf(node: ClickHouseNode, keeper: Keeper): Promise<'same' | 'other' | 'unknown'> {
  for (let tries = 0; ; tries++) {
    let rows: { name: string; czxid: string }[];
    try {
      rows = await node.query<{ name: string; czxid: string }>(ROOT);
    } catch (error) {
      if (error instanceof ServerError && error.code === UNKNOWN_TABLE) return 'unknown';
      throw error;
    }
    const ours = [...(await rootOf(keeper))].map(([name, stamp]) => `${name} ${czxidOf(stamp)}`).sort();
    const theirs = rows.filter(({ czxid }) => czxid !== '0').map(({ name, czxid }) => `${name} ${czxid}`);
    if (theirs.sort().join() === ours.join()) return 'same';
    // Something may have been made between the two.
    if (tries === 2) return 'other';
  }
}

/** The servers of the proof, and whether each target server has said which ZooKeeper it uses. */
export interface Proof {
  target: ServerIdentity[];
  keeperKnown: boolean;
  /** Where the target's ZooKeeper root is in production's; null: it is not in it. */
  rootInProduction: string | null;
  /** ZooKeeper paths of production's tables, as production sees them. */
  productionPaths: string[];
}

/** Throws DRILL_TARGET_UNSAFE where the two share something, or where it cannot be told. Reads only. */
export async function prove(
  source: ClusterPorts,
  target: ClusterPorts,
  names: { source: string; target: string },
  resolve: Resolve,
): Promise<Proof> {
  const refuse = (message: string) => new RecoveryError('DRILL_TARGET_UNSAFE', message);
  const ask = async (cluster: ClusterPorts, other: ClusterPorts, name: string): Promise<ClusterIdentity> => ({
    cluster: name,
    servers: await inLanes(cluster.topology.nodes, 8, ({ name: node }) => identityOf(cluster, node, resolve)),
    keeper: await viewOf(cluster, other),
    tablePaths: await tablePaths(cluster),
    ownDisks: cluster.ownDisks,
  });
  const [mine, theirs] = await Promise.all([ask(target, source, names.target), ask(source, target, names.source)]);
  const shared = separation(theirs, mine);
  if (shared) throw new RecoveryError(shared.code, shared.message, { objects: shared.objects });
  const keepers = new Set<string>();
  for (const [cluster, name] of [
    [target, names.target],
    [source, names.source],
  ] as const)
    for (const ref of cluster.topology.nodes) {
      const which = await keeperOf(cluster.node(ref.name), cluster.keeper);
      if (which === 'other')
        throw refuse(`node ${ref.name} of ${name} uses another ZooKeeper, or chroot, than the configuration says`);
      if (cluster === target) keepers.add(which);
      // What it has registered has to be where we look.
      if (cluster === source && which === 'unknown' && !(await hasSomeOf(source.keeper, theirs.tablePaths)))
        throw refuse(`the tables of ${name} are not in the ZooKeeper that the configuration names`);
    }
  return {
    target: mine.servers,
    keeperKnown: !keepers.has('unknown'),
    rootInProduction: rootSeenBy(theirs.keeper, mine.keeper),
    productionPaths: theirs.tablePaths,
  };
}

async function tablePaths(cluster: ClusterPorts): Promise<string[]> {
  const rows = await inLanes(cluster.topology.nodes, 8, (ref) =>
    cluster.node(ref.name).query<{ path: string }>(TABLE_PATHS),
  );
  return [...new Set(rows.flat().map(({ path }) => path))];
}

const LOOKED_FOR = 20;

async function hasSomeOf(keeper: Keeper, paths: string[]): Promise<boolean> {
  if (paths.length === 0) return true;
  for (const path of paths.slice(0, LOOKED_FOR)) if (await keeper.exists(path)) return true;
  return false;
}
