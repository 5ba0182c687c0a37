import { problem, type Problem } from './errors.js';
import type { NodeFacts } from './inventory.js';
import { compilePattern, OWN_DATABASES, tableKey, type TableName } from './names.js';
import { groupByShard, type PlanInput } from './plan-input.js';

/** Every pattern has to name something that stands or is in the backup: a mistyped one must not pass unseen. */
export function refusePatterns({ request, nodes, backups }: PlanInput): Problem[] {
  const known: TableName[] = [
    ...nodes.flatMap((node) => node.tables.map((table) => table.definition)),
    ...[...backups.values()].flatMap((backup) => backup.tables),
  ].filter((name) => !OWN_DATABASES.includes(name.database));
  return (request.tables ?? []).flatMap((pattern, index) =>
    known.some(compilePattern(pattern))
      ? []
      : [
          problem('TABLES_MATCH_NOTHING', 'no table of the cluster or the backup matches a pattern', {
            field: `tables.${index}`,
            objects: [pattern.slice(0, 200)],
          }),
        ],
  );
}

/** What forbids the run as a whole, node by node. */
export function refuseNodes({ nodes, request, backups }: PlanInput): Problem[] {
  const refusals: Problem[] = [];
  for (const { node, macros, unfinishedRecovery } of nodes) {
    for (const macro of ['shard', 'replica'] as const)
      if (macros[macro] !== undefined && macros[macro] !== node[macro])
        refusals.push(
          problem(
            'WRONG_MACROS',
            `node ${node.name}: macro {${macro}} is ${macros[macro]}, the configuration says ${node[macro]}`,
            { objects: [node.name] },
          ),
        );
    if (unfinishedRecovery !== '' && !request.adopt)
      refusals.push(
        problem('RECOVERY_UNFINISHED', `node ${node.name} has safety clones of recovery ${unfinishedRecovery}`, {
          objects: [node.name],
          field: 'adopt',
        }),
      );
  }
  // A finished recovery clears `_recovery`: what it leaves out must have nothing there.
  const patterns = request.tables?.map(compilePattern);
  if (request.adopt && patterns)
    for (const { node, tables } of nodes) {
      const left = tables.filter(
        ({ clone, definition }) => clone !== null && !patterns.some((matches) => matches(definition)),
      );
      if (left.length > 0)
        refusals.push(
          problem('RECOVERY_UNFINISHED', `node ${node.name}: other tables have safety clones, too: adopt them all`, {
            field: 'tables',
            objects: left.slice(0, 20).map(({ definition }) => tableKey(definition)),
          }),
        );
    }
  // A shard without any table, while the others have some, has lost its data: never 'nothing to do'.
  const replicated = (node: NodeFacts) => node.tables.filter((table) => table.kind === 'replicated').length;
  for (const [shard, members] of groupByShard(nodes))
    if (
      !backups.has(shard) &&
      members.every((node) => replicated(node) === 0) &&
      (nodes.some((node) => replicated(node) > 0) || nodes.every((node) => node.tables.length === 0))
    )
      refusals.push(
        problem('DATA_LOST_NO_BACKUP', `shard ${shard} has no replicated table, other shards have`, {
          field: 'backup',
          objects: members.map((node) => node.node.name),
        }),
      );
  return refusals;
}
