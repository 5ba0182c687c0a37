import { ERRORS, problem, RecoveryError, type Problem } from '../../domain/errors.js';
import { printable, printableBlock } from '../../domain/render-plan.js';
import type { Report } from '../../domain/report.js';

export type ExitCode = 0 | 1 | 2 | 3;

export interface Streams {
  out: (text: string) => void;
  err: (text: string) => void;
  isTty: boolean;
  /** Columns and rows of the terminal. @default 80 × 24 */
  size?: () => { columns: number; rows: number };
  /** Calls `say` on Ctrl-C and ends the process; returns what takes that back. @default does nothing */
  onInterrupt?: (say: () => void) => () => void;
}

/** 128 + SIGINT, as shells have it: whoever stops watching has not seen a recovery succeed. */
const INTERRUPTED = 130;

export const processStreams: Streams = {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  isTty: process.stdout.isTTY === true && process.env['TERM'] !== 'dumb',
  size: () => ({ columns: process.stdout.columns ?? 80, rows: process.stdout.rows ?? 24 }),
  onInterrupt: (say) => {
    const end = () => {
      say();
      process.exit(INTERRUPTED);
    };
    process.once('SIGINT', end);
    return () => void process.off('SIGINT', end);
  },
};

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

/** Lines for people; each line is made safe for a terminal. */
export function printLines(streams: Streams, lines: string[]): void {
  streams.out(lines.map((line) => `${printable(line)}\n`).join(''));
}

/** The result as JSON, the only thing on stdout. */
export function printJson(streams: Streams, value: unknown, indent?: number): void {
  streams.out(`${printableBlock(JSON.stringify(value, null, indent))}\n`);
}

export function problemOf(error: unknown): Problem {
  if (error instanceof RecoveryError)
    return problem(error.code, error.message, { field: error.details.field, objects: error.details.objects });
  return problem('INTERNAL', (error instanceof Error ? error.message : String(error)).slice(0, 500));
}

/** One line for people on stderr, the problem as JSON on stdout where asked for; the exit code of the error table. */
export function fail(error: unknown, { json, streams }: { json: boolean; streams: Streams }): ExitCode {
  if (process.env['CH_RECOVER_DEBUG'] !== undefined && error instanceof Error) streams.err(`${error.stack ?? ''}\n`);
  return failWith(problemOf(error), { json, streams });
}

export function failWith(found: Problem, { json, streams }: { json: boolean; streams: Streams }): ExitCode {
  if (json) printJson(streams, { error: found });
  const field = found.field === undefined || found.message.includes(found.field) ? '' : `${found.field}: `;
  streams.err(`${printable(`error: ${field}${found.message} (${found.code})`)}\n`);
  streams.err(`${printable(`hint: ${found.hint}`)}\n`);
  return ERRORS[found.code].exitCode;
}

/** For whoever waits for a run that nobody works on for now. */
export function silenceLines(reason: RecoveryError): string[] {
  return [`still waiting: ${reason.message} (${reason.code})`, `hint: ${reason.hint}`];
}

/** A word that a shell takes as it is: what we tell people to type can be pasted. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
