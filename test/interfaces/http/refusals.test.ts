import { describe, expect, it, vi } from 'vitest';
import { ERRORS, RecoveryError, type ErrorCode } from '../../../src/domain/errors.js';
import { readJson } from '../../../src/interfaces/http/body.js';
import { api, CANARY, foundRun, HASH, problemIn, TOKENS, tokenOf, type Sent } from './bench.js';

const CREATE = '/v1/recoveries';
const started = async () => ({ id: 'r-1', runId: 'x', started: true, taskQueue: 'q', workers: 1 });

describe('bad and hostile requests: the right status, and nothing is done', () => {
  const of = (code: ErrorCode) => ({ code, status: ERRORS[code].httpStatus });
  it.each<[name: string, path: string, sent: Sent, code: ErrorCode, status: number, field?: string]>([
    ['no token', CREATE, { body: { cluster: 'prod' } }, 'UNAUTHENTICATED', 401],
    ['an unknown token', CREATE, { as: 'nobody', body: { cluster: 'prod' } }, 'UNAUTHENTICATED', 401],
    ['another scheme', CREATE, { headers: { authorization: 'Basic dTpw' } }, 'UNAUTHENTICATED', 401],
    ['two tokens', CREATE, { headers: { authorization: `Bearer ${tokenOf('bot')} x` } }, 'UNAUTHENTICATED', 401],
    ["the hash in the token's place", CREATE, bearer(TOKENS[2]!.sha256), 'UNAUTHENTICATED', 401],
    ['no token, before its body', CREATE, { body: '{' }, 'UNAUTHENTICATED', 401],
    ['a viewer starts', CREATE, { as: 'viewer', body: { cluster: 'prod' } }, 'FORBIDDEN', 403],
    ['an approver starts', CREATE, { as: 'ann', body: { cluster: 'prod' } }, 'FORBIDDEN', 403],
    ['a drill-runner starts', CREATE, { as: 'driller', body: { cluster: 'prod' } }, 'FORBIDDEN', 403],
    ['an operator approves', `${CREATE}/r-1/approve`, { as: 'bot', body: { planHash: HASH } }, 'FORBIDDEN', 403],
    ['… in advance', CREATE, { as: 'bot', body: { cluster: 'prod', approve: HASH } }, 'FORBIDDEN', 403],
    ['… whatever the plan is', CREATE, { as: 'bot', body: { cluster: 'prod', approval: 'auto' } }, 'FORBIDDEN', 403],
    ['a viewer aborts', `${CREATE}/r-1/abort`, { as: 'viewer', method: 'POST' }, 'FORBIDDEN', 403],
    ['an approver pauses', `${CREATE}/r-1/pause`, { as: 'ann', method: 'POST' }, 'FORBIDDEN', 403],
    ['another cluster', CREATE, { as: 'bot', body: { cluster: 'test' } }, 'CLUSTER_UNKNOWN', 404, 'cluster'],
    ['no such cluster', CREATE, { as: 'root', body: { cluster: 'nope' } }, 'CLUSTER_UNKNOWN', 404, 'cluster'],
    ['list of another cluster', `${CREATE}?cluster=test`, { as: 'bot' }, 'CLUSTER_UNKNOWN', 404, 'cluster'],
    ['no JSON', CREATE, { as: 'bot', body: '{"cluster":' }, 'INPUT_INVALID', 400, '(body)'],
    ['nothing', CREATE, { as: 'bot', body: '' }, 'INPUT_INVALID', 400, '(body)'],
    ['a list', CREATE, { as: 'bot', body: [] }, 'INPUT_INVALID', 400, '(input)'],
    ['an unknown field', CREATE, { as: 'bot', body: { cluster: 'prod', x: 1 } }, 'INPUT_INVALID', 400, 'x'],
    ['form data', CREATE, { as: 'bot', body: 'a=b', headers: { 'content-type': 'text/plain' } }, 'BODY_NOT_JSON', 415],
    ['an unknown query', `${CREATE}?limt=1`, { as: 'bot' }, 'INPUT_INVALID', 400, 'limt'],
    ['a bad limit', `${CREATE}?limit=0`, { as: 'bot' }, 'INPUT_INVALID', 400, 'limit'],
    ['a bad key', CREATE, keyed('a b'), 'INPUT_INVALID', 400, 'Idempotency-Key'],
    ['an empty key', CREATE, keyed(''), 'INPUT_INVALID', 400, 'Idempotency-Key'],
    ['a long key', CREATE, keyed('k'.repeat(201)), 'INPUT_INVALID', 400, 'Idempotency-Key'],
    ['a bad hash', `${CREATE}/r-1/approve`, { as: 'ann', body: { planHash: 'x' } }, 'INPUT_INVALID', 400, 'planHash'],
    ['another `by`', `${CREATE}/r-1/approve`, approvedBy('eve'), 'INPUT_INVALID', 400, 'by'],
    ['a bad action', `${CREATE}/r-1/resolve`, { as: 'bot', body: { action: 'x' } }, 'INPUT_INVALID', 400, 'action'],
    ['a bad pattern', `${CREATE}/r-1/resolve`, resolved(['orders']), 'INPUT_INVALID', 400, 'tables.0'],
    ['an unknown id', `${CREATE}/nope`, { as: 'bot' }, 'WORKFLOW_UNKNOWN', 404],
    ['an endless id', `${CREATE}/${'x'.repeat(2_000)}`, { as: 'bot' }, 'WORKFLOW_UNKNOWN', 404],
    ['half an escape', `${CREATE}/%E0%A4%A`, { as: 'bot' }, 'WORKFLOW_UNKNOWN', 404],
    ['an unknown path', '/v1/recovery', { as: 'bot' }, 'ENDPOINT_UNKNOWN', 404],
    ['a method that is not there', CREATE, { as: 'bot', method: 'DELETE' }, 'ENDPOINT_UNKNOWN', 404],
    ['a webhook that is not set up', '/v1/webhooks/alertmanager', alerts([]), 'ENDPOINT_UNKNOWN', 404],
  ])('%s', async (_name, path, sent, code, status, field) => {
    const { ask, calls } = api();
    const answer = await ask(path, sent);
    expect(answer.status).toBe(status);
    expect(problemIn(answer.text)).toMatchObject({ ...of(code), hint: ERRORS[code].hint, ...(field ? { field } : {}) });
    expect(calls.filter((call) => call !== 'find')).toEqual([]);
    expect(answer.text).not.toContain(CANARY);
  });

  const keyless = { as: 'bot', body: { cluster: 'prod' } };
  function keyed(key: string): Sent {
    return { as: 'bot', body: { cluster: 'prod' }, headers: { 'idempotency-key': key } };
  }
  function bearer(value: string): Sent {
    return { body: { cluster: 'prod' }, headers: { authorization: `Bearer ${value}` } };
  }
  function approvedBy(by: string): Sent {
    return { as: 'ann', body: { planHash: HASH, by } };
  }
  function resolved(tables: string[]): Sent {
    return { as: 'bot', body: { action: 'retry', tables } };
  }
  function alerts(list: unknown[]): Sent {
    return { as: 'bot', body: { alerts: list } };
  }

  it('a problem is RFC 9457, and the log has its instance', async () => {
    const { ask, lines } = api();
    const { headers, text } = await ask(CREATE, { body: { cluster: 'prod' } });
    expect(headers.get('content-type')).toBe('application/problem+json');
    expect(headers.get('www-authenticate')).toBe('Bearer');
    expect(headers.get('cache-control')).toBe('no-store');
    const found = problemIn(text);
    expect(found).toEqual({
      type: 'urn:temporal-clickhouse-recovery:error:UNAUTHENTICATED',
      title: ERRORS.UNAUTHENTICATED.summary,
      status: 401,
      detail: 'there is no bearer token',
      instance: expect.stringMatching(/^urn:uuid:[0-9a-f-]{36}$/) as string,
      code: 'UNAUTHENTICATED',
      hint: ERRORS.UNAUTHENTICATED.hint,
      retryable: false,
    });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain(found.instance.replace('urn:uuid:', ''));
  });

  it('a run of another cluster is answered, byte for byte, as one that does not exist', async () => {
    const { ask } = api({
      find: async (id) => {
        if (id === 'run-9') return foundRun({ id, request: { cluster: 'prod' } });
        throw new RecoveryError('WORKFLOW_UNKNOWN', `there is no such recovery: ${id}`);
      },
    });
    const shape = (text: string, id: string) => ({ ...problemIn(text.replaceAll(id, 'ID')), instance: '' });
    const posts = ['approve', 'resolve', 'pause', 'resume', 'abort'];
    for (const part of ['', '/plan', '/report', '/events', ...posts.map((post) => `/${post}`)]) {
      const body = part === '/approve' ? { planHash: HASH } : { action: 'skip' };
      const sent: Sent = posts.includes(part.slice(1)) ? { as: 'stranger', body } : { as: 'stranger' };
      const [there, absent] = [await ask(`${CREATE}/run-9${part}`, sent), await ask(`${CREATE}/run-0${part}`, sent)];
      expect(there.status, part).toBe(404);
      expect(shape(there.text, 'run-9'), part).toEqual(shape(absent.text, 'run-0'));
    }
  });

  it('a run without a valid input is seen only by who sees every cluster', async () => {
    const { ask } = api({ find: async () => foundRun({ request: null }), progress: () => Promise.reject(new Error()) });
    expect((await ask(`${CREATE}/r-1`, { as: 'both' })).status).toBe(404);
    expect((await ask(`${CREATE}/r-1`, { as: 'root' })).status).toBe(500);
  });

  it('a body that is too large is refused, announced or not', async () => {
    const body = { cluster: 'prod', tables: ['a.'.padEnd(400, 'x')] };
    const { ask, calls, app } = api({}, { limits: { bodyBytes: 100 } });
    expect(problemIn((await ask(CREATE, { as: 'bot', body })).text)).toMatchObject({
      code: 'BODY_TOO_LARGE',
      status: 413,
    });
    let pulled = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        pulled++;
        controller.enqueue(new Uint8Array(60));
      },
    });
    const response = await app.request(CREATE, {
      method: 'POST',
      headers: { authorization: `Bearer ${tokenOf('bot')}`, 'content-type': 'application/json' },
      body: endless,
      duplex: 'half',
    });
    expect(response.status).toBe(413);
    expect(pulled).toBeLessThan(5);
    expect(calls).toEqual([]);
  });

  it('a body that is not UTF-8 is refused', async () => {
    const request = new Request('http://x', {
      ...{ method: 'POST', headers: { 'content-type': 'application/json; charset=utf-8' } },
      body: new Uint8Array([0x22, 0xff, 0x22]),
    });
    await expect(readJson(request, { bodyBytes: 100, bodyMs: 1_000 })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: 'the body is not UTF-8',
    });
  });

  it('limits each token by itself, and says when to come back', async () => {
    const list = vi.fn(async () => []);
    const { ask } = api({ list }, { limits: { burst: 2, perSecond: 0.5 } });
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push(await ask(CREATE, { as: 'bot' }));
    expect(statuses.map(({ status }) => status)).toEqual([200, 200, 429]);
    expect(statuses[2]!.headers.get('retry-after')).toBe('2');
    expect((await ask(CREATE, { as: 'ann' })).status).toBe(200);
    expect(list).toHaveBeenCalledTimes(3);
  });

  it('an answer that does not come in time is a problem', async () => {
    const { ask } = api({ list: () => new Promise(() => undefined) }, { limits: { answerMs: 50 } });
    expect(problemIn((await ask(CREATE, { as: 'bot' })).text)).toMatchObject({
      code: 'TEMPORAL_UNAVAILABLE',
      status: 503,
      retryable: true,
    });
  });

  it('an unexpected error says nothing of itself; the log says where it was', async () => {
    const { ask, lines } = api({ startOnce: () => Promise.reject(new Error(`password ${CANARY}`)) });
    const { status, text } = await ask(CREATE, keyless);
    expect(status).toBe(500);
    expect(problemIn(text)).toMatchObject({ code: 'INTERNAL', detail: 'see the log of `ch-recover api`' });
    expect(text).not.toContain(CANARY);
    expect(lines.join()).toMatch(/an unexpected error/);
    expect(lines.join()).toContain('refusals.test');
    expect(lines.join()).not.toContain(CANARY);
  });

  it.each(['RECOVERY_RUNNING', 'REQUEST_CONFLICT'] as const)('%s names the run that is there', async (code) => {
    const startOnce = () => Promise.reject(new RecoveryError(code, 'so it is', { objects: ['r-9'] }));
    const { status, text } = await api({ startOnce }).ask(CREATE, keyless);
    expect(status).toBe(409);
    expect(problemIn(text)).toMatchObject({ code, objects: ['r-9'] });
  });

  it('no token is in the log, nor in /openapi.json', async () => {
    const { ask, lines } = api({ startOnce: started });
    await ask(`${CREATE}?x=1`, keyless);
    await ask(CREATE, keyless);
    const document = await ask('/openapi.json');
    expect(document.status).toBe(200);
    for (const text of [...lines, document.text, (await ask('/docs')).text]) {
      expect(text).not.toContain(CANARY);
      for (const { sha256 } of TOKENS) expect(text).not.toContain(sha256);
    }
    expect(lines).toHaveLength(4);
    expect(JSON.parse(lines[1]!)).toMatchObject({ method: 'POST', route: CREATE, token: 'bot', status: 202 });
  });
});
