import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { ApiToken, Role } from '../../src/config/api.js';
import type { Progress } from '../../src/domain/messages.js';
import type { Report } from '../../src/domain/report.js';
import type { Limits } from '../../src/interfaces/http/limits.js';
import { serveApi } from '../../src/interfaces/http/server.js';
import type { ProblemDetails } from '../../src/interfaces/http/problem.js';
import { Drills } from '../../src/service/drills.js';
import { Recoveries } from '../../src/service/recoveries.js';
import { scratchDir, start, stop, waitFor } from '../support/processes.js';
import { repoRoot } from '../support/tools.js';
import { startBench, type Bench, type Scene } from './bench.js';
import { fakes, HASH, planOf, table, type FakesOptions } from './fakes.js';

/** The HTTP API over a socket, the real Temporal server, the real workflow; only the activities are not real. */

const CANARY = 'canary-4711';
const OTHER = 'other-cluster';
let bench: Bench;

beforeAll(async () => {
  bench = await startBench();
});
afterAll(async () => {
  await bench?.stop();
});

interface Api {
  cluster: string;
  scene: Scene;
  url: string;
  fetchAs: (name: string, path: string, init?: RequestInit) => Promise<Response>;
  get: <T>(name: string, path: string) => Promise<{ status: number; body: T }>;
  post: <T>(
    name: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ) => Promise<{ status: number; body: T }>;
  untilPhase: (url: string, phase: Progress['phase']) => Promise<State>;
  /** Everything that was answered or logged. */
  said: string[];
}
interface State {
  runId: string;
  status: string;
  progress: Progress | null;
}
interface Started {
  id: string;
  runId: string;
  started: boolean;
  url: string;
}

const tokenOf = (name: string) => `${CANARY}-${name}`;
const token = (name: string, roles: Role[], cluster: string): ApiToken => ({
  ...{ name, roles, clusters: [cluster] },
  sha256: createHash('sha256').update(tokenOf(name)).digest('hex'),
});

async function withApi(
  { limits, ...options }: Partial<FakesOptions> & { limits?: Partial<Limits> },
  body: (api: Api) => Promise<void>,
): Promise<void> {
  const faked = fakes({ plans: [planOf([table('a'), table('b')])], ...options });
  await bench.scene(faked, async (scene) => {
    const { cluster } = scene;
    const said: string[] = [];
    const log = (fields: object, message: string) => void said.push(JSON.stringify(fields) + message);
    const match = { alertname: 'ReadonlyReplica' };
    const server = await serveApi({
      recoveries: new Recoveries(scene.client),
      drills: new Drills(scene.client),
      drillHistory: async () => [],
      taskQueue: scene.taskQueue,
      clusters: [cluster, OTHER],
      reports: { load: async () => null, plan: async () => null },
      api: {
        listen: { host: '127.0.0.1', port: 0 },
        tokens: [
          token('bot', ['operator'], cluster),
          token('ann', ['approver'], cluster),
          token('stranger', ['operator', 'approver'], OTHER),
        ],
        alertmanager: { clusterLabel: 'cluster', clusters: { ch1: cluster }, alerts: [{ match, backup: 'latest' }] },
      },
      insecure: false,
      limits,
      log: { info: log, warn: log },
      warn: (text) => void said.push(text),
    });
    const fetchAs: Api['fetchAs'] = (name, path, init = {}) =>
      fetch(server.url + path, {
        ...init,
        headers: { authorization: `Bearer ${tokenOf(name)}`, ...(init.headers as Record<string, string>) },
      });
    const read = async <T>(response: Response) => {
      const text = await response.text();
      said.push(text);
      return { status: response.status, body: JSON.parse(text) as T };
    };
    const get: Api['get'] = async (name, path) => read(await fetchAs(name, path));
    const post: Api['post'] = async (name, path, sent, headers = {}) =>
      read(
        await fetchAs(name, path, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...headers },
          body: sent === undefined ? undefined : JSON.stringify(sent),
        }),
      );
    const untilPhase: Api['untilPhase'] = (url, phase) =>
      waitFor(
        async () => {
          const { body: state } = await get<State>('bot', url);
          return state.progress?.phase === phase && state;
        },
        { what: `phase ${phase}`, deadlineMs: 20_000, everyMs: 200 },
      );
    try {
      await body({ cluster, scene, url: server.url, fetchAs, get, post, untilPhase, said });
    } finally {
      await server.stop();
    }
  });
}

