import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ColdReport } from '../../../src/domain/cold.js';
import { problem, RecoveryError, type Problem } from '../../../src/domain/errors.js';
import type { Progress } from '../../../src/domain/messages.js';
import type { Plan } from '../../../src/domain/plan.js';
import { planToText } from '../../../src/domain/render-plan.js';
import type { Outcome, Report } from '../../../src/domain/report.js';
import { createProgram } from '../../../src/interfaces/cli/program.js';
import type { DirectActions } from '../../../src/service/direct.js';
import { progressOfReport } from '../../../src/service/progress-of-report.js';
import type { DrillService } from '../../../src/service/drills.js';
import type { RecoveryService } from '../../../src/service/recoveries.js';
import { repoRoot } from '../../support/tools.js';

const { version } = JSON.parse(readFileSync(join(repoRoot, 'package.json'), 'utf8')) as { version: string };

const HASH = 'a'.repeat(64);

const emptyPlan: Plan = {
  cluster: 'prod',
  hash: HASH,
  backup: null,
  nodes: [],
  items: [],
  keeperState: [],
  warnings: [],
  refusals: [],
};

function report(outcome: Outcome): Report {
  return {
    schemaVersion: 1,
    recoveryId: 'r-1',
    cluster: 'prod',
    outcome,
    situations: {},
    plan: { hash: HASH, approvedBy: '' },
    stages: [],
    tables: [],
    keeperState: [],
    fence: 'lifted',
    startedAt: '2026-11-24T10:00:00.000Z',
    finishedAt: '2026-11-24T10:00:01.000Z',
    rtoSeconds: 1,
    rpo: null,
    warnings: [],
    unrecovered: [],
  };
}

/** Runs one command line. What is not given refuses to be called, so a test also says what a command leaves alone. */
async function run(
  line: string[],
  {
    direct = {},
    service = {},
    drills = {},
  }: { direct?: Partial<DirectActions>; service?: Partial<RecoveryService>; drills?: Partial<DrillService> } = {},
) {
  let stdout = '';
  let stderr = '';
  const seen = { configs: [] as string[], opened: 0, closed: 0 };
  const refusing = <T extends object>(given: Partial<T>, what: string): T =>
    new Proxy(given, {
      get: (target, key) => {
        const found: unknown = Reflect.get(target, key);
        // `then` is asked for by await.
        if (found === undefined && key !== 'then') throw new Error(`${what}.${String(key)} was called`);
        return found;
      },
    }) as T;
  const close = async () => void seen.closed++;
  const program = createProgram(
    async (config) => {
      seen.configs.push(config);
      return refusing<DirectActions>({ taskQueue: 'q', close, ...direct }, 'direct');
    },
    { out: (text) => void (stdout += text), err: (text) => void (stderr += text), isTty: false },
    async () => {
      seen.opened++;
      return {
        recoveries: refusing<RecoveryService>(service, 'service'),
        drills: refusing<DrillService>(drills, 'drills'),
        close,
      };
    },
  );
  const exitCode = await program.run(['node', 'ch-recover', ...line]);
  return { exitCode, stdout, stderr, ...seen };
}

const errorIn = (stdout: string) => (JSON.parse(stdout) as { error: Problem }).error;

