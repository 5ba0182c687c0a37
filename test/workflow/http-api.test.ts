import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { ApiToken, Role } from '../../src/config/api.js';
import type { Progress } from '../../src/domain/messages.js';
import type { Report } from '../../src/domain/report.js';
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

async function withApi(options: Partial<FakesOptions>, body: (api: Api) => Promise<void>): Promise<void> {
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
      await body({ cluster, scene, fetchAs, get, post, untilPhase, said });
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
