import type { PartRef } from './authority.js';
import type { KeeperReplicaFacts, NodeFacts, TableDefinition } from './inventory.js';
import type { BackupContents } from './manifest.js';
import { tableKey, type TableName } from './names.js';
import type { PlanItem } from './plan.js';
import type { RecoveryRequest } from './request.js';

/** What exists, what the backup holds and what was asked for: all that a plan follows from. */
export interface PlanInput {
  request: RecoveryRequest;
  nodes: NodeFacts[];
  /** By shard; empty when no backup was named. */
  backups: Map<string, BackupContents>;
  /** Part lists of a table by node name, for tables whose replicas differ. */
  partLists: Map<string, Map<string, PartRef[]>>;
  /** Keeper's word on tables that a node lacks, by `partListKey(node, table)`. */
  absentPaths: Map<string, KeeperReplicaFacts>;
  /** The policy of this name. */
  keepAside: boolean;
}

/** Key of `partLists` (shard) and `absentPaths` (node). */
export function scopedKey(scope: string, name: TableName): string {
  return `${scope}/${tableKey(name)}`;
}

export function groupByShard(nodes: NodeFacts[]): Map<string, NodeFacts[]> {
  const shards = new Map<string, NodeFacts[]>();
  for (const node of nodes) shards.set(node.node.shard, [...(shards.get(node.node.shard) ?? []), node]);
  return shards;
}

/** An item before it is known who goes first. */
export type Draft = Omit<PlanItem, 'statements' | 'authority' | 'rebuildRefusal' | 'fetches'> & {
  definition: TableDefinition;
  keeper: KeeperReplicaFacts | null;
  identity: string;
  /** Its parts have names by which they compare with its peers': `TableFacts.namedIn`. */
  named: boolean;
};
