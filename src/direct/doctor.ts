import { capabilitiesOf } from '../activities/capabilities.js';
import { backupCatalogue } from '../activities/inspect-backup.js';
import { hasLedger, readLedger } from '../activities/ledger.js';
import { hasInterserverPort } from '../activities/observe-node.js';
import * as queries from '../activities/queries.js';
import { toProblem } from '../activities/runtime.js';
import { ERRORS } from '../domain/errors.js';
import { methodOf, missingStatements } from '../domain/inventory.js';
import type { ClickHouseNode, ClusterPorts } from '../ports.js';
import type { DoctorCheck, NodeExamination, NodesExamination } from '../service/direct.js';

/** Read-only checks of everything that a recovery needs of the cluster itself. */
export async function examineCluster(cluster: ClusterPorts, name: string): Promise<NodesExamination> {
  const [keeper, nodes] = await Promise.all([
    check('keeper', async () => ((await cluster.keeper.exists('/')) ? 'answers' : 'answers, but has no root node')),
    Promise.all(cluster.topology.nodes.map((ref) => examineNode(cluster.node(ref.name)))),
  ]);
  const reachable = nodes.filter((node) => node.checks[0]?.ok === true).map((node) => node.name);
  const backups = await backupCatalogue(cluster, reachable).catch(() => []);
  return { cluster: name, ok: keeper.ok && nodes.every((node) => node.ok), nodes, keeper, backups };
}

async function examineNode(node: ClickHouseNode): Promise<NodeExamination> {
  let version = '';
  let embedded = false;
  const answers = await check('answers', async () => {
    version = (await node.query<{ version: string }>(queries.NODE))[0]?.version ?? '';
    embedded = !(await hasInterserverPort(node));
    return `ClickHouse ${version}${embedded ? ' (embedded: its replicas never become active)' : ''}`;
  });
  const checks = answers.ok
    ? [
        answers,
        await check('macros', () => macros(node)),
        await check('recovery', () => recovery(node)),
        await check('backups', () => backups(node)),
        await check('fence', () => fence(node)),
        await check('unfinished recovery', () => unfinished(node)),
      ]
    : [answers];
  return {
    name: node.ref.name,
    shard: node.ref.shard,
    replica: node.ref.replica,
    ok: checks.every((each) => each.ok),
    version,
    embedded,
    checks,
  };
}

async function macros(node: ClickHouseNode): Promise<string> {
  const rows = await node.query<{ macro: string; substitution: string }>(queries.MACROS);
  const found = Object.fromEntries(rows.map((row) => [row.macro, row.substitution]));
  for (const key of ['shard', 'replica'] as const)
    if (found[key] !== undefined && found[key] !== node.ref[key])
      throw new Failed(
        `macro {${key}} is ${found[key]}, recovery.yaml says ${node.ref[key]}: ${ERRORS.WRONG_MACROS.hint}`,
      );
  return `shard ${found['shard'] ?? '–'}, replica ${found['replica'] ?? '–'}`;
}

async function recovery(node: ClickHouseNode): Promise<string> {
  const can = await capabilitiesOf(node);
  const missing = missingStatements(can);
  if (methodOf(can) === 'conversion')
    return `by conversion, in databases of the engine Ordinary: not there are ${missing.join(', ')}`;
  if (missing.length === 0) return 'SYSTEM RESTORE REPLICA and what goes with it are there';
  const limit = can.attachAs ? '' : ': replicated tables are registered again, but not rebuilt, from a backup neither';
  return `SYSTEM RESTORE REPLICA is there, and not ${missing.join(', ')}${limit}`;
}

async function backups(node: ClickHouseNode): Promise<string> {
  if (!(await capabilitiesOf(node)).nativeBackup)
    return 'no BACKUP and RESTORE: lost data comes back by clickhouse-backup or a cold copy';
  const [row] = await node.query<{ n: string }>('SELECT count() AS n FROM system.backups');
  return `BACKUP and RESTORE are there (${row?.n ?? 0} operations since its start)`;
}

/**
 * Stopped merges and detached tables are seen nowhere else: a fence that was forgotten fills disks. `streaming` counts
 * too: a worker that died while it raised the fence leaves that and no `fenced`.
 */
async function fence(node: ClickHouseNode): Promise<string> {
  if (!(await hasLedger(node))) return 'down';
  const lifted = (await readLedger(node, 'unfenced')).at(-1);
  const since = [...(await readLedger(node, 'fenced')), ...(await readLedger(node, 'streaming'))]
    .map(({ at }) => at)
    .filter((at) => lifted === undefined || at > lifted.at)
    .sort()[0];
  if (since === undefined) return 'down';
  throw new Failed(
    `up since ${since}: merges are stopped, streaming tables detached; unless a recovery runs, lift it with \`ch-recover unfence\``,
  );
}

async function unfinished(node: ClickHouseNode): Promise<string> {
  const left = await node.query(queries.RECOVERY_TABLES);
  if (left.length === 0) return 'none';
  throw new Failed(`${left.length} safety clones in _recovery: ${ERRORS.RECOVERY_UNFINISHED.hint}`);
}

/** A check that found something wrong, in words that need no code. */
class Failed extends Error {}

async function check(name: string, body: () => Promise<string>): Promise<DoctorCheck> {
  try {
    return { name, ok: true, detail: await body() };
  } catch (error) {
    if (error instanceof Failed) return { name, ok: false, detail: error.message };
    const found = toProblem(error);
    return { name, ok: false, detail: `${found.code}: ${found.message} (hint: ${ERRORS[found.code].hint})` };
  }
}
