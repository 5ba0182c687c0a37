import { LATE_READS, type Capabilities } from '../domain/inventory.js';
import { literal } from '../domain/names.js';
import { ServerError, type ClickHouseNode } from '../ports.js';

/** Each is only parsed: EXPLAIN AST sends nothing on, and a server without it has none of these either. */
const PROBES = {
  restoreReplica: 'SYSTEM RESTORE REPLICA _recovery.probe',
  dropReplica: `SYSTEM DROP REPLICA 'probe' FROM ZKPATH '/probe'`,
  // With NOT: a server without it reads AS REPLICATED as 'like the table REPLICATED', and knows nothing that goes on.
  attachAs: 'ATTACH TABLE _recovery.probe AS NOT REPLICATED',
  cloneAs: 'CREATE TABLE _recovery.probe CLONE AS _recovery.probe',
  nativeBackup: 'BACKUP TABLE _recovery.probe TO Null',
} as const;

const SYNTAX_ERROR = 62;

const PART_HASHES = 'parts.hash_of_all_files';
const OPERATION_IDS = 'backups.id';

async function parses(node: ClickHouseNode, statement: string): Promise<boolean> {
  try {
    await node.execute(`EXPLAIN AST ${statement}`);
    return true;
  } catch (error) {
    if (error instanceof ServerError && error.code === SYNTAX_ERROR) return false;
    throw error;
  }
}

/** Asks the server itself, since a version number does not tell what a build can do. Reads only. */
export async function probe(node: ClickHouseNode): Promise<Capabilities> {
  const wanted = [PART_HASHES, OPERATION_IDS, ...LATE_READS].map(literal).join(', ');
  const [columns, ...probed] = await Promise.all([
    node.query<{ column: string }>(
      `SELECT concat(table, '.', name) AS column FROM system.columns WHERE database = 'system' AND concat(table, '.', name) IN (${wanted})`,
    ),
    ...Object.entries(PROBES).map(async ([name, statement]) => [name, await parses(node, statement)] as const),
  ]);
  const found = Object.fromEntries(probed) as unknown as Capabilities;
  const has = (name: string) => columns.some(({ column }) => column === name);
  found.partHashes = has(PART_HASHES);
  // BACKUP came before it did what we need: not waited for, and found again by its id.
  found.nativeBackup &&= has(OPERATION_IDS);
  found.lacks = LATE_READS.filter((name) => !has(name));
  known.set(node, found);
  return found;
}

/** Of this process: a server is not replaced by an older one in the middle of a recovery, and planning asks anew. */
const known = new WeakMap<ClickHouseNode, Capabilities>();

export async function capabilitiesOf(node: ClickHouseNode): Promise<Capabilities> {
  return known.get(node) ?? probe(node);
}
