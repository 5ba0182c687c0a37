/**
 * An error as ClickHouse's HTTP interface reports it: a code, a status, one line of text. Pure.
 */

/** Codes that the interface itself raises; all others come from the engine. */
export const CODES = {
  badArguments: { code: 36, name: 'BAD_ARGUMENTS' },
  syntaxError: { code: 62, name: 'SYNTAX_ERROR' },
  unknownSetting: { code: 115, name: 'UNKNOWN_SETTING' },
  readonly: { code: 164, name: 'READONLY' },
  sameQueryId: { code: 216, name: 'QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING' },
  unknownParameter: { code: 456, name: 'UNKNOWN_QUERY_PARAMETER' },
  authentication: { code: 516, name: 'AUTHENTICATION_FAILED' },
} as const;

/** An error with a ClickHouse code. */
export class EngineError extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
    this.name = 'EngineError';
  }
}

/** Makes an error of the interface in ClickHouse's own wording: `Code: N. DB::Exception: … (NAME)`. */
export function raise(kind: keyof typeof CODES, message: string): EngineError {
  const { code, name } = CODES[kind];
  return new EngineError(code, `Code: ${code}. DB::Exception: ${message}. (${name})`);
}

/** Turns whatever the engine threw into an `EngineError`; 1002 (UNKNOWN_EXCEPTION) without a code. */
export function toEngineError(cause: unknown): EngineError {
  if (cause instanceof EngineError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause);
  const code = /^\s*Code: (\d+)/.exec(message)?.[1];
  if (code !== undefined) return new EngineError(Number(code), message.trim());
  return new EngineError(1002, `Code: 1002. DB::Exception: ${message} (UNKNOWN_EXCEPTION)`);
}

// The subset of ClickHouse's exceptionCodeToHTTPStatus that callers can tell apart.
const STATUS = new Map<number, number>([
  ...[6, 26, 27, 38, 41, 53, 62, 69, 70, 72, 386, 456, 457].map((code): [number, number] => [code, 400]),
  ...[46, 47, 50, 56, 60, 63, 67, 73, 81, 115, 137, 336].map((code): [number, number] => [code, 404]),
  ...[192, 193, 516].map((code): [number, number] => [code, 403]),
  [194, 401],
  [48, 501],
]);

/** HTTP status for a ClickHouse error code; 500 unless ClickHouse maps it to another. */
export function httpStatus(code: number): number {
  return STATUS.get(code) ?? 500;
}
