import {
  activityInfo,
  ApplicationFailure,
  cancellationDetails,
  cancellationSignal,
  CancelledFailure,
  heartbeat,
} from '@temporalio/activity';
import { ERRORS, problem, RecoveryError, type ErrorCode, type Problem } from '../domain/errors.js';
import { ServerError } from '../ports.js';

/** How a step reaches Temporal: heartbeats, cancellation, staleness. Replaced by a quiet one outside of an activity. */
export interface StepContext {
  signal: AbortSignal;
  /** Throws STALE_ATTEMPT when this process was stopped for so long that another worker may have taken over. */
  assertFresh(): void;
  /** Whether nobody else can have taken over: also true of an attempt that was asked to stop. */
  isOurs(): boolean;
  progress(detail: unknown): void;
}

/**
 * The longest that the worker holds back a heartbeat, which by itself it does for four fifths of the time-out. In
 * milliseconds; an option of the worker.
 */
export const HEARTBEAT_THROTTLE_MS = 1_000;
const MAX_TICK_MS = 1_000;
/** Of the time-out, for the way to Temporal. */
const SLACK = 0.1;

/** How often to heartbeat, and for how long a process may stand still before Temporal may have given its work to another. */
export function freshness(heartbeatTimeoutMs: number): { tickMs: number; standstillMs: number } {
  const tickMs = Math.min(MAX_TICK_MS, heartbeatTimeoutMs / 10);
  // The last heartbeat that Temporal has is as old as a tick and what the worker holds back.
  const ageMs = tickMs + Math.min(HEARTBEAT_THROTTLE_MS, heartbeatTimeoutMs * 0.8);
  return { tickMs, standstillMs: Math.max(tickMs * 1.5, heartbeatTimeoutMs * (1 - SLACK) - ageMs) };
}

/** For reads outside of an activity (CLI `plan`, `doctor`, `unfence`): nothing to heartbeat, nobody can take over. */
export function detachedContext(): StepContext {
  return {
    signal: new AbortController().signal,
    assertFresh: () => undefined,
    isOurs: () => true,
    progress: () => undefined,
  };
}

/**
 * Runs one activity: heartbeats while it runs, waits out what is away for `patienceSeconds`, and turns errors into
 * ApplicationFailures of the error table. Only a stale attempt is retried by Temporal; everything else was decided here.
 */
export async function runStep<T>(patienceSeconds: number, body: (context: StepContext) => Promise<T>): Promise<T> {
  const { tickMs, standstillMs } = freshness(activityInfo().heartbeatTimeoutMs ?? 60_000);
  let lastTick = performance.now();
  let detail: unknown;
  const timer = setInterval(() => {
    // A gap means that the process did not run (SIGSTOP, swapping): do not refresh, assertFresh must see it.
    if (performance.now() - lastTick < standstillMs) lastTick = performance.now();
    heartbeat(detail);
  }, tickMs);
  const context: StepContext = {
    signal: cancellationSignal(),
    assertFresh: () => {
      if (performance.now() - lastTick >= standstillMs)
        throw new RecoveryError('STALE_ATTEMPT', 'this worker stood still, and another may have taken over');
      if (cancellationSignal().aborted) throw new RecoveryError('STALE_ATTEMPT', 'this attempt was cancelled');
    },
    isOurs: () =>
      performance.now() - lastTick < standstillMs &&
      (!cancellationSignal().aborted || cancellationDetails()?.cancelRequested === true),
    progress: (next) => {
      detail = next;
    },
  };
  try {
    return await withPatience(patienceSeconds, context, () => body(context));
  } catch (error) {
    // Asked to stop: whatever the step threw at its safe point, it was cancelled.
    if (cancellationDetails()?.cancelRequested) throw new CancelledFailure('stopped at a safe point');
    throw toFailure(error);
  } finally {
    clearInterval(timer);
  }
}

/** Codes of ClickHouse that mean 'not now': session lost, no ZooKeeper, read-only for that, too many queries, time-outs, network. */
const TRANSIENT_SERVER_CODES = new Set([999, 225, 242, 202, 159, 209, 210, 319, 279, 571]);
const WITHOUT_SESSION = new Set([999, 225, 242]);

function awayCode(error: unknown): ErrorCode | null {
  if (error instanceof RecoveryError && (error.code === 'NODE_UNAVAILABLE' || error.code === 'KEEPER_UNAVAILABLE'))
    return error.code;
  if (error instanceof ServerError && TRANSIENT_SERVER_CODES.has(error.code))
    return WITHOUT_SESSION.has(error.code) ? 'SESSION_EXPIRED' : 'NODE_UNAVAILABLE';
  return null;
}

/** Whether it is a matter of time: the step is repeated. */
export const isAway = (error: unknown): boolean => awayCode(error) !== null;

/** In milliseconds. A node that swallows what is sent costs an attempt two reads of 30 s, the one it waits for and its own: no progress. */
const PROGRESS_MS = 120_000;

/** Repeats a step, which looks before it acts, while what it needs is away. The deadline counts from the first failure in a row. */
export async function withPatience<T>(
  patienceSeconds: number,
  context: StepContext,
  body: () => Promise<T>,
): Promise<T> {
  let awaySince: number | null = null;
  for (;;) {
    const startedAt = performance.now();
    try {
      return await body();
    } catch (error) {
      const code = awayCode(error);
      if (!code || context.signal.aborted) throw error;
      const now = performance.now();
      // A step that worked for a while before it failed made progress: its patience starts anew.
      if (awaySince === null || now - startedAt > PROGRESS_MS) awaySince = startedAt;
      if (now - awaySince > patienceSeconds * 1000)
        throw error instanceof RecoveryError
          ? error
          : new RecoveryError(code, error instanceof ServerError ? `${error.node}: ${error.message}` : message(error), {
              serverCode: error instanceof ServerError ? error.code : undefined,
            });
      await pause(1_000, context.signal);
    }
  }
}

const MIN_POLL_MS = 200;
const MAX_POLL_MS = 2_000;

/** Between two looks at what was waited for so long, in milliseconds: the longer it takes, the less a late look matters. */
export const pollMs = (waitedMs: number) => Math.min(Math.max(waitedMs / 3, MIN_POLL_MS), MAX_POLL_MS);

export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function toProblem(error: unknown): Problem {
  if (error instanceof RecoveryError)
    return problem(error.code, error.message, { field: error.details.field, objects: error.details.objects });
  if (error instanceof ServerError) {
    const code: ErrorCode = error.code === 243 ? 'DISK_FULL' : 'STATEMENT_FAILED';
    return problem(code, `${error.node}: ${error.message}`.slice(0, 500));
  }
  return problem('INTERNAL', message(error).slice(0, 500));
}

/** By Temporal: another attempt may do better, and a store that is away must not cost a recovery. */
const RETRIED: ReadonlySet<ErrorCode> = new Set(['STALE_ATTEMPT', 'PLAN_UNAVAILABLE']);

export function toFailure(error: unknown): Error {
  if (error instanceof ApplicationFailure) return error;
  // Temporal's own cancellation must reach the SDK as it is.
  if (error instanceof Error && (error.name === 'CancelledFailure' || error.name === 'AbortError')) return error;
  const found = toProblem(error);
  return ApplicationFailure.create({
    type: found.code,
    message: found.message,
    nonRetryable: !RETRIED.has(found.code) && (found.code !== 'INTERNAL' || activityInfo().attempt >= 3),
    details: [found],
    cause: error instanceof Error ? error : undefined,
  });
}

export function exitCodeOf(code: ErrorCode): number {
  return ERRORS[code].exitCode;
}
