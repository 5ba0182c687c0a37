import { describe, expect, it, vi } from 'vitest';
import { RecoveryError } from '../../../src/domain/errors.js';
import type { Progress } from '../../../src/domain/messages.js';
import type { FoundRun } from '../../../src/service/recoveries.js';
import { samplesOf, valueOf } from '../../support/prometheus.js';
import { api, foundRun, problemIn } from './bench.js';

const progress = (change: Partial<Progress>) =>
  ({ phase: 'executing', units: [], outcome: null, ...change }) as unknown as Progress;

/** A service with these runs, newest first. */
function serviceOf(runs: FoundRun[], asked: (id: string) => Promise<Progress>) {
  return {
    list: async ({ open, matches }: { open: boolean; matches: (run: FoundRun) => boolean }) =>
      runs.filter((run) => (!open || run.status === 'running') && matches(run)),
    progress: vi.fn(asked),
    workers: async () => 2,
  };
}

const units = (...states: string[]) => states.map((state) => ({ label: 'db.secret-looking', state, rows: 1 }));

describe('GET /metrics', () => {
  it.each([
    [undefined, 401, 'UNAUTHENTICATED'],
    ['viewer', 403, 'FORBIDDEN'],
    ['both', 403, 'FORBIDDEN'],
  ])('of all clusters, so not for %s', async (as, status, code) => {
    const { ask, calls } = api(serviceOf([], async () => progress({})));
    const answer = await ask('/metrics', { as });
    expect([answer.status, problemIn(answer.text).code, calls]).toEqual([status, code, []]);
  });

  it('says what runs by phase, its tables by state, what ended by outcome, and no name but the cluster’s', async () => {
    const runs = [
      foundRun({ id: 'a', runId: '1' }),
      foundRun({ id: 'b', runId: '2', request: { cluster: 'test' } }),
      foundRun({ id: 'c', runId: '3', request: { cluster: 'typed-into-the-ui' } }),
      foundRun({ id: 'd', runId: '4', status: 'completed' }),
      // The run of before, under an id that was used again: who asks for it is told of the other.
      foundRun({ id: 'd', runId: '5', status: 'completed' }),
      foundRun({ id: 'e', runId: '6', status: 'terminated', request: null }),
    ];
    const service = serviceOf(runs, async (id) => {
      if (id === 'a') return progress({ units: units('waiting', 'done', 'done') as Progress['units'] });
      if (id === 'd') return progress({ phase: 'closed', outcome: 'needs-operator' });
      throw new RecoveryError('WORKER_UNAVAILABLE', 'no worker polls');
    });
    const { ask } = api(service);
    await ask('/nowhere/secret-looking');
    const { status, text, headers } = await ask('/metrics', { as: 'root' });
    expect([status, headers.get('content-type')]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    const value = (name: string, labels = {}) => valueOf(text, `ch_recover_${name}`, labels);
    expect(value('recoveries_open', { cluster: 'prod', phase: 'executing' })).toBe(1);
    expect(value('recoveries_open', { cluster: 'test', phase: 'unknown' })).toBe(1);
    expect(value('recoveries_open', { cluster: 'other', phase: 'unknown' })).toBe(1);
    expect(value('tables_open', { cluster: 'prod', state: 'done' })).toBe(2);
    expect(samplesOf(text).filter(({ name }) => name === 'ch_recover_recoveries_closed')).toHaveLength(2);
    expect(value('recoveries_closed', { cluster: 'prod', outcome: 'needs-operator' })).toBe(1);
    expect(value('recoveries_closed', { cluster: 'other', outcome: 'terminated' })).toBe(1);
    expect([value('workers'), value('temporal_up')]).toEqual([2, 1]);
    expect(value('http_requests_total', { route: '/*', status: '404' })).toBe(1);
    expect(text).not.toMatch(/secret-looking|typed-into/);
  });

  it('asks Temporal once for all who scrape', async () => {
    const service = serviceOf([foundRun({ status: 'completed' })], async () => progress({ outcome: 'succeeded' }));
    const { ask } = api(service);
    for (let i = 0; i < 3; i++) await ask('/metrics', { as: 'root' });
    expect(service.progress).toHaveBeenCalledTimes(1);
  });

  it('says that Temporal is away, and nothing else of it', async () => {
    const down = async () => Promise.reject(new RecoveryError('TEMPORAL_UNAVAILABLE', 'away'));
    const { ask } = api({ list: down, workers: async () => null });
    const { status, text } = await ask('/metrics', { as: 'root' });
    expect(status).toBe(200);
    expect(valueOf(text, 'ch_recover_temporal_up')).toBe(0);
    const told = samplesOf(text).map(({ name }) => name);
    for (const name of ['workers', 'recoveries_open', 'tables_open', 'recoveries_closed'])
      expect(told).not.toContain(`ch_recover_${name}`);
  });
});
