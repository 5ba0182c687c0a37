import type { Capabilities } from '../domain/inventory.js';
import { ServerError, type ClickHouseNode } from '../ports.js';

/** Each is only parsed: EXPLAIN AST sends nothing on, and a server without it has none of these either. */
const PROBES = {
  restoreReplica: 'SYSTEM RESTORE REPLICA _recovery.probe',
  dropReplica: `SYSTEM DROP REPLICA 'probe' FROM ZKPATH '/probe'`,
  attachAs: 'ATTACH TABLE _recovery.probe AS REPLICATED',
  cloneAs: 'CREATE TABLE _recovery.probe CLONE AS _recovery.probe',
  nativeBackup: 'BACKUP TABLE _recovery.probe TO Null',
} as const;

const SYNTAX_ERROR = 62;

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
  const found = {} as Capabilities;
  for (const [name, statement] of Object.entries(PROBES))
    found[name as keyof typeof PROBES] = await parses(node, statement);
  const columns = await node.query<{ name: string }>(
    `SELECT name FROM system.columns WHERE database = 'system' AND table = 'parts' AND name = 'hash_of_all_files'`,
  );
  found.partHashes = columns.length > 0;
  known.set(node, found);
  return found;
}

/** Of this process: a server is not replaced by an older one in the middle of a recovery, and planning asks anew. */
const known = new WeakMap<ClickHouseNode, Capabilities>();

export async function capabilitiesOf(node: ClickHouseNode): Promise<Capabilities> {
  return known.get(node) ?? probe(node);
}
