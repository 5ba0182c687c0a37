import { ServiceError, WorkflowFailedError, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure, RetryState } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { problem } from '../../src/domain/errors.js';
import type { Report } from '../../src/domain/report.js';
import { progressOfReport } from '../../src/service/progress-of-report.js';
import { toRecoveryError } from '../../src/service/temporal-errors.js';

const grpc = (code: number) => Object.assign(new Error('rpc'), { code, details: 'd', metadata: {} });
const failedOn = (cause: Error) => new WorkflowFailedError('failed', cause, RetryState.NON_RETRYABLE_FAILURE);
const failure = (type: string, details: unknown[]) =>
  ApplicationFailure.create({ type, message: 'm', nonRetryable: true, details });

describe('toRecoveryError', () => {
  it.each<[name: string, error: unknown, expected: object]>([
    [
      'bad input that failed the run: the problem in its details',
      failedOn(failure('INPUT_INVALID', [problem('INPUT_INVALID', 'cluster is empty', { field: 'cluster' })])),
      { code: 'INPUT_INVALID', message: 'cluster is empty', details: { field: 'cluster' } },
    ],
    ['a failure with our code and no details', failedOn(failure('BACKUP_FAILED', [])), { code: 'BACKUP_FAILED' }],
    ['a failure with a code of somebody else', failedOn(failure('toString', [])), { code: 'INTERNAL' }],
    [
      'a rejected approval',
      new WorkflowUpdateFailedError('rejected', failure('PLAN_STALE', [problem('PLAN_STALE', 'not it')])),
      { code: 'PLAN_STALE', message: 'not it' },
    ],
    ['cancelled', failedOn(new CancelledFailure('c')), { code: 'REJECTED', message: /cancelled .* unfence/ }],
    [
      'unavailable, wrapped by the client',
      new ServiceError('x', { cause: grpc(14) }),
      { code: 'TEMPORAL_UNAVAILABLE' },
    ],
    ['unavailable, bare', grpc(14), { code: 'TEMPORAL_UNAVAILABLE' }],
    ['refused credentials', new ServiceError('x', { cause: grpc(16) }), { code: 'CREDENTIALS_REFUSED' }],
  ])('%s', (_name, error, expected) => {
    const found = toRecoveryError(error);
    const { message, ...rest } = expected as { message?: string | RegExp };
    expect(found).toMatchObject(rest);
    if (message !== undefined) expect((found as Error).message).toMatch(message);
  });

  it('leaves what it does not know as it is', () => {
    const error = new Error('x');
    expect(toRecoveryError(error)).toBe(error);
    const wrapped = new ServiceError('x', { cause: grpc(3) });
    expect(toRecoveryError(wrapped)).toBe(wrapped);
  });
});

describe('progressOfReport', () => {
  it('has the units that the workflow had, under the same labels', () => {
    const lost = problem('PART_BROKEN', 'all_1_1_0');
    const table = { database: 'd', shard: '01', replica: 'r1', action: 'restore-replica', rowsFound: 5 };
    const report = {
      recoveryId: 'r',
      cluster: 'c',
      outcome: 'failed',
      problem: lost,
      plan: { hash: '', approvedBy: '' },
      stages: [],
      tables: [
        { ...table, table: 'a', outcome: 'recovered' },
        { ...table, table: 'b', outcome: 'failed', problem: lost, rowsFound: null },
        { ...table, table: 'c', outcome: 'unchanged', action: 'none' },
      ],
    } as unknown as Report;
    expect(progressOfReport(report)).toEqual({
      recoveryId: 'r',
      cluster: 'c',
      phase: 'closed',
      planHash: null,
      stages: [],
      units: [
        { label: 'd.a @ 01/r1', state: 'done', rows: 5 },
        { label: 'd.b @ 01/r1', state: 'failed', rows: null, problem: lost },
      ],
      paused: false,
      outcome: 'failed',
      problem: lost,
    });
  });
});
