/** What servers can do, found out by asking, not by their version. */
import type { Capability, TestNode } from './test-cluster.js';

/**
 * Names that exist nowhere: a statement that the server knows then fails for them, and one that it does not, in its
 * parser. `ATTACH TABLE … AS REPLICATED` cannot be probed so: 18.16 takes it for `AS <a table named REPLICATED>`.
 */
const NOWHERE = '`tcr probe`.`nothing`';
/** A syntax error. */
const UNKNOWN_STATEMENT = 62;

/** The error's code; 0: it was accepted. @throws Error when the node does not answer */
async function errorCodeOf(node: TestNode, sql: string): Promise<number> {
  const response = await fetch(node.url, {
    method: 'POST',
    body: sql,
    headers: { 'X-ClickHouse-User': node.user ?? 'default', 'X-ClickHouse-Key': node.password ?? '' },
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  return response.ok ? 0 : Number(/Code: (\d+)/.exec(text)?.[1] ?? -1);
}

/** What every one of the nodes can do. Changes nothing on them. */
export async function probeCapabilities(nodes: readonly TestNode[]): Promise<ReadonlySet<Capability>> {
  const perNode = await Promise.all(nodes.map(probe));
  const all = new Set(perNode.flat());
  return new Set([...all].filter((capability) => perNode.every((each) => each.includes(capability))));
}

async function probe(node: TestNode): Promise<Capability[]> {
  const knows = async (sql: string) => (await errorCodeOf(node, sql)) !== UNKNOWN_STATEMENT;
  const runs = async (sql: string) => (await errorCodeOf(node, sql)) === 0;
  const restoreReplica = await knows(`SYSTEM RESTORE REPLICA ${NOWHERE}`);
  // A table that is not there cannot be backed up, and the destination is not looked at before.
  const nativeBackup = await knows(`BACKUP TABLE ${NOWHERE} TO Disk('tcr probe', 'nothing')`);
  const atomicDatabases = await runs('SELECT uuid FROM system.tables LIMIT 0');
  return [
    restoreReplica ? 'restoreReplica' : 'conversion',
    // A server, and not an engine inside a process, has an interserver port.
    'liveReplication',
    ...(nativeBackup ? (['nativeBackup'] as const) : []),
    ...(atomicDatabases ? (['atomicDatabases'] as const) : []),
  ];
}