beforeEach(() => {
  vi.stubEnv('CH_RECOVER_CONFIG', undefined);
  vi.stubEnv('CH_RECOVER_DEBUG', undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

describe('bad usage and bad input: exit 2, nothing opened, nothing sent', () => {
  it.each<[name: string, line: string[], field: string | undefined]>([
    ['unknown command', ['heal'], undefined],
    ['missing --cluster', ['start'], undefined],
    ['missing id', ['status'], undefined],
    ['one argument too many', ['status', 'a', 'b'], undefined],
    ['unknown option', ['plan', '--cluster', 'prod', '--force'], undefined],
    ['bad backup', ['start', '--cluster', 'prod', '--backup', '../x'], 'backup'],
    ['bad pattern', ['start', '--cluster', 'prod', '--tables', 'orders'], 'tables.0'],
    ['bad hash', ['start', '--cluster', 'prod', '--approve', 'zz'], 'approve'],
    ['--yes with --approve', ['start', '--cluster', 'prod', '--yes', '--approve', HASH], 'approve'],
    ['control character', ['plan', '--cluster', 'p\u001b[2J'], 'cluster'],
    ['bad repository', ['backup', '--cluster', 'prod', '--to', 'a/b'], 'to'],
    ['no hash', ['approve', 'r-1'], 'plan'],
    ['two hashes', ['approve', 'r-1', HASH, '--plan', 'b'.repeat(64)], 'plan'],
    ['unknown action', ['resolve', 'r-1', 'ignore'], 'action'],
    ['pattern of resolve', ['resolve', 'r-1', 'skip', '--tables', 'orders'], 'tables.0'],
    ['unknown format', ['report', 'r-1', '--format', 'pdf'], 'format'],
    ['a UI that is no address', ['template', '--cluster', 'prod', '--ui', 'javascript:x'], 'ui'],
    ['bad address', ['api', '--listen', '8080'], 'listen'],
    ['unknown schema', ['schema', 'toString'], 'what'],
  ])('%s', async (_name, line, field) => {
    const { exitCode, stdout, stderr, opened, configs } = await run([...line, '--json']);
    expect(exitCode).toBe(2);
    expect(errorIn(stdout)).toMatchObject({ code: 'INPUT_INVALID', ...(field ? { field } : {}) });
    expect(stderr).toMatch(/^error: .+ \(INPUT_INVALID\)\nhint: .+\n$/);
    expect({ opened, configs }).toEqual({ opened: 0, configs: [] });
    expect((await run(line)).stdout).toBe('');
  });

  it('no command: the usage, on stderr', async () => {
    const { exitCode, stdout, stderr } = await run([]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain('Usage: ch-recover');
  });

  it('--help and --version are no mistakes', async () => {
    expect(await run(['--help'])).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await run(['start', '--help'])).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await run(['--version'])).toMatchObject({ exitCode: 0, stdout: `${version}\n` });
  });
});

describe('errors', () => {
  it('an unknown one is INTERNAL, on one line, without a stack', async () => {
    const direct = { plan: () => Promise.reject(new Error('boom\u001b[2J\nat home')) };
    const { exitCode, stderr } = await run(['plan', '--cluster', 'prod'], { direct });
    expect(exitCode).toBe(1);
    expect(stderr).toBe('error: boom\\u001b[2J\\u000aat home (INTERNAL)\nhint: see the worker log\n');
  });

  it('has a stack where CH_RECOVER_DEBUG asks for it', async () => {
    vi.stubEnv('CH_RECOVER_DEBUG', '1');
    const direct = { plan: () => Promise.reject(new Error('boom')) };
    expect((await run(['plan', '--cluster', 'prod'], { direct })).stderr).toContain('program.test');
  });

  it.each([
    ['PLAN_STALE', 2],
    ['WORKFLOW_UNKNOWN', 2],
    ['TEMPORAL_UNAVAILABLE', 1],
    ['WORKER_UNAVAILABLE', 1],
    ['RECOVERY_RUNNING', 3],
  ] as const)('%s ends with %i and closes what was opened', async (code, expected) => {
    const service = { approve: () => Promise.reject(new RecoveryError(code, 'so it is')) };
    const answer = await run(['approve', 'r-1', HASH, '--json'], { service });
    expect(answer).toMatchObject({ exitCode: expected, opened: 1, closed: 1 });
    expect(errorIn(answer.stdout)).toEqual(problem(code, 'so it is'));
  });
});

describe('configuration', () => {
  const direct = { plan: async () => emptyPlan };
  it.each<[name: string, env: string | undefined, line: string[], used: string]>([
    ['default', undefined, [], 'recovery.yaml'],
    ['environment', 'env.yaml', [], 'env.yaml'],
    ['option beats environment', 'env.yaml', ['--config', 'o.yaml'], 'o.yaml'],
  ])('%s', async (_name, env, line, used) => {
    vi.stubEnv('CH_RECOVER_CONFIG', env);
    expect((await run(['plan', '--cluster', 'prod', ...line], { direct })).configs).toEqual([used]);
    expect((await run([...line, 'plan', '--cluster', 'prod'], { direct })).configs).toEqual([used]);
  });

  it('starting needs no file, but one that is named has to be there', async () => {
    const start = vi.fn(async () => ({ id: 'r-1', runId: 'x', started: true, workers: 1 }));
    const startWith = (line: string[]) => {
      const load = () => Promise.reject(new RecoveryError('CONFIG_NOT_FOUND', 'not there'));
      const streams = { out: () => undefined, err: () => undefined, isTty: false };
      const recoveries = { start } as unknown as RecoveryService;
      const drills = {} as DrillService;
      const program = createProgram(load, streams, async () => ({ recoveries, drills, close: async () => undefined }));
      return program.run(['node', 'ch-recover', 'start', '--cluster', 'prod', ...line]);
    };
    expect(await startWith([])).toBe(0);
    expect(start).toHaveBeenLastCalledWith({ cluster: 'prod' }, 'clickhouse-recovery');
    expect(await startWith(['--config', 'typo.yaml'])).toBe(2);
    expect(start).toHaveBeenCalledTimes(1);
  });
});

describe('start', () => {
  const started = { id: "recover-prod-incident-it's", runId: 'x', started: true, taskQueue: 'q', workers: 0 };

  it('sends the request, warns where no worker polls, and says what to type next', async () => {
    const start = vi.fn(async () => started);
    const line = ['start', '--cluster', 'prod', '--backup', 'latest', '--tables', 'a.*', '--tables', 'b.*', '--yes'];
    const { exitCode, stdout, stderr } = await run(line, { service: { start } });
    expect(start).toHaveBeenCalledWith(
      { cluster: 'prod', backup: 'latest', tables: ['a.*', 'b.*'], approval: 'auto' },
      'q',
    );
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(
      /^warning: no worker polls task queue q, .* \(WORKER_UNAVAILABLE\)\nhint: .*ch-recover worker/,
    );
    expect(stdout).toContain("ch-recover watch 'recover-prod-incident-it'\\''s'");
  });

  it('puts an approved hash into the request', async () => {
    const start = vi.fn(async () => started);
    await run(['start', '--cluster', 'prod', '--approve', HASH], { service: { start } });
    expect(start).toHaveBeenCalledWith({ cluster: 'prod', approve: HASH }, 'q');
  });

  it('prints only its JSON', async () => {
    const { stdout } = await run(['start', '--cluster', 'prod', '--json'], { service: { start: async () => started } });
    expect(JSON.parse(stdout)).toEqual(started);
  });

  it.each<[Outcome, number]>([
    ['succeeded', 0],
    ['nothing-to-do', 0],
    ['failed', 1],
    ['aborted', 1],
    ['needs-operator', 3],
  ])('--wait: %s ends with %i', async (outcome, expected) => {
    const watch: RecoveryService['watch'] = async (_id, onProgress) => {
      onProgress(progressOfReport(report(outcome)));
      return report(outcome);
    };
    const service = { start: async () => started, watch, report: async () => report(outcome) };
    const people = await run(['start', '--cluster', 'prod', '--wait'], { service });
    expect(people.exitCode).toBe(expected);
    expect(people.stdout).toContain(`${outcome}: 0 tables recovered`);
    const machine = await run(['start', '--cluster', 'prod', '--wait', '--json'], { service });
    expect(machine.exitCode).toBe(expected);
    expect(JSON.parse(machine.stdout)).toEqual(report(outcome));
    expect((await run(['report', 'r-1'], { service })).exitCode).toBe(expected);
  });
});

describe('plan', () => {
  const item = { database: 'd', table: 't', node: { name: 'a', shard: '1', replica: 'r' }, statements: [] };
  const planned = (change: object) => ({ direct: { plan: async () => ({ ...emptyPlan, ...change }) } });
  const line = ['plan', '--cluster', 'prod', '--backup', 'latest', '--tables', 'my shop.*'];

  it('says how to start exactly this plan', async () => {
    const answer = await run(line, planned({ items: [{ ...item, action: 'restore-replica', situation: 'x' }] }));
    expect(answer.exitCode).toBe(0);
    expect(answer.stdout).toContain(
      `next: ch-recover start --cluster prod --backup latest --tables 'my shop.*' --approve ${HASH}`,
    );
  });

  it.each<[name: string, change: object, exitCode: number]>([
    ['nothing to do', {}, 0],
    ['an operator has to decide', { items: [{ ...item, action: 'needs-operator', situation: 'diverged' }] }, 3],
    ['refused for an operator', { refusals: [problem('RECOVERY_UNFINISHED', 'm')] }, 3],
    ['refused for a failure', { refusals: [problem('MANIFEST_INVALID', 'm')] }, 1],
    ['refused for bad input', { refusals: [problem('BACKUP_UNKNOWN', 'm')] }, 2],
  ])('%s', async (_name, change, exitCode) => {
    const answer = await run([...line, '--json'], planned(change));
    expect(answer.exitCode).toBe(exitCode);
    expect(JSON.parse(answer.stdout)).toEqual({ ...emptyPlan, ...change });
    expect((await run(line, planned(change))).stdout).not.toContain('next:');
  });
});

describe('status', () => {
  const progress: Progress = {
    recoveryId: 'r-1',
    cluster: 'prod',
    phase: 'waiting-for-approval',
    planHash: HASH,
    stages: [],
    units: [
      {
        label: 'd.t\n\u001b[2J @ 01/r1',
        state: 'failed',
        rows: null,
        problem: problem('PART_BROKEN', 'all_1_1_0'),
      },
    ],
    paused: false,
    outcome: null,
    problem: null,
  };

  it.each<[name: string, change: Partial<Progress>, next: string | null]>([
    ['approval', {}, `next: ch-recover approve r-1 --plan ${HASH}`],
    ['a decision', { phase: 'waiting-for-resolve' }, 'next: ch-recover resolve r-1 retry'],
    ['resume', { phase: 'executing', paused: true }, 'next: ch-recover resume r-1'],
    ['nobody', { phase: 'executing' }, null],
  ])('waits for %s', async (_name, change, next) => {
    const service = { progress: async () => ({ ...progress, ...change }) };
    const { stdout, exitCode } = await run(['status', 'r-1'], { service });
    expect(exitCode).toBe(0);
    if (next === null) expect(stdout).not.toContain('next:');
    else expect(stdout.split('\n')).toContain(next);
    expect(stdout).toContain('failed d.t\\u000a\\u001b[2J @ 01/r1: PART_BROKEN: all_1_1_0');
    expect(JSON.parse((await run(['status', 'r-1', '--json'], { service })).stdout)).toEqual({
      ...progress,
      ...change,
    });
  });
});

describe('cold status', () => {
  const report = {
    ...{ schemaVersion: 1, id: 'c-1', kind: 'backup', cluster: 'prod', generation: 'g1', outcome: 'succeeded' },
    ...{ plan: { hash: HASH, approvedBy: '' }, steps: [], hosts: [], downtimeSeconds: 9, clusterUp: true },
    ...{ rolledBack: false, instead: null, warnings: [], problem: null, startedAt: '', finishedAt: '' },
  } as ColdReport;
  const forgotten = async () => Promise.reject(new RecoveryError('WORKFLOW_UNKNOWN', 'there is no such recovery: c-1'));

  it('reads the report store where Temporal has forgotten the run', async () => {
    const direct = { coldReport: async () => report };
    const { stdout, exitCode } = await run(['cold', 'status', 'c-1'], { service: { coldProgress: forgotten }, direct });
    expect(stdout).toContain('phase closed\ncold backup of prod: succeeded\ncopy g1\n');
    expect(exitCode).toBe(0);
  });

  it('says that it does not know the run, where nothing is stored or the store is away', async () => {
    for (const coldReport of [async () => null, async () => Promise.reject(new Error('away'))]) {
      const { stdout, exitCode } = await run(['cold', 'status', 'c-1', '--json'], {
        ...{ service: { coldProgress: forgotten }, direct: { coldReport } },
      });
      expect(errorIn(stdout).code).toBe('WORKFLOW_UNKNOWN');
      expect(exitCode).toBe(2);
    }
  });
});

describe('the other commands', () => {
  it('status prints the plan that waits', async () => {
    const { stdout } = await run(['status', 'r-1', '--plan'], { service: { plan: async () => emptyPlan } });
    expect(stdout).toBe(planToText(emptyPlan));
    const none = await run(['status', 'r-1', '--plan', '--json'], { service: { plan: async () => null } });
    expect(errorIn(none.stdout).code).toBe('NOT_YET');
  });

  it('approve takes the hash either way', async () => {
    vi.stubEnv('USER', 'ann');
    const approve = vi.fn(async () => 'approved by ann');
    for (const line of [
      ['approve', 'r-1', '--plan', HASH],
      ['approve', 'r-1', HASH],
    ]) {
      const { stdout, exitCode } = await run([...line, '--json'], { service: { approve } });
      expect(exitCode).toBe(0);
      expect(JSON.parse(stdout)).toEqual({ id: 'r-1', planHash: HASH, answer: 'approved by ann' });
      expect(approve).toHaveBeenLastCalledWith('r-1', { planHash: HASH, by: 'ann' });
    }
  });

  it('resolve and the signals say what was sent', async () => {
    const resolve = vi.fn(async () => undefined);
    await run(['resolve', 'r-1', 'retry', '--tables', 'd.*', '--by', 'ann'], { service: { resolve } });
    expect(resolve).toHaveBeenCalledWith('r-1', { action: 'retry', tables: ['d.*'], by: 'ann' });
    const signal = vi.fn(async () => undefined);
    for (const name of ['abort', 'pause', 'resume']) {
      const { stdout } = await run([name, 'r-1', '--json'], { service: { signal } });
      expect(JSON.parse(stdout)).toEqual({ id: 'r-1', sent: name });
      expect(signal).toHaveBeenLastCalledWith('r-1', name);
    }
  });

  it.each([true, false])('doctor: ok %s', async (ok) => {
    const keeper = { name: 'keeper', ok, detail: 'answers' };
    const doctor = async () => ({ cluster: 'prod', ok, nodes: [], keeper, backups: [] });
    const answer = await run(['doctor', '--cluster', 'prod'], {
      direct: { doctor },
      service: { workers: async () => 2 },
    });
    expect(answer.exitCode).toBe(ok ? 0 : 1);
    expect(answer.stdout).toContain('✔ worker: 2 polled');
    expect(answer.stdout).toContain(`${ok ? '✔' : '✖'} keeper: answers\n`);
  });

  it.each<[name: string, workers: RecoveryService['workers'], code: string]>([
    ['no worker', async () => 0, 'WORKER_UNAVAILABLE'],
    ['no Temporal', () => Promise.reject(new RecoveryError('TEMPORAL_UNAVAILABLE', 'away')), 'TEMPORAL_UNAVAILABLE'],
  ])('doctor: %s is a finding, with its hint, beside what the nodes say', async (_name, workers, code) => {
    const keeper = { name: 'keeper', ok: true, detail: 'answers' };
    const direct = { doctor: async () => ({ cluster: 'prod', ok: true, nodes: [], keeper, backups: [] }) };
    const answer = await run(['doctor', '--cluster', 'prod'], { direct, service: { workers } });
    expect(answer.exitCode).toBe(1);
    expect(answer.stdout).toMatch(new RegExp(`✖ worker: ${code}: .*\\(hint: .+\\)\n✔ keeper: answers`));
  });

  it.each([true, false])('unfence: ok %s', async (ok) => {
    const unfence = { cluster: 'prod', ok, nodes: [{ name: 'a', ok, detail: 'x\u001b[2J' }] };
    const direct = { unfence: async () => unfence };
    const exitCode = ok ? 0 : 1;
    const text = await run(['unfence', '--cluster', 'prod'], { direct });
    expect(text).toMatchObject({ exitCode, opened: 0, stdout: `${ok ? '✔' : '✖'} a: x\\u001b[2J\n` });
    const json = (await run(['unfence', '--cluster', 'prod', '--json'], { direct })).stdout;
    expect(JSON.parse(json)).toEqual(unfence);
  });

  describe('report', () => {
    const unknown = () => Promise.reject(new RecoveryError('WORKFLOW_UNKNOWN', 'there is no such workflow: r-1'));

    it('as HTML, with the stored plan, to a file', async () => {
      const out = join(mkdtempSync(join(tmpdir(), 'tcr-report-')), 'r.html');
      const reports = {
        load: unknown,
        plan: async (hash: string) => (hash === HASH ? 'SYSTEM RESTORE REPLICA' : null),
      };
      const service = { report: async () => report('failed') };
      const answer = await run(['report', 'r-1', '--format', 'html', '--out', out], { service, direct: { reports } });
      expect(answer).toMatchObject({ exitCode: 1, stdout: `wrote ${out}\n` });
      const page = readFileSync(out, 'utf8');
      expect(page).toContain('<title>prod: failed</title>');
      expect(page).toContain('SYSTEM RESTORE REPLICA');
      rmSync(dirname(out), { recursive: true });
      const refused = await run(['report', 'r-1', '--out', out], { service });
      expect(refused).toMatchObject({
        exitCode: 2,
        stderr: expect.stringContaining('cannot be written (ENOENT)') as string,
      });
    });

    it('from the store where Temporal has forgotten the run', async () => {
      const load = vi.fn(async (id: string) => (id === 'r-1' ? report('succeeded') : null));
      const direct = { reports: { load, plan: unknown } };
      const answer = await run(['report', 'r-1', '--json'], { service: { report: unknown }, direct });
      expect({ code: answer.exitCode, report: JSON.parse(answer.stdout) as Report }).toEqual({
        code: 0,
        report: report('succeeded'),
      });
      const other = await run(['report', 'r-2', '--json'], { service: { report: unknown }, direct });
      expect({ code: other.exitCode, error: errorIn(other.stdout).code }).toEqual({
        code: 2,
        error: 'WORKFLOW_UNKNOWN',
      });
    });
  });

  describe('template', () => {
    const left = { id: 't-1', runId: 'run', namespace: 'default', workflowType: 'recoverCluster', taskQueue: 'q' };
    const path = '/namespaces/default/workflows/start-workflow?runId=run&workflowType=recoverCluster&taskQueue=q';

    it('prints the link; the UI is the one that is named, then the one of recovery.yaml', async () => {
      const template = vi.fn(async () => left);
      const line = ['template', '--cluster', 'prod', '--backup', 'latest', '--tables', 'a.*'];
      const configured = await run(line, { service: { template }, direct: { ui: 'https://ui.internal' } });
      expect(configured).toMatchObject({ exitCode: 0, stderr: '' });
      expect(configured.stdout.split('\n')[1]).toBe(`https://ui.internal${path}`);
      expect(template.mock.lastCall).toEqual([{ cluster: 'prod', backup: 'latest', tables: ['a.*'] }, 'q']);
      const named = await run([...line, '--ui', 'http://ui:1/', '--json'], { service: { template } });
      expect(JSON.parse(named.stdout)).toEqual({ ...left, url: `http://ui:1${path}` });
    });

    it.each([
      ['127.0.0.1:7233', 'http://127.0.0.1:8233'],
      ['temporal.internal:7300', 'http://temporal.internal:8300'],
      ['dr.a1b2c.tmprl.cloud:7233', 'https://cloud.temporal.io'],
    ])('without either, what %s suggests, and that it is a guess', async (address, ui) => {
      vi.stubEnv('TEMPORAL_ADDRESS', address);
      const answer = await run(['template', '--cluster', 'prod'], {
        service: { template: async () => left },
        direct: { ui: undefined },
      });
      expect(answer.stdout).toContain(`\n${ui}/namespaces/`);
      expect(answer.stderr).toContain('guessed');
    });
  });

  it('schema prints one, or all three', async () => {
    const all = JSON.parse((await run(['schema'])).stdout) as Record<string, unknown>;
    expect(Object.keys(all)).toEqual(['config', 'input', 'report']);
    for (const what of Object.keys(all)) expect(JSON.parse((await run(['schema', what])).stdout)).toEqual(all[what]);
  });
});
