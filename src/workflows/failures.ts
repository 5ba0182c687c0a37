import { ActivityFailure, ApplicationFailure, ChildWorkflowFailure, isCancellation } from '@temporalio/workflow';
import { ERRORS, isErrorCode, problem, RecoveryError, type Problem } from '../domain/errors.js';

/** What went wrong, as an entry of the error table. */
export function problemOf(error: unknown): Problem {
  if (error instanceof RecoveryError)
    return problem(error.code, error.message, { field: error.details.field, objects: error.details.objects });
  const cause = error instanceof ActivityFailure || error instanceof ChildWorkflowFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure) {
    const [detail] = cause.details ?? [];
    if (isProblem(detail)) return detail;
    return problem(isErrorCode(cause.type) ? cause.type : 'INTERNAL', cause.message);
  }
  if (isCancellation(error)) return problem('REJECTED', 'the recovery was cancelled');
  return problem('INTERNAL', cause instanceof Error ? cause.message.slice(0, 500) : 'unknown error');
}

function isProblem(value: unknown): value is Problem {
  return typeof value === 'object' && value !== null && 'code' in value && isErrorCode(value.code);
}

/** A plain Error would be retried for ever: this one fails the run, with the code as its type. */
export function asFailure(found: Problem): ApplicationFailure {
  return ApplicationFailure.create({
    type: found.code,
    message: `${found.message} — ${found.hint}`,
    nonRetryable: true,
    details: [found],
  });
}

/** Bad input fails the run at once; anything else becomes a report. */
export function isBadInput(found: Problem): boolean {
  return ERRORS[found.code].exitCode === 2;
}
