import { ERRORS, problem, RecoveryError, type Problem } from '../../domain/errors.js';
import { printable } from '../../domain/render-plan.js';
import type { Report } from '../../domain/report.js';

export type ExitCode = 0 | 1 | 2 | 3;

export interface Streams {
  out: (text: string) => void;
  err: (text: string) => void;
  isTty: boolean;
}

export function exitCodeOf(outcome: Report['outcome']): ExitCode {
  switch (outcome) {
    case 'succeeded':
    case 'nothing-to-do':
      return 0;
    case 'needs-operator':
      return 3;
    case 'failed':
    case 'aborted':
      return 1;
  }
}

export function problemOf(error: unknown): Problem {
  if (error instanceof RecoveryError)
    return problem(error.code, error.message, { field: error.details.field, objects: error.details.objects });
  return problem('INTERNAL', error instanceof Error ? error.message : String(error));
}

/** One line for people on stderr, the problem as JSON on stdout where asked for; the exit code of the error table. */
export function fail(error: unknown, { json, streams }: { json: boolean; streams: Streams }): ExitCode {
  const found = problemOf(error);
  if (json) streams.out(JSON.stringify({ error: found }) + '\n');
  streams.err(
    `error: ${printable(found.message)} (${found.code})${found.field === undefined ? '' : `, field ${printable(found.field)}`}\n`,
  );
  streams.err(`hint: ${printable(found.hint)}\n`);
  if (process.env['CH_RECOVER_DEBUG'] !== undefined && error instanceof Error) streams.err(`${error.stack ?? ''}\n`);
  return ERRORS[found.code].exitCode;
}
