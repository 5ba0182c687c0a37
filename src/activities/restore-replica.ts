import { sameParts } from '../domain/inventory.js';
import { tableKey } from '../domain/names.js';
import type { PlanItem } from '../domain/plan.js';
import { RecoveryError } from '../domain/errors.js';
import { ServerError, type Ports } from '../ports.js';
import { pause, pollMs, type StepContext } from './runtime.js';
import { act, advance } from './advance.js';
import { Unit } from './unit.js';
import { goalOf } from './verify-parts.js';

export interface RestoredReplica {
  rows: number;
  parts: number;
}

/** Brings one table on one replica from its verified clone to registered in ZooKeeper with exactly the clone's parts. */
export async function restoreReplica(
  ports: Ports,
  cluster: string,
  item: PlanItem,
  embedded: boolean,
  context: StepContext,
): Promise<RestoredReplica> {
  const unit = new Unit(ports, cluster, item, context);
  if (item.action === 'recreate-and-fetch' && item.method !== 'conversion') return recreate(unit, embedded, context);
  if (item.action === 'restore-from-backup' && item.method !== 'conversion') await holdWhatIsThere(unit);
  const seen = await advance(unit, context, goalOf(item, ports.cluster(cluster).policy), embedded, 'done');
  const { rows, parts } = seen.next?.parts ?? seen.table.parts;
  // One that is in its place already is written to.
  if (!embedded && item.authority && seen.next && parts > 0)
    await caughtUp(unit, ports.cluster(cluster).policy.statementDeadlineSeconds, context);
  // Whoever comes next fetches from here.
  if (!embedded && item.method !== 'conversion') await unit.openReplication();
  return { rows, parts };
}

/**
 * Waits until the replica that goes first has worked off its own log. Whoever joins before that takes over its parts as
 * well as the REPLACE_RANGE that brings them, and on 18.16.1 that entry never ends then ('Tagging already tagged future
 * part. This is a bug.'), until the server is restarted.
 */
async function caughtUp(unit: Unit, deadlineSeconds: number, context: StepContext): Promise<void> {
  const startedAt = performance.now();
  while ((await unit.replication())?.behind) {
    const waitedMs = performance.now() - startedAt;
    if (waitedMs > deadlineSeconds * 1000)
      throw new RecoveryError('NO_PROGRESS', `${tableKey(unit.name)} does not work off its replication log`, {
        objects: [tableKey(unit.name)],
      });
    await pause(pollMs(waitedMs), context.signal);
    context.assertFresh();
  }
}

/** A table that stands and is rebuilt from a backup may hold rows that the backup lacks: they are cloned aside first. */
async function holdWhatIsThere(unit: Unit): Promise<void> {
  for (;;) {
    const digests = await unit.digests();
    if (digests.held || digests.table.parts === 0 || !digests.clone || sameParts(digests.table, digests.clone)) return;
    if (!digests.making) await act(unit, { do: 'make-clone' });
    else await unit.send(sameParts(digests.making, digests.table) ? 'hold-clone' : 'drop-making');
  }
}

/**
 * A replica that lost its tables while a peer has them: its stale path goes (never one with `is_active`), the table is
 * created again with the same UUID and fetches its parts.
 */
async function recreate(unit: Unit, embedded: boolean, context: StepContext): Promise<RestoredReplica> {
  if (embedded)
    throw new RecoveryError(
      'UNSUPPORTED_SERVER',
      `${tableKey(unit.name)}: an embedded node fetches no parts from a peer`,
      { objects: [tableKey(unit.name)] },
    );
  for (let tries = 0; ; tries++) {
    const seen = await unit.observe(embedded);
    if (seen.keeper?.heldByOther)
      throw new RecoveryError('REPLICA_ACTIVE', `${tableKey(unit.name)}: another server is active on its path`, {
        objects: [tableKey(unit.name)],
      });
    if (seen.table.state === 'replicated' && seen.keeper?.replicaPathExists && !seen.table.readonly)
      return { rows: seen.table.parts.rows, parts: seen.table.parts.parts };
    if (tries > 60)
      throw new RecoveryError('NO_PROGRESS', `${tableKey(unit.name)} does not become writable`, {
        objects: [tableKey(unit.name)],
      });
    if (seen.table.state === 'missing')
      await (seen.keeper?.replicaPathExists ? act(unit, { do: 'drop-replica' }) : unit.send('create-replicated'));
    else {
      await unit.openReplication();
      await pause(1_000, context.signal);
    }
  }
}

/**
 * Objects without parts of their own, after the tables: views, dictionaries, Distributed from their DDL, Log-family
 * tables from the restored staging table. What depends on something that is not there yet is tried again in the next
 * round, until a round brings nothing new.
 */
export async function createObjects(
  ports: Ports,
  cluster: string,
  items: PlanItem[],
  context: StepContext,
): Promise<{ failed: { key: string; error: string }[] }> {
  let open = items.map((item) => new Unit(ports, cluster, item, context));
  for (;;) {
    const failed: { unit: Unit; error: string }[] = [];
    for (const unit of open) {
      if (await unit.definition()) continue;
      try {
        await unit.send(unit.has('rename-into-place') ? 'rename-into-place' : 'create-object');
      } catch (error) {
        if (!(error instanceof ServerError)) throw error;
        failed.push({ unit, error: error.message });
      }
    }
    if (failed.length === 0) return { failed: [] };
    if (failed.length === open.length)
      return { failed: failed.map(({ unit, error }) => ({ key: tableKey(unit.name), error: error.slice(0, 300) })) };
    open = failed.map(({ unit }) => unit);
  }
}
