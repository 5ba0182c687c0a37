/** Who is in a cluster. No credentials: those stay in the configuration, on the worker. */
export interface NodeRef {
  name: string;
  shard: string;
  replica: string;
}

export interface Topology {
  cluster: string;
  nodes: NodeRef[];
}

export function shardsOf(topology: Topology): Map<string, NodeRef[]> {
  const shards = new Map<string, NodeRef[]>();
  for (const node of topology.nodes) {
    const nodes = shards.get(node.shard);
    if (nodes) nodes.push(node);
    else shards.set(node.shard, [node]);
  }
  return shards;
}
