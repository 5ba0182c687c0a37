import { decideClone, hasAll, type Goal, type Observation, type Step } from './attempt.js';
import { NO_PARTS, sameParts, type PartsDigest } from './inventory.js';

/**
 * The attempt table of the conversion, for servers without SYSTEM RESTORE REPLICA: clone the parts, take the table out
 * of the way, fill a new replicated table beside it from the clone. It gets the old name only after validation
 * (`decidePromotion`), so that nobody can insert into what is not verified, and a REPLACE PARTITION cannot remove an
 * insert. As `decideAttempt`, it names the one next step from what is observed.
 */
export function decideConversion(seen: Observation, goal: Goal): Step {
  // A replica that fetches all from a peer needs no clone.
  const clone = seen.clone ?? (goal.source === 'peer' ? NO_PARTS : null);
  if (!clone) return beforeClone(seen, goal);
  if (seen.next) return fillNext(seen, clone, goal);
  switch (seen.table.state) {
    case 'replicated':
      return standing(seen, clone, goal);
    case 'plain':
      return takenOut(seen, clone, goal);
    default:
      // Taken out, and the server died before it was attached as a plain table.
      if (goal.standing && !seen.held) return { do: 'attach-plain' };
      return register(seen);
  }
}

function register({ keeper }: Observation): Step {
  if (keeper?.replicaPathExists) return { do: 'drop-replica' };
  return { do: keeper?.stalePeers ? 'drop-peers' : 'create-next' };
}

function beforeClone(seen: Observation, goal: Goal): Step {
  if (goal.source === 'backup')
    return { do: 'refuse', code: 'VERIFY_FAILED', why: 'there is no verified staging table to promote' };
  if (seen.table.state !== 'replicated')
    return {
      do: 'refuse',
      code: 'HALF_RESTORED_NO_BASELINE',
      why: 'it has no safety clone and is not as it was planned',
    };
  return decideClone(seen);
}

/** The replicated table under its own name: the old one still, or the new one after its promotion. */
function standing(seen: Observation, clone: PartsDigest, goal: Goal): Step {
  const promoted = seen.held !== null || !goal.standing;
  if (promoted) return seen.table.readonly ? { do: 'wait', why: 'becoming-writable' } : { do: 'done' };
  if (goal.source === 'table' && !sameParts(seen.table.parts, clone) && !hasUndone(seen, clone))
    return { do: 'refuse', code: 'FENCE_BYPASSED', why: 'its parts changed after they were cloned' };
  // What a backup replaces may be writable: its path is there, its data is not.
  return seen.table.readonly || goal.source === 'backup'
    ? { do: 'take-out' }
    : { do: 'wait', why: 'becoming-readonly' };
}

/**
 * Whether what differs from the clone was undone when ZooKeeper was lost, in memory only, and is back since the server was
 * restarted: nobody can insert into a table that is read-only and not registered. A merge that was undone has the same rows.
 */
function hasUndone({ table, keeper }: Observation, clone: PartsDigest): boolean {
  return table.readonly && keeper?.replicaPathExists === false && table.parts.rows >= clone.rows;
}

function takenOut(seen: Observation, clone: PartsDigest, goal: Goal): Step {
  if (seen.held) return { do: 'refuse', code: 'FENCE_BYPASSED', why: 'somebody created the table meanwhile' };
  // By rows: an old engine syntax takes no settings, so plain parts may have been merged, which loses no row. More rows
  // than the clone's are parts that ZooKeeper was never told of, as in `hasUndone`: they are there again once the table is
  // attached (seen on 18.16.1).
  const more = seen.table.parts.rows - clone.rows;
  if (goal.source === 'table' && (more < 0 || (more > 0 && !goal.closed)))
    return {
      do: 'refuse',
      code: 'VERIFY_FAILED',
      why: `it has ${seen.table.parts.rows} rows, and its safety clone ${clone.rows}`,
    };
  return { do: 'move-aside' };
}

function fillNext(seen: Observation, clone: PartsDigest, goal: Goal): Step {
  const next = seen.next;
  if (!next || next.sessionExpired) return { do: 'wait', why: 'session-expired' };
  if (next.readonly) return { do: 'wait', why: 'becoming-writable' };
  if (goal.fetches) {
    const fetched = goal.fetches === 'live' ? next.queue === 0 : hasAll(next.parts, seen.blocks, goal.fetches);
    return fetched ? { do: 'done' } : { do: 'wait', why: 'catching-up' };
  }
  return sameParts(next.parts, clone) ? { do: 'done' } : { do: 'fill-next' };
}

/** After validation: the new table gets its name. `done` also when an earlier attempt did it. */
export function decidePromotion(seen: Observation): Step {
  if (seen.running) return { do: 'wait', why: 'statement-running' };
  if (!seen.next)
    return seen.table.state === 'replicated'
      ? { do: 'done' }
      : { do: 'refuse', code: 'VALIDATION_FAILED', why: 'the table that was to be promoted is gone' };
  if (seen.table.state !== 'missing')
    return { do: 'refuse', code: 'FENCE_BYPASSED', why: 'somebody created the table meanwhile' };
  return { do: 'promote' };
}
