import { describe, expect, it, vi } from 'vitest';
import { RecoveryError, type ErrorCode } from '../../src/domain/errors.js';
import type { Plan } from '../../src/domain/plan.js';
import { planTextOf, storedUnlessKnown } from '../../src/service/archive.js';
import { reportOf } from '../domain/reports.js';

const HASH = 'f'.repeat(64);
const stored = reportOf();

describe('the stored report', () => {
  const failing = (code: ErrorCode) => () => Promise.reject(new RecoveryError(code, 'x'));

  it('is the answer where Temporal does not know the run', async () => {
    const load = vi.fn(async () => stored);
    expect(await storedUnlessKnown(failing('WORKFLOW_UNKNOWN'), async () => ({ load }), 'r-1')).toBe(stored);
    expect(load.mock.calls).toEqual([['r-1']]);
  });

  it.each<ErrorCode>(['TEMPORAL_UNAVAILABLE', 'NOT_YET', 'RECOVERY_ENDED', 'INTERNAL'])(
    'is not asked for on %s: the id may have another run by now',
    async (code) => {
      const archive = vi.fn();
      await expect(storedUnlessKnown(failing(code), archive, 'r-1')).rejects.toMatchObject({ code });
      expect(archive).not.toHaveBeenCalled();
    },
  );

  it.each<[string, () => Promise<{ load: () => Promise<null> }>]>([
    ['none', async () => ({ load: async () => null })],
    ['a store that is away', async () => ({ load: failing('REPORTS_UNAVAILABLE') })],
    ['no configuration', failing('CONFIG_NOT_FOUND')],
  ])('%s: then nobody knows the id', async (_name, archive) => {
    await expect(storedUnlessKnown(failing('WORKFLOW_UNKNOWN'), archive, 'r-1')).rejects.toMatchObject({
      code: 'WORKFLOW_UNKNOWN',
    });
  });
});

describe('the text of a plan', () => {
  const plan = (hash: string): Plan => ({
    ...{ cluster: 'prod', hash, backup: null, nodes: [], items: [] },
    ...{ keeperState: [], warnings: [], refusals: [] },
  });
  const empty = async () => ({ plan: async () => null });

  it.each<[string, Parameters<typeof planTextOf>[1]['plan'], Parameters<typeof planTextOf>[2], RegExp | null]>([
    ['stored', () => Promise.reject(new Error('asked')), async () => ({ plan: async () => 'SQL' }), /^SQL$/],
    ['from the workflow', async () => plan(HASH), empty, /^cluster prod, plan f+\n/],
    ['of another plan', async () => plan('0'.repeat(64)), empty, null],
    ['nobody answers', () => Promise.reject(new RecoveryError('WORKER_UNAVAILABLE', 'x')), empty, null],
    ['no store', async () => plan(HASH), () => Promise.reject(new Error('x')), /^cluster prod/],
  ])('%s', async (_name, ask, archive, expected) => {
    const text = await planTextOf(stored, { plan: ask }, archive);
    if (expected === null) expect(text).toBeNull();
    else expect(text).toMatch(expected);
  });
});