const required = { policy: { approval: 'required' as const } };

describe('an incident bot', () => {
  it('starts, waits, has it approved by another, follows it and reads the report', async () => {
    await withApi(required, async ({ cluster, scene, fetchAs, get, post, untilPhase, said }) => {
      const request = { cluster, backup: 'latest', incident: 'INC 1/ü%' };
      const { status, body: started } = await post<Started>('bot', '/v1/recoveries', request);
      expect({ status, started: started.started }).toEqual({ status: 202, started: true });
      const { url } = started;
      expect((await get<ProblemDetails>('bot', `${url}/report`)).body.code).toBe('NOT_YET');

      const waiting = await untilPhase(url, 'waiting-for-approval');
      expect(waiting.progress?.planHash).toBe(HASH);
      expect((await get<{ hash: string }>('bot', `${url}/plan`)).body.hash).toBe(HASH);

      const approve = (name: string, planHash: string) => post<ProblemDetails>(name, `${url}/approve`, { planHash });
      expect((await approve('bot', HASH)).status).toBe(403);
      expect((await approve('stranger', HASH)).status).toBe(404);
      const stale = await approve('ann', 'b'.repeat(64));
      expect({ status: stale.status, code: stale.body.code }).toEqual({ status: 409, code: 'PLAN_STALE' });
      expect((await untilPhase(url, 'waiting-for-approval')).status).toBe('running');

      const events = (await fetchAs('bot', `${url}/events`)).body!.pipeThrough(new TextDecoderStream()).getReader();
      const first = (await events.read()).value ?? '';
      expect(first).toMatch(/^event: state\ndata: .*"waiting-for-approval"/);
      expect((await approve('ann', HASH)).body).toEqual({ id: started.id, planHash: HASH, by: 'ann' });
      let stream = first;
      for (let next = await events.read(); !next.done; next = await events.read()) stream += next.value;
      said.push(stream);
      expect(stream).toMatch(/event: end\ndata: .*"outcome":"succeeded".*\n\n$/);

      const { body: report } = await get<Report>('bot', `${url}/report`);
      expect(report).toMatchObject({ outcome: 'succeeded', plan: { approvedBy: 'approved by ann (as stated)' } });
      const markdown = await fetchAs('bot', `${url}/report`, { headers: { accept: 'text/markdown' } });
      expect(await markdown.text()).toContain(`: succeeded\n`);
      expect((await approve('ann', HASH)).body.code).toBe('RECOVERY_ENDED');

      const history = await scene.client.workflow.getHandle(started.id).fetchHistory();
      for (const text of [...said, JSON.stringify(history)]) expect(text).not.toContain(CANARY);
    });
  });

  it('repeats itself: the same run, also after its end; with another body: 409, and nothing is started', async () => {
    await withApi({ policy: { approval: 'auto' } }, async ({ cluster, get, post, untilPhase }) => {
      const key = { 'idempotency-key': 'k-1' };
      const create = (body: object, headers = key) =>
        post<Started & ProblemDetails>('bot', '/v1/recoveries', body, headers);
      const first = await create({ cluster });
      await untilPhase(first.body.url, 'closed');
      const again = await create({ cluster });
      expect(again).toMatchObject({ status: 200 });
      expect(again.body).toMatchObject({
        ...{ started: false },
        ...{ id: first.body.id, runId: first.body.runId },
      });
      for (const other of [
        { cluster, backup: 'latest' },
        { cluster, incident: 'INC-2' },
      ]) {
        const refused = await create(other);
        expect(refused.body).toMatchObject({ status: 409, code: 'REQUEST_CONFLICT', objects: [first.body.id] });
      }
      const { body } = await get<{ recoveries: State[] }>('bot', '/v1/recoveries');
      expect(body.recoveries.map(({ runId }) => runId)).toEqual([first.body.runId]);
    });
  });

  it('a cluster that is in recovery gets no second one, however the first was started', async () => {
    await withApi(required, async ({ cluster, scene, get, post, untilPhase }) => {
      const incidents = ['INC-1', 'INC-2', 'INC-3'].map((incident) => ({ cluster, incident }));
      const answers = await Promise.all(
        incidents.map((body) => post<Started & ProblemDetails>('bot', '/v1/recoveries', body)),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([202, 409, 409]);
      const winner = answers.find(({ status }) => status === 202)!.body;
      const losers = answers.filter(({ status }) => status === 409);
      for (const { body } of losers) expect(body).toMatchObject({ code: 'RECOVERY_RUNNING', objects: [winner.id] });
      await untilPhase(winner.url, 'waiting-for-approval');
      expect((await post('ann', `${winner.url}/abort`)).status).toBe(202);
      expect((await untilPhase(winner.url, 'closed')).progress?.outcome).toBe('aborted');

      // As from the Temporal UI: an id of its own, no memo.
      const { workflowId } = await scene.start();
      const listed = await waitFor(
        async () => {
          const { body } = await get<{ recoveries: { id: string }[] }>('bot', '/v1/recoveries?status=running');
          return body.recoveries.length > 0 && body.recoveries.map(({ id }) => id);
        },
        { what: 'the run in the list', deadlineMs: 10_000, everyMs: 200 },
      );
      expect(listed).toEqual([workflowId]);
      const refused = await post<ProblemDetails>('bot', '/v1/recoveries', { cluster });
      expect(refused.body).toMatchObject({ code: 'RECOVERY_RUNNING', objects: [workflowId] });
      // And whoever has no business there sees nothing of it.
      expect((await get('stranger', `/v1/recoveries/${workflowId}`)).status).toBe(404);
      expect((await get('stranger', '/v1/recoveries')).body).toEqual({ recoveries: [] });
      expect((await post('stranger', `/v1/recoveries/${workflowId}/abort`)).status).toBe(404);
      expect((await get<State>('bot', `/v1/recoveries/${workflowId}`)).body.status).toBe('running');
      await scene.client.workflow.getHandle(workflowId).terminate();
    });
  });

  it('an alert starts one that waits for approval, whatever the policy; it is not started again', async () => {
    await withApi({ policy: { approval: 'auto' } }, async ({ get, post, untilPhase }) => {
      const labels = { alertname: 'ReadonlyReplica', cluster: 'ch1', instance: 'a' };
      const alert = { status: 'firing', labels, startsAt: '2026-11-24T10:00:00.000Z', fingerprint: 'beef' };
      const fire = async (alerts = [alert]) =>
        (await post<{ recoveries: (Started & { outcome: string })[] }>('bot', '/v1/webhooks/alertmanager', { alerts }))
          .body.recoveries;
      const [started] = await fire();
      expect(started).toMatchObject({ outcome: 'started' });
      await untilPhase(started!.url, 'waiting-for-approval');
      expect(await fire()).toMatchObject([{ outcome: 'known', id: started!.id }]);
      const later = { ...alert, startsAt: '2026-11-24T11:00:00.000Z', fingerprint: 'cafe' };
      expect(await fire([later])).toMatchObject([{ outcome: 'in-recovery', id: started!.id }]);
      await post('ann', `${started!.url}/abort`);
      await untilPhase(started!.url, 'closed');
      expect(await fire()).toMatchObject([{ outcome: 'known', id: started!.id }]);
      expect((await get<State>('bot', started!.url)).body.status).toBe('completed');
    });
  });

  it('is ready while a worker polls', async () => {
    await withApi({}, async ({ get }) => {
      await waitFor(async () => (await get('nobody', '/readyz')).status === 200, {
        ...{ what: 'readiness', deadlineMs: 10_000, everyMs: 200 },
      });
    });
  });

  it('as a process: no token in what it prints, and it stops when it is told to', async () => {
    const scratch = scratchDir('tcr-api');
    await bench.scene(fakes({ plans: [planOf([table('a')])], ...required }), async ({ cluster, client, taskQueue }) => {
      const node = {
        name: 'a',
        shard: '01',
        replica: 'r1',
        url: 'http://127.0.0.1:1',
        password: { env: 'CH_PASSWORD' },
      };
      const config = join(scratch.path, 'recovery.yaml');
      writeFileSync(
        config,
        stringify({
          clusters: { [cluster]: { keeper: { hosts: ['127.0.0.1:1'] }, nodes: [node] } },
          api: { tokens: [token('bot', ['operator'], cluster)] },
          temporal: { taskQueue },
        }),
      );
      const api = await start({
        name: 'api',
        command: process.execPath,
        args: ['--import', 'tsx', 'src/cli.ts', 'api', '--listen', '127.0.0.1:0', '--config', config],
        cwd: repoRoot,
        logFile: join(scratch.path, 'api.log'),
        env: {
          TEMPORAL_ADDRESS: (client.connection as Connection).options.address,
          ...{ CH_PASSWORD: CANARY, CH_RECOVER_LOG: 'info' },
        },
      });
      const url = await waitFor(() => /HTTP API on (\S+),/.exec(api.logTail())?.[1], {
        ...{ what: 'the address of the API', deadlineMs: 30_000 },
      });
      const answer = await fetch(`${url}/v1/recoveries`, {
        method: 'POST',
        headers: { authorization: `Bearer ${tokenOf('bot')}`, 'content-type': 'application/json' },
        body: JSON.stringify({ cluster }),
      });
      expect(answer.status).toBe(202);
      const { id, url: run } = (await answer.json()) as Started;
      const events = await fetch(`${url}${run}/events`, { headers: { authorization: `Bearer ${tokenOf('bot')}` } });
      expect(await stop(api)).toEqual({ code: 0, signal: null });
      expect(await events.text()).not.toContain(CANARY);
      expect(api.logTail(Infinity)).toMatch(/"route":"\/v1\/recoveries","token":"bot","status":202/);
      expect(api.logTail(Infinity)).not.toContain(CANARY);
      await client.workflow.getHandle(id).terminate();
    });
    scratch.remove();
  });
});

/** A client that writes what it likes, and reads only where it is told to. */
function dial(url: string, text: string): { socket: Socket; answer: Promise<string> } {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  let got = '';
  const answer = new Promise<string>((resolve) => {
    socket.on('data', (data) => (got += String(data)));
    socket.on('close', () => resolve(got));
    // A connection that is cut off is an answer.
    socket.on('error', () => undefined);
  });
  socket.write(text);
  return { socket, answer };
}

const requestOf = (name: string, line: string, headers: Record<string, string> = {}) =>
  [
    `${line} HTTP/1.1`,
    ...Object.entries({ host: 'x', authorization: `Bearer ${tokenOf(name)}`, connection: 'close', ...headers }).map(
      ([header, value]) => `${header}: ${value}`,
    ),
    ...['', ''],
  ].join('\r\n');

describe('somebody hostile', () => {
  const runsOf = async ({ get }: Api) => (await get<{ recoveries: State[] }>('bot', '/v1/recoveries')).body.recoveries;

  it('a body that comes too slowly: 408, and what comes of it later starts nothing', async () => {
    await withApi({ ...required, limits: { bodyMs: 300 } }, async (api) => {
      const body = JSON.stringify({ cluster: api.cluster });
      const headers = { 'content-type': 'application/json', 'content-length': String(body.length) };
      const { socket, answer } = dial(api.url, requestOf('bot', 'POST /v1/recoveries', headers) + body.slice(0, 5));
      const said = await answer;
      socket.write(body.slice(5));
      socket.destroy();
      expect(said).toMatch(/^HTTP\/1\.1 408 [^]*"code":"BODY_TOO_SLOW"/);
      expect(await runsOf(api)).toEqual([]);
    });
  });

  it('event streams that nobody reads, and HEADs of them, keep no place', async () => {
    await withApi(
      { ...required, limits: { streamsPerToken: 2, streams: 2, silentMs: 1_000, pollMs: 20 } },
      async (api) => {
        const { body } = await api.post<Started>('bot', '/v1/recoveries', { cluster: api.cluster });
        await api.untilPhase(body.url, 'waiting-for-approval');
        for (let i = 0; i < 5; i++)
          expect((await api.fetchAs('bot', `${body.url}/events`, { method: 'HEAD' })).status).toBe(200);
        const open = async () => {
          const stop = new AbortController();
          const { status } = await api.fetchAs('bot', `${body.url}/events`, { signal: stop.signal });
          stop.abort();
          return status;
        };
        expect(await open()).toBe(200);
        // Two that are gone without a word.
        const idle = [1, 2].map(() => dial(api.url, requestOf('bot', `GET ${body.url}/events`)));
        for (const { socket } of idle) socket.pause();
        await waitFor(async () => (await open()) === 200, { what: 'a place', deadlineMs: 20_000, everyMs: 200 });
        for (const { socket } of idle) socket.destroy();
        await api.post('ann', `${body.url}/abort`);
      },
    );
  });

  it('ids that are paths, markup or nothing that a name has: 404, as an id that is not there', async () => {
    await withApi(required, async (api) => {
      const ids = [
        '..',
        '../../etc/passwd',
        '.',
        'a\0b',
        'a\nb',
        '\u202eabc',
        '%2e%2e',
        '<script>',
        '*',
        "'; DROP TABLE",
        '{id}',
      ];
      for (const id of ids)
        for (const part of ['', '/plan', '/report', '/events']) {
          const { status, body } = await api.get<ProblemDetails>(
            'bot',
            `/v1/recoveries/${encodeURIComponent(id)}${part}`,
          );
          // What a client takes for a path never comes as an id.
          const codes = /^\.{1,2}$/.test(id) ? ['ENDPOINT_UNKNOWN', 'WORKFLOW_UNKNOWN'] : ['WORKFLOW_UNKNOWN'];
          expect([status, codes.includes(body.code)], id + part).toEqual([404, true]);
        }
      for (const path of [
        '/v1/recoveries/../../etc/passwd',
        '/v1/recoveries/%2e%2e/report',
        '//etc/passwd',
        '/v1/recoveries/..%5c..',
      ])
        expect(await dial(api.url, requestOf('bot', `GET ${path}`)).answer, path).toMatch(/^HTTP\/1\.1 404 /);
    });
  });

  it('headers without an end, or of a kind that smuggles: refused before anything is asked', async () => {
    await withApi(required, async (api) => {
      const many = Object.fromEntries(Array.from({ length: 1_500 }, (_, i) => [`x-${i}`, 'y'.repeat(20)]));
      expect(await dial(api.url, requestOf('bot', 'GET /v1/recoveries', many)).answer).toMatch(/^HTTP\/1\.1 431 /);
      const both = { 'content-length': '5', 'transfer-encoding': 'chunked', 'content-type': 'application/json' };
      const smuggled = `0\r\n\r\n${requestOf('bot', 'POST /v1/drills')}`;
      expect(await dial(api.url, requestOf('bot', 'POST /v1/recoveries', both) + smuggled).answer).toMatch(
        /^HTTP\/1\.1 400 /,
      );
      const hostile = { accept: `${'a/b;q=zz,'.repeat(1_000)}*/*` };
      expect(await dial(api.url, requestOf('bot', 'GET /v1/recoveries', hostile)).answer).toMatch(/^HTTP\/1\.1 200 /);
      expect(await runsOf(api)).toEqual([]);
    });
  });

  it('bodies that are bombs, or reach for the prototype: 400, and nothing is started', async () => {
    await withApi(required, async (api) => {
      const { cluster } = api;
      const deep = '['.repeat(200_000);
      for (const text of [
        deep + ']'.repeat(200_000),
        `{"cluster":${JSON.stringify(cluster)},"tables":${deep}${']'.repeat(200_000)}}`,
        `{"cluster":${JSON.stringify(cluster)},"__proto__":{"approval":"auto"}}`,
        `{"__proto__":{"cluster":${JSON.stringify(cluster)}}}`,
        `{"cluster":${JSON.stringify(cluster)},"constructor":{"prototype":{"x":1}}}`,
        `{"cluster":"${cluster}\\u0000"}`,
        `{"cluster":["${cluster}"]}`,
      ]) {
        const headers = { 'content-type': 'application/json' };
        const answer = await api.fetchAs('bot', '/v1/recoveries', { method: 'POST', headers, body: text });
        expect([answer.status, text.slice(0, 80)]).toEqual([answer.status === 404 ? 404 : 400, text.slice(0, 80)]);
        await answer.text();
      }
      expect(({} as Record<string, unknown>)['approval']).toBeUndefined();
      expect(await runsOf(api)).toEqual([]);
    });
  });

  it('a key that another token has used stands for nothing of that one’s', async () => {
    await withApi(required, async (api) => {
      const key = { 'idempotency-key': 'k' };
      const { body } = await api.post<Started>('bot', '/v1/recoveries', { cluster: api.cluster }, key);
      const stranger = await api.post<ProblemDetails>('stranger', '/v1/recoveries', { cluster: api.cluster }, key);
      expect([stranger.status, stranger.body.code, stranger.body.objects]).toEqual([404, 'CLUSTER_UNKNOWN', undefined]);
      const own = await api.post<Started>('stranger', '/v1/recoveries', { cluster: OTHER }, key);
      expect([own.status, own.body.id === body.id]).toEqual([202, false]);
      for (const { id } of [body, own.body]) await api.scene.client.workflow.getHandle(id).terminate();
    });
  });

  it('alerts with labels that are paths, prototypes or markup: only a cluster of ours starts anything', async () => {
    await withApi(required, async (api) => {
      const alert = (labels: Record<string, string>, change: object = {}) => ({
        ...{ status: 'firing', startsAt: '2026-11-24T10:00:00.000Z', fingerprint: 'beef' },
        ...{ labels: { alertname: 'ReadonlyReplica', ...labels } },
        ...change,
      });
      const send = (alerts: unknown[]) =>
        api.post<{ recoveries: unknown[]; code?: string }>('bot', '/v1/webhooks/alertmanager', { alerts });
      const names = [
        '__proto__',
        'constructor',
        '../x',
        OTHER,
        `${api.cluster}@scratch`,
        `${api.cluster}\0`,
        '<b>',
        'x'.repeat(9_000),
      ];
      const answer = await send(names.map((cluster) => alert({ cluster })));
      expect([answer.status, answer.body]).toEqual([200, { recoveries: [] }]);
      const proto = JSON.parse('{"__proto__":"ch1","alertname":"ReadonlyReplica"}') as Record<string, string>;
      expect((await send([{ ...alert({}), labels: proto }])).body).toEqual({ recoveries: [] });
      for (const change of [
        { startsAt: `2026-11-24T10:00:00.${'1'.repeat(10_000)}Z` },
        { startsAt: '2026-99-24T10:00:00Z' },
        { fingerprint: '../../x' },
        { status: 'burning' },
      ])
        expect((await send([alert({ cluster: 'ch1' }, change)])).status, JSON.stringify(change).slice(0, 50)).toBe(400);
      expect(await runsOf(api)).toEqual([]);
    });
  });
});
