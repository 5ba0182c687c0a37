import type { ClickHouseNode } from '../ports.js';

/** What this process keeps of each node. By the object: two clusters may have nodes of the same name. */
export function perNode<T>(make: () => T): (node: ClickHouseNode) => T {
  const known = new WeakMap<ClickHouseNode, { of: T }>();
  return (node) => {
    const found = known.get(node) ?? { of: make() };
    known.set(node, found);
    return found.of;
  };
}
