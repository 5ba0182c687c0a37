import { parseReplicatedEngine } from './ddl.js';
import { tableKind, type NodeFacts, type TableDefinition } from './inventory.js';
import type { BackupContents } from './manifest.js';
import { quote, tableKey, type TableName } from './names.js';
import type { PlanItem, PlannedStatement, StepName } from './plan.js';
import type { PlanInput } from './plan-input.js';
import * as sql from './statements.js';

/** ATTACH … AS REPLICATED gives a table the server's default path, and works in Atomic databases only. */
export function isConvertible(definition: TableDefinition, node: NodeFacts): boolean {
  if (
    tableKind(definition.engine) !== 'replicated' ||
    definition.uuid === '' ||
    definition.uuid.startsWith('00000000-0000-0000')
  )
    return false;
  const engine = parseReplicatedEngine(definition.engineFull);
  return engine.pathTemplate === node.defaultReplicaPath && engine.replicaTemplate === node.defaultReplicaName;
}

/** Stands for the operation id of a RESTORE: it has the staging table's UUID in it, so that a new try has a new one. */
export const OPERATION_PLACEHOLDER = '{operation}';

type Statements = PlannedStatement[];
const planned = (step: StepName, text: string): PlannedStatement => ({ step, sql: text });

function cloneStatements(definition: TableDefinition): Statements {
  return [
    planned('make-clone', sql.cloneTable(definition)),
    planned('complete-clone', sql.completeClone('making', definition)),
    planned('drop-making', sql.dropClone('making', definition)),
  ];
}

function rebuildStatements(item: TableName & Pick<PlanItem, 'keeperPath' | 'replicated'>): Statements {
  const fill = [
    planned('replace-partition', sql.replacePartition(item, sql.PARTITION_PLACEHOLDER)),
    planned('drop-partition', sql.dropPartition(item, sql.PARTITION_PLACEHOLDER)),
  ];
  if (!item.replicated) return [planned('attach', sql.attach(item)), ...fill];
  return [
    planned('detach', sql.detach(item)),
    ...(item.keeperPath
      ? [planned('drop-replica', sql.dropReplica(item.keeperPath.replicaName, item.keeperPath.tablePath))]
      : []),
    planned('attach-not-replicated', sql.attachAsNotReplicated(item)),
    planned('attach', sql.attach(item)),
    ...fill,
    planned('attach-as-replicated', sql.attachAsReplicated(item)),
    planned('restart-replica', sql.restartReplica(item)),
    planned('restore-replica', sql.restoreReplica(item)),
  ];
}

/** Every statement that the item may need, in the order of the undisturbed run, repairs last. */
export function statementsOf(
  item: Omit<PlanItem, 'statements'>,
  definition: TableDefinition,
  backup: BackupContents | undefined,
): Statements {
  const source = backup?.tables.find((table) => tableKey(table) === tableKey(item))?.source ?? item;
  const restore = backup
    ? [planned('restore', sql.restoreTable(source, sql.stagingName(item), backup.destination, OPERATION_PLACEHOLDER))]
    : [];
  switch (item.action) {
    case 'none':
    case 'needs-operator':
      return [];
    case 'restore-replica':
      return unique([
        ...cloneStatements(definition),
        planned('restart-replica', sql.restartReplica(item)),
        planned('restore-replica', sql.restoreReplica(item)),
        ...(item.convertible ? rebuildStatements(item) : []),
      ]);
    case 'rebuild-from-clone':
      return unique([...cloneStatements(definition), ...rebuildStatements(item)]);
    case 'recreate-and-fetch':
      return [
        ...(item.keeperPath
          ? [planned('drop-replica', sql.dropReplica(item.keeperPath.replicaName, item.keeperPath.tablePath))]
          : []),
        planned('create-replicated', sql.createReplicated(definition)),
      ];
    case 'create-object':
      if (tableKind(definition.engine) !== 'other-data')
        return [planned('create-object', sql.createObject(definition))];
      return [
        planned('create-staging', sql.createWholeStaging(definition)),
        ...restore,
        planned('rename-into-place', sql.promoteByRename(item)),
        planned('drop-staging', sql.dropClone('staging', item)),
      ];
    case 'restore-from-backup':
      return unique([
        planned('create-staging', sql.createStaging(definition)),
        ...restore,
        planned('complete-staging', sql.completeClone('staging', item)),
        planned('create-plain', sql.createPlain(definition, item.replicated)),
        ...rebuildStatements(item),
        planned('make-clone', sql.cloneTable(definition)),
        planned('hold-clone', sql.holdClone(item)),
        planned('drop-making', sql.dropClone('making', item)),
        planned('drop-staging', sql.dropClone('staging', item)),
      ]);
  }
}

function unique(statements: Statements): Statements {
  const seen = new Set<string>();
  return statements.filter(({ step }) => !seen.has(step) && seen.add(step));
}

export function fenceOf(node: NodeFacts): string[] {
  return [
    ...sql.FENCE,
    ...node.tables
      .filter((table) => table.kind === 'streaming')
      .map((table) => sql.detachStreaming(table.definition))
      .sort(),
  ];
}

export function missingDatabases(node: NodeFacts, items: PlanItem[], input: PlanInput): string[] {
  const needed = new Set(
    items
      .filter((item) => item.node.name === node.node.name && item.action !== 'none' && item.action !== 'needs-operator')
      .map((item) => item.database),
  );
  const saved = input.backups.get(node.node.shard)?.databases ?? [];
  const peers = input.nodes.flatMap((other) => other.databases);
  return [...needed]
    .filter((name) => !node.databases.some((database) => database.name === name))
    .sort()
    .map((name) => {
      const engine =
        (saved.find((database) => database.name === name) ?? peers.find((database) => database.name === name))
          ?.engine ?? 'Atomic';
      return sql.createDatabase(name, /^\w+$/.test(engine) ? engine : quote(engine));
    });
}
