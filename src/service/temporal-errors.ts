import {
  isGrpcServiceError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import {
  ApplicationFailure,
  CancelledFailure,
  NamespaceNotFoundError,
  TerminatedFailure,
  TimeoutFailure,
} from '@temporalio/common';
import { isErrorCode, problem, RecoveryError, type Problem } from '../domain/errors.js';

/** gRPC status codes that mean something to a person. */
const GRPC = { deadlineExceeded: 4, notFound: 5, permissionDenied: 7, unavailable: 14, unauthenticated: 16 } as const;

/** Temporal's errors as ours. A run that failed on bad input carries the problem in its failure. */
export function toRecoveryError(error: unknown): unknown {
  if (error instanceof RecoveryError) return error;
  if (error instanceof WorkflowNotFoundError) return new RecoveryError('WORKFLOW_UNKNOWN', 'there is no such workflow');
  if (error instanceof NamespaceNotFoundError)
    return new RecoveryError('CONFIG_INVALID', `the Temporal server has no namespace ${error.namespace}`, {
      field: 'TEMPORAL_NAMESPACE',
    });
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return noWorker();
  if (error instanceof WorkflowUpdateFailedError || error instanceof WorkflowFailedError) {
    const found = problemIn(error.cause);
    return new RecoveryError(found.code, found.message, { field: found.field, objects: found.objects });
  }
  // The client wraps most gRPC errors in a ServiceError of its own, which says nothing by itself.
  const grpc = isGrpcServiceError(error) ? error : error instanceof Error ? error.cause : undefined;
  return isGrpcServiceError(grpc) ? fromGrpc(Number(grpc.code), grpc.details, error) : error;
}

function fromGrpc(code: number, details: string, otherwise: unknown): unknown {
  switch (code) {
    case GRPC.notFound:
      return new RecoveryError('WORKFLOW_UNKNOWN', 'there is no such workflow');
    case GRPC.unavailable:
    case GRPC.deadlineExceeded:
      return new RecoveryError('TEMPORAL_UNAVAILABLE', `Temporal does not answer: ${details.slice(0, 200)}`);
    case GRPC.permissionDenied:
    case GRPC.unauthenticated:
      return new RecoveryError('CREDENTIALS_REFUSED', `Temporal refuses the credentials: ${details.slice(0, 200)}`);
    default:
      return otherwise;
  }
}

/** A query or an update reached Temporal, and no worker took it. */
export function noWorker(message = 'no worker answers'): RecoveryError {
  return new RecoveryError('WORKER_UNAVAILABLE', message);
}

function problemIn(cause: unknown): Problem {
  if (cause instanceof ApplicationFailure) {
    const [detail] = cause.details ?? [];
    if (typeof detail === 'object' && detail !== null && 'code' in detail && isErrorCode(detail.code))
      return detail as Problem;
    return problem(isErrorCode(cause.type) ? cause.type : 'INTERNAL', cause.message);
  }
  // Ended from outside: the workflow could not clean up, so whoever reads this has to.
  if (cause instanceof TerminatedFailure) return problem('REJECTED', endedFromOutside('was terminated'));
  if (cause instanceof CancelledFailure) return problem('REJECTED', endedFromOutside('was cancelled'));
  if (cause instanceof TimeoutFailure) return problem('REJECTED', endedFromOutside('timed out'));
  return problem('INTERNAL', cause instanceof Error ? cause.message : 'the workflow failed');
}

function endedFromOutside(how: string): string {
  return `the workflow ${how} before it could clean up: the fence may be up, \`ch-recover unfence --cluster NAME\` lifts it`;
}

export async function translated<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toRecoveryError(error);
  }
}
