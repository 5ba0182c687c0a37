import { decideAttempt, type Goal, type Observation, type Step } from '../domain/attempt.js';
import { RecoveryError } from '../domain/errors.js';
import { cloneName, tableKey, type TableName } from '../domain/names.js';
import type { StepName } from '../domain/plan.js';
import { PARTITION_PLACEHOLDER } from '../domain/statements.js';
import { ServerError } from '../ports.js';
import { pause, pollMs, type StepContext } from './runtime.js';
import type { Seen, Unit } from './unit.js';

/** Same step, same observation, so many times again: it does not converge. Others may be between, as a drop of what is made. */
const MAX_REPEATS = 4;
/** The longest way through the attempt table, with every repair, has a dozen steps. */
const MAX_STEPS = 100;

/**
 * Brings one table one step after the other to its goal: observe, ask the decision, act, observe again. Any statement
 * may be the last of this process; the next process starts from what it sees.
 */
export async function advance(
  unit: Unit,
  context: StepContext,
  goal: Goal,
  embedded: boolean,
  until: 'clone' | 'done',
): Promise<Seen> {
  const taken = new Map<string, number>();
  let lastError: ServerError | null = null;
  const patience = new Patience(unit, goal, context);
  // A conversion compares what it fills with its clone.
  const comparesParts = goal.method !== 'conversion';
  // Once none runs of whoever had the table before us, only ours can, of which each was answered.
  let isAlone = false;
  for (let steps = 0; ;) {
    const seen = await unit.observe(embedded, { isAlone, comparesParts });
    isAlone = seen.running === null;
    if (until === 'clone' && seen.clone && !seen.running) return seen;
    const step = decideAttempt(seen, goal);
    context.progress({ table: tableKey(unit.name), step: step.do, rows: seen.table.parts.rows });
    if (step.do === 'done') return seen;
    if (step.do === 'wait' || (step.do === 'refuse' && step.code === 'REPLICA_ACTIVE')) {
      await patience.wait(step, seen);
      continue;
    }
    patience.reset();
    if (step.do === 'refuse')
      throw new RecoveryError(step.code, `${tableKey(unit.name)} on ${unit.item.node.name}: ${step.why}`, {
        objects: [tableKey(unit.name)],
      });
    const state = JSON.stringify({ step, seen: { ...seen, running: null } });
    const repeats = taken.get(state) ?? 0;
    taken.set(state, repeats + 1);
    if (repeats >= MAX_REPEATS || ++steps > MAX_STEPS) {
      if (lastError) throw lastError;
      throw new RecoveryError('NO_PROGRESS', `${tableKey(unit.name)}: '${step.do}' changes nothing`, {
        objects: [tableKey(unit.name)],
      });
    }
    try {
      await act(unit, step);
      // A clone that was compared has its name now. Whoever goes on with the table looks at it before it does anything.
      if (until === 'clone' && step.do === 'complete-clone') return { ...seen, clone: seen.making, making: null };
    } catch (error) {
      // The server's answer is not believed either way: look again. Only a repeat without any change is an error.
      if (!(error instanceof ServerError)) throw error;
      lastError = error;
      isAlone = false;
      await pause(pollMs(0), context.signal);
    }
  }
}

/** A server looks at its session every 10 s or so, whatever the time-out. */
const MIN_SESSION_SECONDS = 60;
/** A table that does not renew its session by itself is asked to, once. */
const RESTART_REPLICA_AFTER_SECONDS = 15;

/** A server that restarted meanwhile was fenced again: that often is soon enough. */
const OPEN_EVERY_MS = 5_000;

/** Waits between two looks, and gives up when nothing changes for too long. */
class Patience {
  private waiting: { for: string; since: number } | null = null;
  private restarted = false;
  private openedAt = -Infinity;

  constructor(
    private readonly unit: Unit,
    private readonly goal: Goal,
    private readonly context: StepContext,
  ) {}

  reset(): void {
    this.waiting = null;
  }

  async wait(step: Extract<Step, { do: 'wait' | 'refuse' }>, seen: Observation): Promise<void> {
    // A replica that fetches moves: its time starts anew with every part.
    const what =
      step.why === 'catching-up' ? `${step.why} ${JSON.stringify((seen.next ?? seen.table).parts)}` : step.why;
    if (this.waiting?.for !== what) this.waiting = { for: what, since: performance.now() };
    const waitedMs = performance.now() - this.waiting.since;
    const seconds = waitedMs / 1000;
    if (step.why === 'catching-up') await this.open();
    if (step.why === 'session-expired' && seconds > RESTART_REPLICA_AFTER_SECONDS) await this.restartReplica();
    this.giveUp(step, seconds);
    await pause(pollMs(waitedMs), this.context.signal);
    // While our statement runs there is no safe point to stop at.
    if (step.why !== 'statement-running') this.context.assertFresh();
  }

  private async open(): Promise<void> {
    if (performance.now() - this.openedAt < OPEN_EVERY_MS) return;
    this.openedAt = performance.now();
    await this.unit.openReplication();
  }

