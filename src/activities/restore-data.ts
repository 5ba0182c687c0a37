import { RecoveryError } from '../domain/errors.js';
import { tableKey, type TableName } from '../domain/names.js';
import type { PlanItem } from '../domain/plan.js';
import { OPERATION_PLACEHOLDER } from '../domain/plan-statements.js';
import { NO_PARTS, sameParts } from '../domain/inventory.js';
import { ServerError, type Ports } from '../ports.js';
import { restoreByClickHouseBackup } from './clickhouse-backup.js';
import { LIGHT, lookAt } from './looks.js';
import * as queries from './queries.js';
import { pause, type StepContext } from './runtime.js';
import { Unit } from './unit.js';

const POLL_MS = 200;
const MAX_FAILED_RESTORES = 3;

export interface RestoredData {
  rows: number;
  parts: number;
}

/**
 * Restores one table's data from the backup into its staging table, plain MergeTree: the Keeper is not needed.
 *
 * The operation id has the staging table's UUID in it. So a RESTORE is never sent twice into one table: when its id is
 * unknown and the table is not empty (the server restarted in the middle), the table is dropped and made anew, since a
 * second RESTORE on top would double rows (ClickHouse issue 114593).
 */
export async function restoreData(
  ports: Ports,
  cluster: string,
  item: PlanItem,
  run: { recovery: string },
  context: StepContext,
): Promise<RestoredData> {
  const unit = new Unit(ports, cluster, item, context);
  if (item.restore) return restoreByClickHouseBackup(ports, ports.cluster(cluster), item, unit, context);
  const prefix = `ch-recover-${run.recovery}-${unit.tag.slice(14, 30)}`;
  // A Log-family table has no parts that could be counted: it is made and restored in one go, under one id.
  const whole = unit.has('rename-into-place');
  const deadlineMs = ports.cluster(cluster).policy.statementDeadlineSeconds * 1000;
  let moved = { at: performance.now(), seen: '' };
  for (;;) {
    const digests = await unit.digests();
    // A complete clone was verified: this step is behind us.
    if (digests.clone) return { rows: digests.clone.rows, parts: digests.clone.parts };
    if (whole && (await unit.definition())) return { rows: 0, parts: 0 };
    const id = whole ? prefix : `${prefix}-${digests.stagingUuid}`;
    const operation = digests.staging ? await operationOf(unit, id) : null;
    if (operation?.status === 'RESTORED') {
      const { staging } = await unit.digests();
      return { rows: staging?.rows ?? 0, parts: staging?.parts ?? 0 };
    }
    if (operation?.status === 'RESTORING' || (await unit.running())) {
      context.progress({
        table: tableKey(item),
        step: 'restore',
        bytes: Number(operation?.bytes ?? 0),
        rows: digests.staging?.rows ?? 0,
      });
      // A restore may take hours: it hangs when nothing moves for as long as a statement may take.
      const seen = JSON.stringify([operation, digests.staging]);
      if (seen !== moved.seen) moved = { at: performance.now(), seen };
      else if (performance.now() - moved.at > deadlineMs)
        throw new RecoveryError('STATEMENT_HUNG', `${tableKey(item)} on ${item.node.name}: its RESTORE does not move`, {
          objects: [tableKey(item)],
        });
      await pause(POLL_MS, context.signal);
      context.assertFresh();
      continue;
    }
    if (operation) await giveUpOrDrop(unit, prefix, operation);
    else if (digests.staging && (whole || !sameParts(digests.staging, NO_PARTS))) await unit.send('drop-staging');
    else if (!digests.staging) {
      await unit.send('create-staging');
      if (whole) await sendRestore(unit, id);
    } else await sendRestore(unit, id);
  }
}

async function sendRestore(unit: Unit, id: string): Promise<void> {
  try {
    await unit.send('restore', { [OPERATION_PLACEHOLDER]: id });
  } catch (error) {
    // The operation may be under way all the same: `system.backups` knows, and the loop asks it.
    if (!(error instanceof ServerError) || (await operationOf(unit, id))) return rethrowUnlessServer(error);
    throw new RecoveryError(
      error.code === 243 ? 'DISK_FULL' : 'RESTORE_FAILED',
      `${tableKey(unit.name)}: ${error.message}`.slice(0, 500),
      { objects: [tableKey(unit.name)], serverCode: error.code },
    );
  }
}

function rethrowUnlessServer(error: unknown): void {
  if (!(error instanceof ServerError)) throw error;
}

async function giveUpOrDrop(unit: Unit, prefix: string, operation: { status: string; error: string }): Promise<void> {
  const [row] = await unit.node.query<{ failed: string }>(queries.FAILED_OPERATIONS, { params: { prefix } });
  const full = /\(NOT_ENOUGH_SPACE\)|No space left/.test(operation.error);
  await unit.send('drop-staging');
  // A table without an id for each try has no next try.
  if (full || Number(row?.failed) >= MAX_FAILED_RESTORES || unit.has('rename-into-place'))
    throw new RecoveryError(
      full ? 'DISK_FULL' : 'RESTORE_FAILED',
      `${tableKey(unit.name)}: ${operation.status}: ${operation.error}`.slice(0, 500),
      { objects: [tableKey(unit.name)] },
    );
}

interface Operation extends TableName {
  status: string;
  error: string;
  bytes: string;
}

/** Restores of several tables are under way together, and are asked about together. */
async function operationOf(unit: Unit, id: string): Promise<Operation | null> {
  const [operation] = await lookAt<Operation>(unit.node, queries.OPERATIONS, [{ database: '', table: id }], LIGHT);
  return operation ?? null;
}
