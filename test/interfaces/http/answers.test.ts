import { describe, expect, it, vi } from 'vitest';
import { problem, RecoveryError } from '../../../src/domain/errors.js';
import type { Progress } from '../../../src/domain/messages.js';
import type { Report } from '../../../src/domain/report.js';
import { reportOf } from '../../domain/reports.js';
import { api, foundRun, HASH, problemIn } from './bench.js';

const plan = {
  cluster: 'prod',
  hash: HASH,
  backup: null,
  nodes: [],
  items: [],
  keeperState: [],
  warnings: [],
  refusals: [],
};
const progress = (change: Partial<Progress> = {}): Progress => ({
  recoveryId: 'r-1',
  cluster: 'prod',
  phase: 'waiting-for-approval',
  planHash: HASH,
  stages: [],
  units: [],
  paused: false,
  outcome: null,
  problem: null,
  ...change,
});
const report = { recoveryId: 'r-1', cluster: 'prod', outcome: 'succeeded' } as Report;
const completed = async () => foundRun({ status: 'completed', closedAt: '2026-11-24T10:01:00.000Z' });

describe('starting', () => {
  const body = { cluster: 'prod', backup: 'latest', incident: 'INC 1/ü' };
  const id = 'recover-prod-incident-INC%201%2F%C3%BC';
  const start = (started: boolean) => vi.fn(async () => ({ id, runId: 'x', started, taskQueue: 'q', workers: 0 }));
  const url = '/v1/recoveries/recover-prod-incident-INC%25201%252F%25C3%25BC';

  it('answers 202 with where it is; a repeat, 200', async () => {
    for (const [started, status] of [
      [true, 202],
      [false, 200],
    ] as const) {
      const startOnce = start(started);
      const answer = await api({ startOnce }).ask('/v1/recoveries', { as: 'bot', body });
      expect(answer.status).toBe(status);
      expect(answer.headers.get('location')).toBe(url);
      expect(JSON.parse(answer.text)).toEqual({ id, runId: 'x', started, workers: 0, url });
      expect(startOnce.mock.calls).toEqual([[body, 'q', undefined]]);
    }
  });

  it('its address finds it again, percent signs and all', async () => {
    const find = vi.fn(async (found: string) => foundRun({ id: found }));
    const { ask } = api({ find, progress: async () => progress() });
    expect(JSON.parse((await ask(url, { as: 'bot' })).text)).toMatchObject({ id, url });
    expect(find.mock.calls[0]).toEqual([id]);
    const odd = 'clickhouse/a b?c#d&%';
    await ask(`/v1/recoveries/${encodeURIComponent(odd)}`, { as: 'bot' });
    expect(find.mock.lastCall).toEqual([odd]);
  });

  it('a key belongs to its token', async () => {
    const startOnce = start(true);
    await api({ startOnce }).ask('/v1/recoveries', { as: 'bot', body, headers: { 'idempotency-key': 'k1' } });
    expect(startOnce.mock.lastCall).toEqual([body, 'q', { owner: 'bot', key: 'k1' }]);
  });

  it.each([{ approval: 'auto' }, { approve: HASH }])('who may approve may do so in advance: %j', async (extra) => {
    const startOnce = start(true);
    const answer = await api({ startOnce }).ask('/v1/recoveries', { as: 'both', body: { ...body, ...extra } });
    expect(answer.status).toBe(202);
  });
});

