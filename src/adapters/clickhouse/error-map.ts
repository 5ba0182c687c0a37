import { ClickHouseError } from '@clickhouse/client';
import { RecoveryError } from '../../domain/errors.js';
import { ServerError } from '../../ports.js';

/** AUTHENTICATION_FAILED, UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD. */
const CREDENTIALS_REFUSED = new Set([516, 192, 193, 194]);
const NOT_ENOUGH_SPACE = 243;
const MAX_MESSAGE = 500;

export interface ErrorContext {
  node: string;
  /** Texts that must not be in a message, such as the node's password: a server may echo what it was sent. */
  secrets?: readonly string[];
}

/** Turns whatever @clickhouse/client throws into an error of the contract in ports.ts. */
export function toNodeError(cause: unknown, context: ErrorContext): RecoveryError | ServerError {
  if (cause instanceof RecoveryError || cause instanceof ServerError) return cause;
  const answer = readAnswer(cause);
  if (answer) return fromAnswer(answer.code, tidyMessage(answer.message, context.secrets), context.node);
  // A defect of ours, or an answer that is no JSON: looking again would not help.
  if (cause instanceof TypeError || cause instanceof SyntaxError || cause instanceof RangeError)
    return new RecoveryError(
      'INTERNAL',
      `node ${context.node}: ${cause.name}: ${tidyMessage(cause.message, context.secrets)}`,
    );
  return unavailable(context.node, reasonOf(cause, context.secrets));
}

export function unavailable(node: string, reason: string): RecoveryError {
  return new RecoveryError('NODE_UNAVAILABLE', `node ${node}: ${reason}`, { objects: [node] });
}

function fromAnswer(code: number, message: string, node: string): RecoveryError | ServerError {
  const details = { objects: [node], serverCode: code };
  if (CREDENTIALS_REFUSED.has(code))
    return new RecoveryError('CREDENTIALS_REFUSED', `node ${node}: ${message}`, details);
  // A full disk is code 243 only where the server reserved the space first; else it is the errno of a failed write.
  if (code === NOT_ENOUGH_SPACE || message.includes('No space left on device'))
    return new RecoveryError('DISK_FULL', `node ${node}: ${message}`, details);
  return new ServerError(code, message, node);
}

/** The code and text of an exception that ClickHouse answered, or null when it is no answer of ClickHouse. */
function readAnswer(cause: unknown): { code: number; message: string } | null {
  if (cause instanceof ClickHouseError) return { code: Number(cause.code), message: cause.message };
  if (!(cause instanceof Error)) return null;
  // Servers before 20 or so do not end with the (NAME) of the error, which the client's own parser needs:
  // `Code: 36, e.displayText() = DB::Exception: Replica must be readonly, e.what() = DB::Exception`.
  const old = /^Code: (\d+)[.,]/.exec(cause.message);
  return old ? { code: Number(old[1]), message: cause.message.slice(old[0].length).trim() } : null;
}

/** One line of at most 500 characters, without stack traces, the server's version and secrets. */
export function tidyMessage(text: string, secrets: readonly string[] = []): string {
  let tidy = text;
  for (const secret of secrets) if (secret !== '') tidy = tidy.replaceAll(secret, '***');
  tidy = tidy
    .replace(/,? ?Stack trace[\s\S]*$/i, '')
    .replace(/,? e\.what\(\) = [\s\S]*$/, '')
    .replace(/^e\.displayText\(\) = /, '')
    .replace(/^(DB::)?Exception: /, '')
    .replace(/\/\/[^\s/@:]*:[^\s/@]*@/g, '//***@')
    .replace(/\s+/g, ' ')
    .trim();
  return tidy.length <= MAX_MESSAGE ? tidy : tidy.slice(0, MAX_MESSAGE - 1) + '…';
}

const REASONS: Record<string, string> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was lost before the answer came',
  EPIPE: 'the connection was lost before the answer came',
  ETIMEDOUT: 'the connection timed out',
  EHOSTUNREACH: 'there is no route to the host',
  ENETUNREACH: 'there is no route to the host',
  ENOTFOUND: 'the host name cannot be resolved',
  EAI_AGAIN: 'the host name cannot be resolved for now',
};

function reasonOf(cause: unknown, secrets: readonly string[] | undefined): string {
  const code = errnoOf(cause);
  if (code !== undefined && REASONS[code]) return `${REASONS[code]} (${code})`;
  // Codes are names (CERT_HAS_EXPIRED, HPE_INVALID_CONSTANT); the message beside them may hold an address.
  if (code !== undefined) return `the connection failed (${code})`;
  const message = cause instanceof Error ? cause.message : 'no answer';
  if (/socket hang up|aborted|premature close/i.test(message)) return 'the connection was lost before the answer came';
  if (/^timeout error/i.test(message)) return 'gave no answer in time';
  return `did not answer as ClickHouse does: ${tidyMessage(message, secrets).slice(0, 200)}`;
}

/** The errno of an error, or of the first of those a host with several addresses gave. */
export function errnoOf(cause: unknown): string | undefined {
  if (cause instanceof AggregateError && !('code' in cause && cause.code)) return errnoOf(cause.errors[0]);
  if (typeof cause !== 'object' || cause === null || !('code' in cause)) return undefined;
  return typeof cause.code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(cause.code) ? cause.code : undefined;
}
