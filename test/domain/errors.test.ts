import { describe, expect, it } from 'vitest';
import {
  ERRORS,
  isErrorCode,
  problem,
  RecoveryError,
  type ErrorCode,
  type ErrorEntry,
} from '../../src/domain/errors.js';

const entries = Object.entries(ERRORS) as [ErrorCode, ErrorEntry][];

describe('the error table', () => {
  it.each(entries)('%s', (code, entry) => {
    expect(code).toMatch(/^[A-Z][A-Z_]+$/);
    expect(entry.summary.length).toBeGreaterThan(10);
    expect(entry.hint.trim()).not.toBe('');
    expect(entry.summary).not.toBe(entry.hint);
    for (const text of [entry.summary, entry.hint]) {
      // House style: short lower-case text, no full stop.
      expect(text).not.toMatch(/[.\n]$/);
      expect(text.length).toBeLessThan(200);
    }
    // Who has to act: a person (3), whoever asked (2), nobody or the one who reads the log (1).
    expect(entry.exitCode).toBe(entry.outcome === 'needs-operator' ? 3 : entry.httpStatus < 500 ? 2 : 1);
    expect(entry.retryable).toBe([429, 503].includes(entry.httpStatus) || code === 'NOT_YET');
    expect([400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503]).toContain(entry.httpStatus);
  });

  it.each([
    'INPUT_INVALID',
    'TEMPORAL_UNAVAILABLE',
    'WORKER_UNAVAILABLE',
    'REPLICA_ACTIVE',
    'REPLICAS_DIVERGED',
    'DATA_LOST_NO_BACKUP',
    'STATEMENT_HUNG',
    'KEEPER_UNAVAILABLE',
    'FENCE_BYPASSED',
    'NO_PROGRESS',
  ])('keeps the code that others rely on: %s', (code) => {
    expect(isErrorCode(code)).toBe(true);
  });

  it.each(['', 'nope', 'constructor', '__proto__', 'toString', 5, null, undefined])('knows no code %j', (code) => {
    expect(isErrorCode(code)).toBe(false);
  });

  it('gives an error and a problem the hint of their code', () => {
    const error = new RecoveryError('DISK_FULL', 'no space', { objects: ['d'] });
    expect(error).toMatchObject({ name: 'RecoveryError', code: 'DISK_FULL', hint: ERRORS.DISK_FULL.hint });
    expect(problem('DISK_FULL', 'no space', { objects: ['d'] })).toEqual({
      ...{ code: 'DISK_FULL', message: 'no space', hint: ERRORS.DISK_FULL.hint, objects: ['d'] },
    });
  });
});