describe('reading', () => {
  it('lists what the token may see', async () => {
    const runs = [foundRun(), foundRun({ id: 'r-2', request: { cluster: 'test' } }), foundRun({ request: null })];
    const list = vi.fn(async ({ matches }: { matches: (run: (typeof runs)[0]) => boolean }) => runs.filter(matches));
    const { ask } = api({ list });
    const ids = async (as: string, query = '') =>
      (
        JSON.parse((await ask(`/v1/recoveries${query}`, { as })).text) as { recoveries: { id: string }[] }
      ).recoveries.map((run) => run.id);
    expect(await ids('viewer')).toEqual(['r-1']);
    expect(await ids('stranger')).toEqual(['r-2']);
    expect(await ids('root')).toEqual(['r-1', 'r-2', 'r-1']);
    expect(await ids('root', '?cluster=test&status=running&limit=7')).toEqual(['r-2']);
    expect(list.mock.lastCall).toEqual([expect.objectContaining({ open: true, limit: 7 })]);
  });

  it('state: the progress, or why there is none', async () => {
    const { ask } = api({ progress: async () => progress() });
    expect(JSON.parse((await ask('/v1/recoveries/r-1', { as: 'viewer' })).text)).toMatchObject({
      ...{ id: 'r-1', cluster: 'prod', status: 'running', problem: null },
      progress: { phase: 'waiting-for-approval', planHash: HASH },
    });
    const away = api({ progress: () => Promise.reject(new RecoveryError('WORKER_UNAVAILABLE', 'nobody')) });
    const answer = await away.ask('/v1/recoveries/r-1', { as: 'viewer' });
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.text)).toMatchObject({
      progress: null,
      problem: problem('WORKER_UNAVAILABLE', 'nobody'),
    });
  });

  it('plan: JSON, text, or not yet', async () => {
    const { ask } = api({ plan: async () => plan });
    expect(JSON.parse((await ask('/v1/recoveries/r-1/plan', { as: 'viewer' })).text)).toEqual(plan);
    const text = await ask('/v1/recoveries/r-1/plan', { as: 'viewer', headers: { accept: 'text/plain' } });
    expect(text.headers.get('content-type')).toMatch(/^text\/plain/);
    expect(text.text).toContain(HASH);
    const early = await api({ plan: async () => null }).ask('/v1/recoveries/r-1/plan', { as: 'viewer' });
    expect(problemIn(early.text)).toMatchObject({ code: 'NOT_YET', status: 409, retryable: true });
  });

  it.each([
    [undefined, 'application/json', JSON.stringify(report)],
    ['*/*', 'application/json', JSON.stringify(report)],
    ['text/html;q=0.8, text/markdown;q=0.9', 'text/markdown', '# prod: succeeded'],
    ['text/html,application/xhtml+xml,*/*;q=0.8', 'text/html', '<!doctype html>'],
  ])('report for Accept %s is %s', async (accept, type, begin) => {
    const complete = type === 'application/json' ? report : reportOf();
    const { ask } = api({ find: completed, report: async () => complete, plan: async () => plan });
    const answer = await ask('/v1/recoveries/r-1/report', { as: 'viewer', headers: accept ? { accept } : {} });
    expect(answer.headers.get('content-type')).toBe(`${type}; charset=utf-8`);
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(answer.text.startsWith(begin)).toBe(true);
  });

  it('report of one that Temporal has forgotten: the stored one, for those who may see its cluster', async () => {
    const load = async (id: string) => (id.startsWith('old') ? reportOf({ recoveryId: id, cluster: 'prod' }) : null);
    const { ask } = api({}, { reports: { load, plan: async () => 'SYSTEM RESTORE REPLICA `a`.`b`' } });
    const page = await ask('/v1/recoveries/old-1/report', { as: 'viewer', headers: { accept: 'text/html' } });
    expect(page.status).toBe(200);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(page.text).toContain('SYSTEM RESTORE REPLICA &#96;a&#96;');
    const [hidden, absent] = await Promise.all([
      ask('/v1/recoveries/old-1/report', { as: 'stranger' }),
      ask('/v1/recoveries/new-1/report', { as: 'stranger' }),
    ]);
    expect([hidden.status, absent.status]).toEqual([404, 404]);
    const same = (text: string) => ({ ...problemIn(text), instance: '', detail: problemIn(text).detail.slice(0, 27) });
    expect(same(hidden.text)).toEqual(same(absent.text));
  });

  it('report of one that runs, and of one that failed without', async () => {
    const running = await api().ask('/v1/recoveries/r-1/report', { as: 'viewer' });
    expect(problemIn(running.text).code).toBe('NOT_YET');
    const failed = await api({
      find: async () => foundRun({ status: 'terminated' }),
      progress: () => Promise.reject(new RecoveryError('REJECTED', 'was terminated')),
    }).ask('/v1/recoveries/r-1/report', { as: 'viewer' });
    expect(problemIn(failed.text)).toMatchObject({ code: 'RECOVERY_ENDED', status: 409 });
    expect(problemIn(failed.text).detail).toContain('was terminated');
  });
});

describe('deciding', () => {
  it('the name of the token is who approves', async () => {
    const approve = vi.fn(async () => 'approved by ann');
    const { ask } = api({ approve });
    const answer = await ask('/v1/recoveries/r-1/approve', { as: 'ann', body: { planHash: HASH } });
    expect(JSON.parse(answer.text)).toEqual({ id: 'r-1', planHash: HASH, by: 'ann' });
    expect(approve.mock.calls).toEqual([['r-1', { planHash: HASH, by: 'ann' }]]);
  });

  it.each(['PLAN_STALE', 'RECOVERY_ENDED'] as const)('%s is a conflict', async (code) => {
    const { ask } = api({ approve: () => Promise.reject(new RecoveryError(code, 'x')) });
    const answer = await ask('/v1/recoveries/r-1/approve', { as: 'ann', body: { planHash: HASH } });
    expect({ status: answer.status, code: problemIn(answer.text).code }).toEqual({ status: 409, code });
  });

  it('resolve and signals are sent', async () => {
    const resolve = vi.fn(async () => undefined);
    const signal = vi.fn(async () => undefined);
    const { ask } = api({ resolve, signal });
    const body = { action: 'skip', tables: ['db.*'] };
    expect((await ask('/v1/recoveries/r-1/resolve', { as: 'bot', body })).status).toBe(202);
    expect(resolve.mock.calls).toEqual([['r-1', { ...body, by: 'bot' }]]);
    for (const name of ['pause', 'resume', 'abort'])
      expect((await ask(`/v1/recoveries/r-1/${name}`, { as: 'bot', method: 'POST' })).status).toBe(202);
    expect((await ask('/v1/recoveries/r-1/abort', { as: 'ann', method: 'POST' })).status).toBe(202);
    expect(signal.mock.calls.map(([, name]: unknown[]) => name)).toEqual(['pause', 'resume', 'abort', 'abort']);
  });
});

