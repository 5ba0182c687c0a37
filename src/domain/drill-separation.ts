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
  /** That of them which also holds the file with the UUID; '' where the server does not say. */
  home: string;
  /** What its own name, and the host of its URL, resolve to on the worker. */
  addresses: string[];
  /** `address:port` that its URL leads to, one for each address. */
  endpoints: string[];
  /** Those that tables may be on, and that are written to. */
  objectDisks: ObjectDisk[];
}

/** Of `system.disks`, which says neither endpoint nor bucket; other tables do where there was something to write of. */
export interface ObjectDisk {
  name: string;
  /** Such as `s3`; two kinds are two places. */
  kind: string;
  /** What all of its keys begin with; null: the server does not tell. */
  prefix: string | null;
  bucket: string | null;
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
  /** Object storage disks that recovery.yaml says are no others', since the servers cannot tell. */
  ownDisks: string[];
}

/** Null: they are apart. Otherwise what they share, as `DRILL_TARGET_UNSAFE`. */
export function separation(source: ClusterIdentity, target: ClusterIdentity): Problem | null {
  for (const mine of target.servers)
    for (const other of source.servers) {
      const endpoint = mine.endpoints.find((each) => other.endpoints.includes(each));
      if (endpoint !== undefined)
        return unsafe(
          `the URLs of node ${mine.node} of ${target.cluster} and of node ${other.node} of ${source.cluster} lead to one address, ${endpoint}`,
          [mine.node, other.node],
        );
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
      const disks = sharedDisk(mine, other, target.ownDisks);
      if (disks !== null)
        return unsafe(
          `${disks}, of node ${mine.node} of ${target.cluster} and node ${other.node} of ${source.cluster}`,
          [mine.node, other.node],
        );
    }
  return keepersApart(source, target);
}

/** Whether these are one server. A UUID decides where both have one: it is a file in the data folder. */
export function isSameServer(a: ServerIdentity, b: ServerIdentity): boolean {
  if (a.uuid !== '' && b.uuid !== '') return a.uuid === b.uuid;
  return isSameMachine(a, b) && a.tcpPort !== '' && a.tcpPort === b.tcpPort;
}

/** By its name, or by what that and its URL resolve to: a short name and a full one are one machine. */
function isSameMachine(a: ServerIdentity, b: ServerIdentity): boolean {
  return a.host === b.host || a.addresses.some((address) => b.addresses.includes(address));
}

function sharedPath(a: ServerIdentity, b: ServerIdentity): string | null {
  if (!isSameMachine(a, b)) return null;
  // Two containers behind one address: two UUIDs in one path are two file systems.
  if (a.host !== b.host && a.home !== '' && a.home === b.home && a.uuid !== '' && b.uuid !== '') return null;
  const inside = (path: string) => b.paths.some((other) => path.startsWith(other) || other.startsWith(path));
  return a.paths.find(inside) ?? null;
}

/** Keys that do not begin alike are apart in any bucket; those that do only in two buckets. */
function sharedDisk(a: ServerIdentity, b: ServerIdentity, own: readonly string[]): string | null {
  for (const mine of a.objectDisks)
    for (const other of b.objectDisks) {
      // One that keeps its objects in a folder is no place that two machines have.
      if (mine.kind !== other.kind || (mine.kind === 'local' && !isSameMachine(a, b))) continue;
      const known = mine.prefix !== null && other.prefix !== null;
      const isNested = known && isBelow(mine.prefix, other.prefix);
      if (known && !isNested) continue;
      const buckets = mine.bucket !== null && other.bucket !== null;
      if (buckets && mine.bucket !== other.bucket) continue;
      const names = `the disk ${mine.name} and the disk ${other.name}`;
      if (isNested && buckets) return `${names} are at ${mine.bucket ?? ''}/${mine.prefix ?? ''}`;
      if (!own.includes(mine.name)) return `nobody can tell ${names} apart, which are both ${mine.kind}`;
    }
  return null;
}

function isBelow(a: string | null, b: string | null): boolean {
  return a !== null && b !== null && (a.startsWith(b) || b.startsWith(a));
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
