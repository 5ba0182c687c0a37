import { createHash } from 'node:crypto';
import { vi } from 'vitest';
import type { AlertMapping, ApiToken, Role } from '../../../src/config/api.js';
import { RecoveryError } from '../../../src/domain/errors.js';
import { createApi } from '../../../src/interfaces/http/app.js';
import { authenticateTokens } from '../../../src/interfaces/http/auth.js';
import type { Limits } from '../../../src/interfaces/http/limits.js';
import type { ProblemDetails } from '../../../src/interfaces/http/problem.js';
import type { ReportArchive } from '../../../src/service/archive.js';
import type { DrillService } from '../../../src/service/drills.js';
import type { DirectActions } from '../../../src/service/direct.js';
import type { FoundRun, RecoveryService } from '../../../src/service/recoveries.js';

export const HASH = 'a'.repeat(64);

/** The secret that must come up nowhere: every token has it in it. */
export const CANARY = 'canary-4711';
export const tokenOf = (name: string) => `${CANARY}-${name}`;

const token = (name: string, roles: Role[], clusters = ['prod']): ApiToken => ({
  name,
  sha256: createHash('sha256').update(tokenOf(name)).digest('hex'),
  roles,
  clusters,
});

export const TOKENS: ApiToken[] = [
  token('viewer', ['viewer']),
  token('driller', ['drill-runner']),
  token('bot', ['operator']),
  token('ann', ['approver']),
  token('both', ['operator', 'approver']),
  token('stranger', ['operator', 'approver'], ['test']),
  token('root', ['operator', 'approver'], ['*']),
];

export function foundRun(change: Partial<FoundRun> = {}): FoundRun {
  return {
    id: 'r-1',
    runId: 'run-1',
    request: { cluster: 'prod' },
    status: 'running',
    startedAt: '2026-11-24T10:00:00.000Z',
    closedAt: null,
    ...change,
  };
}

export interface Sent {
  as?: string;
  /** Sent as JSON; a text is sent as it is. */
  body?: unknown;
  headers?: Record<string, string>;
  method?: string;
}

export const NO_REPORTS: ReportArchive = { load: async () => null, plan: async () => null };

/** The API on a service of which only what is given may be called; `find` knows the run r-1 of the cluster prod. */
export function api(
  service: Partial<RecoveryService> = {},
  {
    limits,
    alertmanager = null,
    reports = NO_REPORTS,
    drills = {},
    drillHistory = async () => [],
  }: {
    limits?: Partial<Limits>;
    alertmanager?: AlertMapping | null;
    reports?: ReportArchive;
    drills?: Partial<DrillService>;
    drillHistory?: DirectActions['drillHistory'];
  } = {},
) {
  const find = vi.fn(async (id: string) => {
    if (id === 'r-1') return foundRun();
    throw new RecoveryError('WORKFLOW_UNKNOWN', `there is no such recovery: ${id}`);
  });
  const calls: string[] = [];
  const recoveries = new Proxy(
    { find, ...service },
    {
      get: (target, key) => {
        const found: unknown = Reflect.get(target, key);
        if (typeof found !== 'function') throw new Error(`${CANARY}: ${String(key)} was called`);
        calls.push(String(key));
        return found as unknown;
      },
    },
  ) as RecoveryService;
  const lines: string[] = [];
  const write = (fields: object, message: string) => void lines.push(JSON.stringify({ ...fields, message }));
  const app = createApi({
    recoveries,
    drills: drills as DrillService,
    drillHistory,
    taskQueue: 'q',
    reports,
    clusters: ['prod', 'test'],
    alertmanager,
    authenticate: authenticateTokens(TOKENS),
    log: { info: write, warn: write },
    limits,
  });
  const ask = async (path: string, { as, body, headers = {}, method }: Sent = {}) => {
    const response = await app.request(path, {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      headers: {
        ...(as === undefined ? {} : { authorization: `Bearer ${tokenOf(as)}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text };
  };
  return { ask, calls, lines, app };
}

export const problemIn = (text: string) => JSON.parse(text) as ProblemDetails;