  private async restartReplica(): Promise<void> {
    if (this.restarted || !this.unit.has('restart-replica')) return;
    this.restarted = true;
    await this.unit.send('restart-replica');
  }

  private giveUp(step: Extract<Step, { do: 'wait' | 'refuse' }>, seconds: number): void {
    const name = tableKey(this.unit.name);
    const table = `${name} on ${this.unit.item.node.name}`;
    const objects = [name];
    if (step.do === 'refuse') {
      // The `is_active` of a server that was killed stays until its session times out.
      if (seconds > this.goal.sessionTimeoutSeconds)
        throw new RecoveryError(step.code, `${table}: ${step.why}`, { objects });
      return;
    }
    const limit =
      step.why === 'statement-running' || step.why === 'catching-up'
        ? this.goal.statementDeadlineSeconds
        : Math.max(this.goal.sessionTimeoutSeconds, MIN_SESSION_SECONDS);
    if (seconds <= limit) return;
    if (step.why === 'statement-running')
      throw new RecoveryError('STATEMENT_HUNG', `${table}: our statement does not return`, { objects });
    if (step.why === 'catching-up')
      throw new RecoveryError('NO_PROGRESS', `${table}: no part was fetched for ${Math.round(seconds)} s`, { objects });
    throw new RecoveryError('SESSION_EXPIRED', `${table}: ${step.why} for ${Math.round(seconds)} s`, { objects });
  }
}

export async function act(unit: Unit, step: Step): Promise<void> {
  switch (step.do) {
    case 'attach-not-replicated':
      // Metadata of a detached table does not show its engine: try the conversion, else attach what is there.
      if (unit.has('attach-not-replicated')) {
        try {
          await unit.send('attach-not-replicated');
        } catch (error) {
          if (!(error instanceof ServerError)) throw error;
          await unit.send('attach');
        }
      } else await unit.send('attach');
      return unit.fenceTable();
    case 'create-plain':
      await unit.send('create-plain');
      return unit.fenceTable();
    case 'convert':
      await unit.send('detach');
      await unit.send('attach-as-replicated');
      return unit.fenceTable();
    case 'replace-partitions':
      return replacePartitions(unit, cloneName('clone', unit.name), unit.name, 'replace-partition', 'drop-partition');
    case 'make-clone':
      return makeClone(unit, cloneName('making', unit.name));
    case 'take-out':
      await unit.send('detach');
      await unit.send('attach-plain');
      return unit.fenceTable();
    case 'attach-plain':
      await unit.send('attach-plain');
      return unit.fenceTable();
    case 'drop-replica':
      if (unit.has('drop-replica')) return unit.send('drop-replica');
      return unit.deletePaths('delete-replica-path');
    case 'drop-peers':
      if (unit.has('drop-peer-replica')) return unit.sendAll('drop-peer-replica');
      return unit.deletePaths('delete-peer-path');
    case 'create-next':
      await unit.send('create-next');
      // What a living peer merges is merged here, too: its queue would never empty.
      if (unit.item.fetches === 'live') return;
      return unit.fenceTable(cloneName('next', unit.name));
    case 'fill-next':
      return replacePartitions(
        unit,
        cloneName('clone', unit.name),
        cloneName('next', unit.name),
        'fill-next',
        'empty-next',
      );
    case 'done':
    case 'wait':
    case 'refuse':
      return;
    default:
      return unit.send(step.do);
  }
}

/** One that is cut off in the middle differs from the table: it is dropped and made anew. */
async function makeClone(unit: Unit, making: TableName): Promise<void> {
  if (!unit.has('create-making')) return unit.send('make-clone');
  await unit.send('create-making');
  await unit.fenceTable(making);
  return replacePartitions(unit, unit.name, making, 'fill-making');
}

/**
 * Makes one table's partitions those of another, where they differ. Hard links; safe to repeat. `drop`: for partitions that
 * the other lacks, which a table that was just made has none of.
 */
async function replacePartitions(
  unit: Unit,
  from: TableName,
  to: TableName,
  replace: StepName,
  drop?: StepName,
): Promise<void> {
  const isPlainOwn = unit.item.method === 'conversion' && !unit.item.replicated && to.database === unit.name.database;
  for (const { id, sides, sameRows } of await unit.differingPartitions(from, to)) {
    // A fill that was cut off left whole partitions, and a merge by a server that was restarted lost no row. So this is
    // somebody's insert, of which nobody has a copy: nothing of such a table is held aside.
    if (isPlainOwn && sides.includes('to') && !sameRows)
      throw new RecoveryError(
        'FENCE_BYPASSED',
        `${tableKey(unit.name)} on ${unit.item.node.name}: its partition ${id.slice(0, 100)} has rows that would be replaced`,
        { objects: [tableKey(unit.name)] },
      );
    if (!/^[A-Za-z0-9_-]+$/.test(id))
      throw new RecoveryError('NOT_RECOVERABLE', `${tableKey(unit.name)} has an unexpected partition id`);
    const step = sides.includes('from') ? replace : drop;
    if (step) await unit.send(step, { [PARTITION_PLACEHOLDER]: id });
  }
}
