import { RecoveryError, type ErrorCode } from '../domain/errors.js';

export const damaged = (host: string, complaint: string, code: ErrorCode = 'COPY_DAMAGED') =>
  new RecoveryError(code, `${host}: ${complaint}`.slice(0, 500), { objects: [host] });

export const isFull = (error: unknown) => error instanceof RecoveryError && error.code === 'COPY_NO_SPACE';

/** Errors of the file system, by name: a full disk is a person's to solve, the rest says what it was. */
export async function withErrno<T>(host: string, failure: ErrorCode, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    const { code, syscall, path } = error as NodeJS.ErrnoException;
    if (error instanceof RecoveryError || typeof code !== 'string' || syscall === undefined) throw error;
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    throw new RecoveryError(
      full ? 'COPY_NO_SPACE' : failure,
      `${host}: ${full ? 'no space is left' : code} (${syscall}${path === undefined ? '' : ` ${path}`})`.slice(0, 500),
      { objects: [host] },
    );
  }
}
