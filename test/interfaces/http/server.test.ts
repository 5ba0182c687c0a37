import { connect } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ApiConfig } from '../../../src/config/api.js';
import { authenticateNobody } from '../../../src/interfaces/http/auth.js';
import { RateLimit } from '../../../src/interfaces/http/limits.js';
import { serveApi, type ServeOptions } from '../../../src/interfaces/http/server.js';
import type { DrillService } from '../../../src/service/drills.js';
import type { RecoveryService } from '../../../src/service/recoveries.js';
import { foundRun, TOKENS, tokenOf, NO_REPORTS } from './bench.js';

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

const config = (change: Partial<ApiConfig> = {}): ApiConfig => ({
  listen: { host: '127.0.0.1', port: 0 },
  tokens: TOKENS,
  alertmanager: null,
  ...change,
});

async function serve(change: Partial<ServeOptions> = {}, recoveries: Partial<RecoveryService> = {}) {
  const warnings: string[] = [];
  const server = await serveApi({
    recoveries: recoveries as RecoveryService,
    drills: {} as DrillService,
    drillHistory: async () => [],
    taskQueue: 'q',
    clusters: ['prod'],
    reports: NO_REPORTS,
    api: config(),
    insecure: false,
    log: { info: () => undefined, warn: () => undefined },
    warn: (text) => void warnings.push(text),
    ...change,
  });
  stops.push(server.stop);
  return { ...server, warnings };
}

describe('who may ask', () => {
  const insecure = { insecure: true };
  it.each<[name: string, options: Partial<ServeOptions>, code: string, message: RegExp]>([
    ['no tokens', { api: config({ tokens: [] }) }, 'CONFIG_INVALID', /api\.tokens/],
    ['--insecure for everybody', { ...insecure, api: at('0.0.0.0') }, 'INPUT_INVALID', /0\.0\.0\.0 is no loopback/],
    ['--insecure on a name', { ...insecure, api: at('127.0.0.1.example.com') }, 'INPUT_INVALID', /no loopback/],
    ['--insecure beside tokens', { ...insecure }, 'INPUT_INVALID', /has tokens/],
    ['an address of somebody else', { api: config({ listen: { host: '192.0.2.1', port: 0 } }) }, 'INPUT_INVALID', /./],
  ])('%s: does not listen', async (_name, options, code, message) => {
    await expect(serve(options)).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  function at(host: string): ApiConfig {
    return config({ listen: { host, port: 0 }, tokens: [] });
  }

  it('a port that is taken is said', async () => {
    const { url } = await serve();
    const listen = { host: '127.0.0.1', port: Number(new URL(url).port) };
    await expect(serve({ api: config({ listen }) })).rejects.toMatchObject({ message: /EADDRINUSE/ });
  });

  it('--insecure on loopback is loud, and not for web pages', async () => {
    const { url, warnings } = await serve({ insecure: true, api: at('127.0.0.1') }, { list: async () => [foundRun()] });
    expect(warnings.join()).toMatch(/EVERY process .* EVERY cluster/);
    const list = (headers = {}) => fetch(`${url}/v1/recoveries`, { headers }).then(({ status }) => status);
    expect(await list()).toBe(200);
    expect(await list({ origin: 'https://evil.example' })).toBe(401);
  });

  it.each(['evil.example', 'evil.example:8080', '', undefined])('--insecure refuses the Host %s', (host) => {
    expect(() => authenticateNobody()({ host, origin: undefined, authorization: undefined })).toThrow(/this machine/);
  });
  it.each(['localhost:8080', '127.0.0.1', '[::1]:8080'])('--insecure takes the Host %s', (host) => {
    const caller = authenticateNobody()({ host, origin: undefined, authorization: undefined });
    expect(caller.sees('anything')).toBe(true);
  });
});

describe('serving', () => {
  const authorization = { authorization: `Bearer ${tokenOf('both')}` };

  it('answers before a body that is refused has arrived, and can be asked again', async () => {
    const { url } = await serve();
    const body = 'x'.repeat(3_000_000);
    const headers = { ...authorization, 'content-type': 'application/json' };
    for (const sent of [headers, { 'content-type': 'application/json' }]) {
      const answer = await fetch(`${url}/v1/recoveries`, { method: 'POST', headers: sent, body });
      expect(answer.status).toBe('authorization' in sent ? 413 : 401);
    }
    expect((await fetch(`${url}/livez`)).status).toBe(200);
  });

  it('takes no endless headers', async () => {
    const { url } = await serve();
    expect((await fetch(`${url}/livez`, { headers: { x: 'y'.repeat(20_000) } })).status).toBe(431);
  });

  it('says nothing to what is no HTTP', async () => {
    const { url } = await serve();
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    let got = '';
    socket.on('data', (data) => (got += String(data))).end('\u0016\u0003\u0001 hello\r\n\r\n');
    await vi.waitFor(() => expect(socket.closed).toBe(true));
    expect(got).toMatch(/^HTTP\/1\.1 400/);
  });

  it('a stream whose reader does not read ends all the same', async () => {
    let n = 0;
    const progress = async () => ({ phase: 'executing', units: `${n++}`.repeat(2_000_000) }) as never;
    const limits = { streamMs: 300, pollMs: 10, streamsPerToken: 1 };
    const { url } = await serve({ limits }, { progress, find: async () => foundRun() });
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.on('error', () => undefined).pause();
    socket.write(
      `GET /v1/recoveries/r-1/events HTTP/1.1\r\nhost: x\r\n${Object.entries(authorization).flat().join(': ')}\r\n\r\n`,
    );
    await vi.waitFor(() => expect(n).toBeGreaterThan(1));
    await vi.waitFor(
      async () => {
        const stop = new AbortController();
        const { status } = await fetch(`${url}/v1/recoveries/r-1/events`, {
          headers: authorization,
          signal: stop.signal,
        });
        stop.abort();
        expect(status).toBe(200);
      },
      { timeout: 5_000, interval: 100 },
    );
    socket.destroy();
  });

  it('stops: streams end, what is under way is answered, nobody comes in', async () => {
    let finish = () => {};
    const list = () => new Promise<[]>((resolve) => (finish = () => resolve([])));
    const progress = async () => ({ phase: 'executing' }) as never;
    const { url, stop } = await serve({}, { list, progress, find: async () => foundRun() });
    const stream = await fetch(`${url}/v1/recoveries/r-1/events`, { headers: authorization });
    const slow = fetch(`${url}/v1/recoveries`, { headers: authorization });
    await vi.waitFor(() => expect(String(finish)).toContain('resolve'));
    const stopped = stop();
    stops.length = 0;
    expect(await stream.text()).toContain('event: state');
    finish();
    expect((await slow).status).toBe(200);
    await stopped;
    await expect(fetch(`${url}/livez`)).rejects.toThrow();
  });
});

describe('RateLimit', () => {
  it('gives so many at once, and then as they come', () => {
    let now = 0;
    const limit = new RateLimit({ burst: 2, perSecond: 2 }, () => now);
    expect([limit.take('a'), limit.take('a'), limit.take('a'), limit.take('b')]).toEqual([0, 0, 1, 0]);
    now = 500;
    expect([limit.take('a'), limit.take('a')]).toEqual([0, 1]);
    now = 60_000;
    expect([limit.take('a'), limit.take('a'), limit.take('a')]).toEqual([0, 0, 1]);
  });
});
