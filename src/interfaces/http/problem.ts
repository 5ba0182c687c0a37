import { ERRORS, RecoveryError, type ErrorEntry, type Problem } from '../../domain/errors.js';
import { toRecoveryError } from '../../service/recoveries.js';

/** RFC 9457, with the code and hint of the error table. */
export interface ProblemDetails {
  type: string;
  title: string;
  status: number;
  detail: string;
  /** The request, as the log names it. */
  instance: string;
  code: Problem['code'];
  hint: string;
  retryable: boolean;
  field?: string;
  /** Names: of the run that is there already, of tables. */
  objects?: string[];
}

/** Anything thrown as one of the table. What is not ours says nothing of itself: it may hold anything. */
export function asRecoveryError(thrown: unknown): RecoveryError {
  const error = toRecoveryError(thrown);
  return error instanceof RecoveryError ? error : new RecoveryError('INTERNAL', 'see the log of `ch-recover api`');
}

export function problemDetails(error: RecoveryError, requestId: string): ProblemDetails {
  const entry: ErrorEntry = ERRORS[error.code];
  return {
    type: `urn:temporal-clickhouse-recovery:error:${error.code}`,
    title: entry.summary,
    status: entry.httpStatus,
    detail: error.message,
    instance: `urn:uuid:${requestId}`,
    code: error.code,
    hint: entry.hint,
    retryable: entry.retryable,
    ...(error.details.field === undefined ? {} : { field: error.details.field }),
    ...(error.details.objects === undefined ? {} : { objects: error.details.objects }),
  };
}
