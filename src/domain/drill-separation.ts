import { problem, type Problem } from './errors.js';

/**
 * The proof that a drill cannot touch production: what the servers and the ensembles say of themselves, not what
 * recovery.yaml says of them. Two names of one server, or a chroot that the servers do not have, show here only.
 */

/** One server, as it answers itself. */
export interface ServerIdentity {
  /** Name in recovery.yaml. */
  node: string;
  /** Of its data folder. '' where it has none: old servers, embedded nodes. */
  uuid: string;
  host: string;
  /** '' where it listens to none. */
  tcpPort: string;
  /** Folders that tables may be in, each ending in `/`. */
  paths: string[];
}

/** What a cluster's ZooKeeper looks like from where it stands. */
export interface KeeperView {
  /** '' or such as `/scratch`. */
  chroot: string;
  /** Stamps of its root and of what is directly below, but for what every ensemble has. */
  stamps: string[];
  /** Stamp of what is here where the other cluster's root would be; null: nothing, or that root has no stamp. */
  atOtherChroot: string | null;
  /** Stamp of the root itself; null for that of an ensemble, which all have alike. */
  root: string | null;
}

export interface ClusterIdentity {
  cluster: string;
  servers: ServerIdentity[];
  keeper: KeeperView;
  /** ZooKeeper paths of its replicated tables. */
  tablePaths: string[];
}

/** Null: they are apart. Otherwise what they share, as `DRILL_TARGET_UNSAFE`. */
export function separation(source: ClusterIdentity, target: ClusterIdentity): Problem | null {
  for (const mine of target.servers)
    for (const other of source.servers) {
      if (isSameServer(mine, other))
        return unsafe(
          `node ${mine.node} of ${target.cluster} is the server of node ${other.node} of ${source.cluster}`,
          [mine.node, other.node],
        );
      const path = sharedPath(mine, other);
      if (path !== null)
        return unsafe(
          `node ${mine.node} of ${target.cluster} and node ${other.node} of ${source.cluster} keep tables in ${path} of ${mine.host}`,
          [mine.node, other.node],
        );
    }
  return keepersApart(source, target);
}

/** Whether these are one server. A UUID decides where both have one: it is a file in the data folder. */
export function isSameServer(a: ServerIdentity, b: ServerIdentity): boolean {
  if (a.uuid !== '' && b.uuid !== '') return a.uuid === b.uuid;
  return a.host === b.host && a.tcpPort !== '' && a.tcpPort === b.tcpPort;
}

function sharedPath(a: ServerIdentity, b: ServerIdentity): string | null {
  if (a.host !== b.host) return null;
  const inside = (path: string) => b.paths.some((other) => path.startsWith(other) || other.startsWith(path));
  return a.paths.find(inside) ?? null;
}

function keepersApart(source: ClusterIdentity, target: ClusterIdentity): Problem | null {
  const shared = `${target.cluster} has the ZooKeeper paths of ${source.cluster}`;
  const theirs = new Set(source.keeper.stamps);
  if (target.keeper.stamps.some((stamp) => theirs.has(stamp))) return unsafe(shared);
  if (source.keeper.root !== null && target.keeper.atOtherChroot === source.keeper.root)
    return unsafe(`${shared} below its own root`);
  const root = rootSeenBy(source.keeper, target.keeper);
  const reached = source.tablePaths.find((path) => root !== null && `${path}/`.startsWith(`${root}/`));
  if (reached !== undefined)
    return unsafe(`a table of ${source.cluster} has the ZooKeeper path ${reached}, where ${target.cluster} is`);
  return null;
}

/** Where a cluster's ZooKeeper root is, as seen from another's: '' is that one's own root; null: nowhere in it. */
export function rootSeenBy(from: KeeperView, to: KeeperView): string | null {
  return to.root !== null && from.atOtherChroot === to.root ? chrootSeenFrom(from.chroot, to.chroot) : null;
}

/** The path that a chroot has below another one, were they in one ensemble; null: it is not below. */
export function chrootSeenFrom(own: string, other: string): string | null {
  return `${other}/`.startsWith(`${own}/`) ? other.slice(own.length) : null;
}

function unsafe(message: string, objects?: string[]): Problem {
  return problem('DRILL_TARGET_UNSAFE', message, objects ? { objects } : {});
}
