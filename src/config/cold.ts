import { z } from 'zod';
import { RecoveryError } from '../domain/errors.js';
import { checkPathSegment } from '../domain/names.js';

/** Part of a cluster's entry in recovery.yaml. */
export const coldSchema = z.strictObject({
  keepers: z
    .record(z.string(), z.string().min(1).max(300))
    .describe('host:port of every ZooKeeper server, by the name that its agent has'),
  agentTimeoutSeconds: z.int().min(1).max(86_400).describe('for an agent to take a step; default: 60').optional(),
});
export type RawCold = z.infer<typeof coldSchema>;

export interface ColdConfig {
  /** By the names of their agents. */
  keepers: Record<string, string>;
  agentTimeoutSeconds: number;
}

const AGENT_TIMEOUT_SECONDS = 60;

/** Every server of the ensemble has a name: one that is left running would know more than the copies. */
export function checkCold(
  raw: RawCold | undefined,
  hosts: readonly string[],
  nodes: readonly string[],
  field: string,
): ColdConfig | null {
  if (!raw) return null;
  const named = Object.entries(raw.keepers);
  for (const [name, host] of named) {
    try {
      checkPathSegment(name, `${field}.keepers.<name>`);
    } catch (cause) {
      throw cause instanceof RecoveryError ? new RecoveryError('CONFIG_INVALID', cause.message, cause.details) : cause;
    }
    if (nodes.includes(name)) throw invalid(`${field}.keepers.${name}`, 'a node has this name too');
    if (!hosts.includes(host)) throw invalid(`${field}.keepers.${name}`, 'is not in keeper.hosts');
    if (named.some(([other, same]) => other !== name && same === host))
      throw invalid(`${field}.keepers.${name}`, 'another name stands for this server too');
  }
  const left = hosts.find((host) => !named.some(([, each]) => each === host));
  if (left !== undefined) throw invalid(`${field}.keepers`, `${left} of keeper.hosts has no name`);
  return { keepers: raw.keepers, agentTimeoutSeconds: raw.agentTimeoutSeconds ?? AGENT_TIMEOUT_SECONDS };
}

function invalid(field: string, complaint: string): RecoveryError {
  return new RecoveryError('CONFIG_INVALID', `${field}: ${complaint}`, { field });
}
