import { describe, expect, it, vi } from 'vitest';
import { RecoveryError } from '../../../src/domain/errors.js';
import { api, problemIn } from './bench.js';

const STARTED = { id: 'drill-1', runId: 'run-1', started: true, taskQueue: 'q', workers: 1 };
const body = { cluster: 'prod' };

describe('POST /v1/drills', () => {
  it.each(['driller', 'bot'])('%s may start one', async (as) => {
    const start = vi.fn(async () => STARTED);
    const { status, headers, text } = await api({}, { drills: { start } }).ask('/v1/drills', { as, body });
    expect([status, headers.get('location'), JSON.parse(text)]).toEqual([
      202,
      '/v1/drills?cluster=prod',
      { id: 'drill-1', runId: 'run-1', started: true, workers: 1, url: '/v1/drills?cluster=prod' },
    ]);
    expect(start).toHaveBeenCalledWith(body, 'q', undefined);
  });

  it('a key stands for one drill of this token', async () => {
    const start = vi.fn(async () => ({ ...STARTED, started: false }));
    const headers = { 'idempotency-key': 'k' };
    const answer = await api({}, { drills: { start } }).ask('/v1/drills', { as: 'driller', body, headers });
    expect([answer.status, start.mock.calls]).toEqual([200, [[body, 'q', { owner: 'driller', key: 'k' }]]]);
  });

  it.each<[name: string, as: string | undefined, sent: unknown, status: number, code: string]>([
    ['nobody', undefined, body, 401, 'UNAUTHENTICATED'],
    ['a viewer', 'viewer', body, 403, 'FORBIDDEN'],
    ['an approver', 'ann', body, 403, 'FORBIDDEN'],
    ['another cluster', 'driller', { cluster: 'test' }, 404, 'CLUSTER_UNKNOWN'],
    ['the view of a drill', 'driller', { cluster: 'prod@scratch' }, 404, 'CLUSTER_UNKNOWN'],
    ['a target of its own', 'driller', { cluster: 'prod', target: 'prod' }, 400, 'INPUT_INVALID'],
    ['no cluster', 'driller', {}, 400, 'INPUT_INVALID'],
  ])('%s: refused, and nothing is started', async (_name, as, sent, status, code) => {
    const answer = await api({}, { drills: {} }).ask('/v1/drills', { as, body: sent });
    expect([answer.status, problemIn(answer.text).code]).toEqual([status, code]);
  });

  it('a drill-runner starts no recovery', async () => {
    const answer = await api().ask('/v1/recoveries', { as: 'driller', body });
    expect([answer.status, problemIn(answer.text).code]).toEqual([403, 'FORBIDDEN']);
  });

  it('another request with the same key is a conflict', async () => {
    const start = () => Promise.reject(new RecoveryError('REQUEST_CONFLICT', 'other'));
    const answer = await api({}, { drills: { start } }).ask('/v1/drills', { as: 'driller', body });
    expect(answer.status).toBe(409);
  });
});

describe('GET /v1/drills', () => {
  it('everybody reads the reports of their clusters', async () => {
    const drillHistory = vi.fn(async () => []);
    const { ask } = api({}, { drillHistory });
    expect((await ask('/v1/drills?cluster=prod&limit=3', { as: 'viewer' })).text).toBe('{"drills":[]}');
    expect(drillHistory).toHaveBeenCalledWith('prod', 3);
    expect((await ask('/v1/drills?cluster=test', { as: 'viewer' })).status).toBe(404);
    expect((await ask('/v1/drills', { as: 'viewer' })).status).toBe(400);
  });
});
