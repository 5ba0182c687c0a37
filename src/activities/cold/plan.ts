import type {
  ColdBackupRequest,
  ColdHost,
  ColdPlan,
  ColdRestoreRequest,
  FoundCopy,
  HostFacts,
  NodeState,
} from '../../domain/cold.js';
import { coldPlanIdentity, planColdBackup, planColdRestore } from '../../domain/cold-plan.js';
import { RecoveryError } from '../../domain/errors.js';
import { workOf } from '../../domain/plan.js';
import type { Policy } from '../../domain/policy.js';
import type { NodeRef } from '../../domain/topology.js';
import { ServerError, type Ports } from '../../ports.js';
import { planRecovery } from '../plan-recovery.js';
import { withPatience, type StepContext } from '../runtime.js';
import { nodeStates, PATIENCE_SECONDS } from './observe.js';

export interface ColdSettings {
  policy: Policy;
  nodes: NodeRef[];
  hosts: ColdHost[];
  agentTimeoutSeconds: number;
  searchAttributes: boolean;
}

export function coldSettings(ports: Ports, cluster: string): ColdSettings {
  const { topology, cold, policy } = ports.cluster(cluster);
  const field = `clusters.${cluster}.cold`;
  if (!cold)
    throw new RecoveryError('CONFIG_INVALID', `${field} is missing: it names the agents of the ZooKeeper servers`, {
      field,
    });
  return {
    policy,
    nodes: topology.nodes,
    hosts: [
      ...topology.nodes.map(({ name }): ColdHost => ({ name, role: 'clickhouse' })),
      ...Object.keys(cold.keepers).map((name): ColdHost => ({ name, role: 'keeper' })),
    ],
    agentTimeoutSeconds: cold.agentTimeoutSeconds,
    searchAttributes: ports.searchAttributes,
  };
}

export async function planBackup(
  ports: Ports,
  input: { request: ColdBackupRequest; generation: string; facts: HostFacts[] },
  context: StepContext,
): Promise<{ plan: ColdPlan; versions: Pick<NodeState, 'node' | 'version' | 'macros'>[] }> {
  const cluster = ports.cluster(input.request.cluster);
  const nodes = await nodeStates(cluster, context);
  const plan = planColdBackup({
    ...{ cluster: input.request.cluster, generation: input.generation, facts: input.facts, nodes },
    hosts: coldSettings(ports, input.request.cluster).hosts,
    topology: cluster.topology.nodes,
    chroot: cluster.cold?.chroot ?? false,
  });
  return {
    plan: { ...plan, hash: ports.sha256(coldPlanIdentity(plan, null)) },
    versions: nodes.map(({ node, version, macros }) => ({ node, version, macros })),
  };
}

export async function planRestore(
  ports: Ports,
  input: { request: ColdRestoreRequest; generation: string; facts: HostFacts[]; found: FoundCopy[] },
  context: StepContext,
): Promise<ColdPlan> {
  const { request, generation, facts, found } = input;
  const cluster = ports.cluster(request.cluster);
  const nodes = await nodeStates(cluster, context);
  const observed = {
    ...{ cluster: request.cluster, generation, facts, found, nodes },
    hosts: coldSettings(ports, request.cluster).hosts,
    topology: cluster.topology.nodes,
  };
  const alone = planColdRestore({ ...observed, recovery: null });
  // It may wait for sessions to expire: not for a plan that is refused anyway.
  const plan =
    alone.refusals.length > 0
      ? alone
      : planColdRestore({ ...observed, recovery: await recoveryInstead(ports, request.cluster, context) });
  return { ...plan, hash: ports.sha256(coldPlanIdentity(plan, found[0]?.manifest ?? null)) };
}

/** What `ch-recover start` would do about the cluster; null: nothing, not all, or it cannot be asked. */
async function recoveryInstead(ports: Ports, cluster: string, context: StepContext) {
  const command = `ch-recover start --cluster ${cluster}`;
  try {
    const plan = await withPatience(PATIENCE_SECONDS, context, () => planRecovery(ports, { cluster }, context));
    const work = workOf(plan);
    if (plan.refusals.length > 0 || work.length === 0) return null;
    if (plan.items.some(({ action, situation }) => action === 'needs-operator' || situation === 'data-lost'))
      return null;
    const situations: Record<string, number> = {};
    for (const { situation } of work) situations[situation] = (situations[situation] ?? 0) + 1;
    return { command, situations };
  } catch (error) {
    if (error instanceof ServerError || error instanceof RecoveryError) return null;
    throw error;
  }
}
