import { isPartName } from '../domain/cold-place.js';
import { RecoveryError } from '../domain/errors.js';
import { tableKey } from '../domain/names.js';
import type { PlanItem } from '../domain/plan.js';
import { PART_PLACEHOLDER } from '../domain/plan-statements.js';
import { stagingName } from '../domain/statements.js';
import { ServerError, type Ports } from '../ports.js';
import { unpack } from './packed.js';
import { isAway, pause, type StepContext } from './runtime.js';
import { Unit } from './unit.js';

const POLL_MS = 200;

/**
 * The staging table into whose detached/ an agent is to place parts. `afresh`: something is attached to it that the copy does
 * not have, or before its turn, so it is made anew. `verified`: this step is behind us.
 */
export async function prepareStaging(
  ports: Ports,
  cluster: string,
  item: PlanItem,
  afresh: boolean,
  context: StepContext,
): Promise<{ verified: boolean }> {
  const unit = new Unit(ports, cluster, item, context);
  const { clone, staging } = await unit.digests();
  if (clone) return { verified: true };
  await awaitSilence(unit, context, ports.cluster(cluster).policy.statementDeadlineSeconds);
  if (staging && afresh) await unit.send('drop-target');
  if (!staging || afresh) await unit.send('create-target');
  await unit.fenceTable(stagingName(item));
  return { verified: false };
}

/**
 * Attaches parts that stand in detached/, in this order. A part's folder is gone from there once it is attached, so no part is
 * attached twice by a statement that is sent again: it fails. What came of all this its agent sees on the disk; the answer is
 * the last complaint, '' without.
 */
export async function attachParts(
  ports: Ports,
  cluster: string,
  item: PlanItem,
  packed: string,
  context: StepContext,
): Promise<{ complaint: string }> {
  const unit = new Unit(ports, cluster, item, context);
  const names = await unpack<string[]>(packed);
  const { statementDeadlineSeconds } = ports.cluster(cluster).policy;
  let complaint = '';
  let done = 0;
  for (const name of names) {
    if (!isPartName(name))
      throw new RecoveryError(
        'INTERNAL',
        `${tableKey(item)}: a part with the name ${JSON.stringify(name.slice(0, 100))}`,
      );
    await awaitSilence(unit, context, statementDeadlineSeconds);
    try {
      await unit.send('attach-part', { [PART_PLACEHOLDER]: name });
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      // Parts after it would come before their turn. Asked again, this begins with it: those before it are gone from detached/.
      if (error.code === NOT_ENOUGH_SPACE || isAway(error)) throw error;
      complaint = `${name}: ${error.message}`.slice(0, 400);
      // Of the next round.
      if (error.code === MEMORY_LIMIT_EXCEEDED) break;
    }
    context.progress({ table: tableKey(item), step: 'attach', parts: ++done, of: names.length });
  }
  return { complaint };
}

const NOT_ENOUGH_SPACE = 243;
const MEMORY_LIMIT_EXCEEDED = 241;

/** A statement whose answer was lost may run still: what it does is not seen before its end. */
async function awaitSilence(unit: Unit, context: StepContext, deadlineSeconds: number): Promise<void> {
  for (;;) {
    const running = await unit.running();
    if (!running) return;
    if (running.seconds > deadlineSeconds)
      throw new RecoveryError('STATEMENT_HUNG', `${tableKey(unit.name)} on ${unit.item.node.name}: ATTACH PART hangs`, {
        objects: [tableKey(unit.name)],
      });
    await pause(POLL_MS, context.signal);
    context.assertFresh();
  }
}
