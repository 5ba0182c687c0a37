import { problem, RecoveryError, type Problem } from '../../domain/errors.js';
import type { Progress } from '../../domain/messages.js';
import type { FoundRun, RecoveryService } from '../../service/recoveries.js';
import { toRecoveryError } from '../../service/recoveries.js';

/** Ids hold what people type, percent signs among it. */
export function urlOf(id: string): string {
  return `/v1/recoveries/${encodeURIComponent(id)}`;
}

export function viewOf({ id, runId, request, status, startedAt, closedAt }: FoundRun) {
  return {
    id,
    runId,
    cluster: request?.cluster ?? null,
    incident: request?.incident ?? null,
    status,
    startedAt,
    closedAt,
    url: urlOf(id),
  };
}

/** Its progress, or why nobody can tell: no worker answers, or the run failed without a report. */
export async function stateOf(
  recoveries: RecoveryService,
  id: string,
): Promise<{ progress: Progress | null; problem: Problem | null }> {
  try {
    const progress = await recoveries.progress(id);
    return { progress, problem: progress.problem };
  } catch (error) {
    const found = toRecoveryError(error);
    if (!(found instanceof RecoveryError)) throw found;
    const { field, objects } = found.details;
    return { progress: null, problem: problem(found.code, found.message, { field, objects }) };
  }
}