describe('events', () => {
  const limits = { pollMs: 5, streams: 2, streamsPerToken: 1 };
  const eventsIn = (text: string) =>
    [...text.matchAll(/^event: (\w+)\ndata: (.*)$/gm)].map(([, event, data]) => ({
      event,
      data: JSON.parse(data!) as { progress: Progress | null; code?: string },
    }));

  it('each change once, and the end', async () => {
    const phases = ['inspecting', 'inspecting', 'executing', 'closed'] as const;
    let looks = 0;
    const { ask } = api(
      {
        find: async () => foundRun({ status: looks < 3 ? 'running' : 'completed' }),
        progress: async () => progress({ phase: phases[Math.min(looks++, 3)] }),
      },
      { limits },
    );
    const { text, headers } = await ask('/v1/recoveries/r-1/events', { as: 'viewer' });
    expect(headers.get('content-type')).toMatch(/^text\/event-stream/);
    expect(eventsIn(text).map(({ event, data }) => `${event} ${data.progress?.phase}`)).toEqual([
      'state inspecting',
      'state executing',
      'end closed',
    ]);
  });

  it('goes on when Temporal is back', async () => {
    let looks = 0;
    const find = async () => {
      looks++;
      if (looks === 2) throw new RecoveryError('TEMPORAL_UNAVAILABLE', 'away');
      return foundRun({ status: looks < 4 ? 'running' : 'completed' });
    };
    const { ask } = api(
      { find, progress: async () => progress({ phase: looks < 4 ? 'executing' : 'closed' }) },
      { limits },
    );
    const { text } = await ask('/v1/recoveries/r-1/events', { as: 'viewer' });
    expect(eventsIn(text).map(({ event, data }) => `${event} ${data.code ?? data.progress?.phase}`)).toEqual([
      'problem TEMPORAL_UNAVAILABLE',
      'state executing',
      'end closed',
    ]);
  });

  it('has a place for so many, gives it back, and ends them all when the server stops', async () => {
    const { app } = api({ progress: async () => progress() }, { limits });
    const open = (name: string, signal?: AbortSignal) =>
      app.request('/v1/recoveries/r-1/events', {
        headers: { authorization: `Bearer canary-4711-${name}` },
        signal,
      });
    const first = await open('viewer');
    expect((await open('viewer')).status).toBe(429);
    const second = await open('bot');
    expect((await open('ann')).status).toBe(429);
    await second.body!.cancel();
    const third = await vi.waitFor(async () => {
      const response = await open('ann');
      expect(response.status).toBe(200);
      return response;
    });
    app.endStreams();
    expect(await first.text()).toContain('event: state');
    expect(await third.text()).toContain('event: state');
    expect((await open('bot')).status).toBe(429);
  });
});

describe('for machines', () => {
  it('livez, readyz', async () => {
    const workers = vi.fn<() => Promise<number | null>>();
    for (const [count, status, code] of [
      [1, 200, undefined],
      [0, 503, 'WORKER_UNAVAILABLE'],
      [null, 503, 'TEMPORAL_UNAVAILABLE'],
    ] as const) {
      workers.mockResolvedValue(count);
      const { ask } = api({ workers });
      expect((await ask('/livez')).status).toBe(200);
      const ready = await ask('/readyz');
      expect(ready.status).toBe(status);
      if (code) expect(problemIn(ready.text).code).toBe(code);
      expect((await ask('/readyz')).status).toBe(status);
    }
    expect(workers).toHaveBeenCalledTimes(3);
  });

  it('/openapi.json has every endpoint, with the schema of a request that everything else uses', async () => {
    const document = JSON.parse((await api().ask('/openapi.json')).text) as {
      paths: Record<string, Record<string, { security: unknown; requestBody?: unknown }>>;
    };
    expect(
      Object.entries(document.paths).flatMap(([path, item]) => Object.keys(item).map((m) => `${m} ${path}`)),
    ).toEqual([
      'post /v1/recoveries',
      'get /v1/recoveries',
      'get /v1/recoveries/{id}',
      'get /v1/recoveries/{id}/plan',
      'get /v1/recoveries/{id}/report',
      'get /v1/recoveries/{id}/events',
      'post /v1/recoveries/{id}/approve',
      'post /v1/recoveries/{id}/resolve',
      'post /v1/recoveries/{id}/pause',
      'post /v1/recoveries/{id}/resume',
      'post /v1/recoveries/{id}/abort',
      'post /v1/drills',
      'get /v1/drills',
      'post /v1/webhooks/alertmanager',
      'get /metrics',
      'get /livez',
      'get /readyz',
    ]);
    const body = JSON.stringify(document.paths['/v1/recoveries']!['post']!.requestBody);
    for (const field of ['cluster', 'backup', 'tables', 'incident', 'approval', 'approve', 'adopt'])
      expect(body).toContain(`"${field}"`);
    expect(document.paths['/v1/recoveries']!['post']!.security).toEqual([{ token: [] }]);
  });
});
