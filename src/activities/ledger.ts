import { literal, quote, RECOVERY_DATABASE, type TableName } from '../domain/names.js';
import { methodOf, type Capabilities } from '../domain/inventory.js';
import { createLedger, createOldLedger, createRecoveryDatabase } from '../domain/statements.js';
import { ServerError, type ClickHouseNode } from '../ports.js';
import { capabilitiesOf } from './capabilities.js';
import * as queries from './queries.js';

/**
 * `begun`, `baseline`, `fenced`, `streaming`, `unfenced`, `finished`: the course of a recovery on this node.
 * `ddl`, `parts`, `mutation`, `detached`: what the node held before anything was changed.
 * `backup`: the catalogue of finished backups.
 */
export type LedgerKind =
  | 'begun'
  | 'baseline'
  | 'fenced'
  | 'streaming'
  | 'unfenced'
  | 'finished'
  | 'ddl'
  | 'parts'
  | 'mutation'
  | 'detached'
  | 'backup';

export interface LedgerRow extends TableName {
  recovery: string;
  detail: string;
  at: string;
}

export async function ensureLedger(node: ClickHouseNode): Promise<void> {
  const can = await capabilitiesOf(node);
  await node.execute(createRecoveryDatabase(methodOf(can)));
  await node.execute(can.partHashes ? createLedger : createOldLedger);
}

/** Ascending also within a second: `unfenced` must not be older than the `fenced` before it. */
const OLD_NOW = `(SELECT greatest(toUInt64(now()) * 1000, max(at) + 1) FROM ${quote(RECOVERY_DATABASE)}.ledger)`;
const nowOn = (can: Capabilities) => (can.partHashes ? 'now64(3)' : OLD_NOW);

export async function hasLedger(node: ClickHouseNode): Promise<boolean> {
  const [row] = await node.query<{ found: string }>(queries.HAS_LEDGER);
  return Number(row?.found) > 0;
}

export async function readLedger(node: ClickHouseNode, kind: LedgerKind): Promise<LedgerRow[]> {
  return node.query<LedgerRow>(queries.LEDGER_OF_KIND, { params: { kind } });
}

const INTO = `INSERT INTO ${quote(RECOVERY_DATABASE)}.ledger (at, recovery, plan, kind, database, table, detail)`;

export async function writeLedger(
  node: ClickHouseNode,
  run: { recovery: string; plan: string },
  kind: LedgerKind,
  detail: string,
  name: TableName = { database: '', table: '' },
): Promise<void> {
  const values = [run.recovery, run.plan, kind, name.database, name.table, detail].map(literal).join(', ');
  await node.execute(`${INTO} SELECT ${nowOn(await capabilitiesOf(node))}, ${values}`);
}

/** Copies what the node held into its ledger, on the node: nothing of it travels. */
export async function recordBaseline(node: ClickHouseNode, run: { recovery: string; plan: string }): Promise<void> {
  const can = await capabilitiesOf(node);
  const head = (kind: LedgerKind) =>
    `${INTO} SELECT ${nowOn(can)}, ${literal(run.recovery)}, ${literal(run.plan)}, ${literal(kind)}`;
  const own = `database NOT IN ('system', 'INFORMATION_SCHEMA', 'information_schema') AND NOT startsWith(database, '_recovery')`;
  await node.execute(`${head('ddl')}, database, name, create_table_query FROM system.tables WHERE ${own}`, {
    settings: can.partHashes ? queries.WITH_UUID : {},
  });
  await node.execute(
    `${head('parts')}, database, table, concat(toString(count()), ' parts, ', toString(sum(rows)), ' rows, digest ', toString(sum(cityHash64(${can.partHashes ? 'hash_of_all_files' : 'bytes_on_disk'}, rows)))) FROM system.parts WHERE active AND rows > 0 AND ${own} GROUP BY database, table`,
  );
  await node.execute(
    `${head('mutation')}, database, table, concat(mutation_id, ' ', command) FROM system.mutations WHERE NOT is_done AND ${own}`,
  );
  if (can.partHashes)
    await node.execute(`${head('detached')}, database, table, name FROM system.detached_parts WHERE ${own}`);
}

/** Whether the node was fenced and nobody lifted it since. */
export async function isFenced(node: ClickHouseNode): Promise<boolean> {
  const rows = await node.query<{ kind: string; latest: string }>(queries.FENCE_STATE).catch((error: unknown) => {
    if (error instanceof ServerError && NO_LEDGER.has(error.code)) return [];
    throw error;
  });
  const at = (kind: LedgerKind) => rows.find((row) => row.kind === kind)?.latest;
  const [fenced, lifted] = [at('fenced'), at('unfenced')];
  return fenced !== undefined && !(lifted !== undefined && lifted >= fenced);
}

/** UNKNOWN_TABLE, UNKNOWN_DATABASE. */
const NO_LEDGER = new Set([60, 81]);
