import { RecoveryError } from '../../domain/errors.js';
import type { PieceStore } from '../../ports.js';
import type { Documents } from './documents.js';

/** A piece has some hundred KiB. Whoever waits for it tries again. */
const SAVE_TIMEOUT_MS = 15_000;

/** What is too large for a history, beside the reports. Every trouble with the place is PLAN_UNAVAILABLE, which is waited for. */
export function createPieceStore({ put, get }: Documents): PieceStore {
  const orUnavailable = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      const { code = 'error', message = '' } = error as NodeJS.ErrnoException;
      // Texts of the file system may be of any length; what a person needs is the path and the code.
      const why = error instanceof RecoveryError ? message : `the report store (${code})`;
      throw new RecoveryError('PLAN_UNAVAILABLE', why.slice(0, 500));
    }
  };
  return {
    put: (name, text) =>
      orUnavailable(put({ name, contentType: 'application/json', text }, SAVE_TIMEOUT_MS).then(() => undefined)),
    get: (name) => orUnavailable(get(name)),
  };
}
