import { liftFence } from '../activities/fence.js';
import { toProblem } from '../activities/runtime.js';
import type { ClusterPorts } from '../ports.js';
import type { UnfenceReport } from '../service/direct.js';

/** Lifts the fence of every node that can be reached. */
export async function unfenceCluster(cluster: ClusterPorts, name: string): Promise<UnfenceReport> {
  const nodes = await Promise.all(
    cluster.topology.nodes.map(async (ref) => {
      try {
        return { name: ref.name, ok: true, detail: await liftFence(cluster.node(ref.name)) };
      } catch (error) {
        const { code, message } = toProblem(error);
        // Messages of a server begin with the node's name, and so does the line.
        const text = message.startsWith(`${ref.name}: `) ? message.slice(ref.name.length + 2) : message;
        return { name: ref.name, ok: false, detail: `${code}: ${text}` };
      }
    }),
  );
  return { cluster: name, ok: nodes.every((node) => node.ok), nodes };
}
