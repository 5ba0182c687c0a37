import { describe, expect, it, vi } from 'vitest';
import { buildDrillReport, type DrillReport } from '../../../src/domain/drill.js';
import { problem, RecoveryError } from '../../../src/domain/errors.js';
import { createProgram } from '../../../src/interfaces/cli/program.js';
import type { DirectActions } from '../../../src/service/direct.js';
import type { DrillService } from '../../../src/service/drills.js';
import type { RecoveryService } from '../../../src/service/recoveries.js';

const report = (code?: 'DRILL_TARGET_UNSAFE' | 'DRILL_NO_DATA'): DrillReport => ({
  ...buildDrillReport({
    ...{
      drillId: 'd-1',
      recoveryId: '',
      cluster: 'prod',
      settings: null,
      backup: null,
      recovery: null,
      measured: null,
    },
    ...{
      problem: code ? problem(code, 'x') : null,
      skipped: null,
      aborted: false,
      cleanedUp: null,
      cleanUpProblem: null,
    },
    ...{ startedAt: 0, finishedAt: 0 },
  }),
  ...(code ? {} : { outcome: 'passed', problems: [] }),
});
const STARTED = { id: 'd-1', runId: 'r', started: true, taskQueue: 'q', workers: 1 };
const NEXT = { paused: false, note: '', next: '2026-11-29T04:00:00.000Z' };

/** What is not given may not be called. */
async function run(line: string[], drills: Partial<DrillService> = {}, direct: Partial<DirectActions> = {}) {
  let [stdout, stderr, opened] = ['', '', 0];
  const program = createProgram(
    async () => ({ taskQueue: 'q', close: async () => undefined, ...direct }) as unknown as DirectActions,
    { out: (text) => void (stdout += text), err: (text) => void (stderr += text), isTty: false },
    async () => {
      opened++;
      return { recoveries: {} as RecoveryService, drills: drills as DrillService, close: async () => undefined };
    },
  );
  const exitCode = await program.run(['node', 'ch-recover', 'drill', ...line]);
  return { exitCode, stdout, stderr, opened };
}

describe('ch-recover drill', () => {
  it.each<[name: string, line: string[], field: string | undefined]>([
    ['no action', ['--cluster', 'prod'], undefined],
    ['another action', ['stop', '--cluster', 'prod'], 'action'],
    ['a name of the language', ['constructor', '--cluster', 'prod'], 'action'],
    ['no cluster', ['run'], undefined],
    ['a bad backup', ['run', '--cluster', 'prod', '--backup', '../x'], 'backup'],
    ['--cron for run', ['run', '--cluster', 'prod', '--cron', '0 4 * * 0'], 'cron'],
    ['--wait for list', ['list', '--cluster', 'prod', '--wait'], 'wait'],
    ['no --cron', ['schedule', '--cluster', 'prod'], 'cron'],
    ['--limit', ['list', '--cluster', 'prod', '--limit', '0'], 'limit'],
  ])('%s: exit 2, nothing opened', async (_name, line, field) => {
    const { exitCode, stdout, opened } = await run([...line, '--json']);
    expect([exitCode, opened]).toEqual([2, 0]);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'INPUT_INVALID', ...(field ? { field } : {}) } });
  });

  it.each([
    [undefined, 0],
    ['DRILL_NO_DATA', 1],
    ['DRILL_TARGET_UNSAFE', 3],
  ] as const)('run --wait: %s exits %d, with the report', async (code, expected) => {
    const start = vi.fn(async () => STARTED);
    const { exitCode, stdout } = await run(['run', '--cluster', 'prod', '--backup', 'r/b', '--wait'], {
      start,
      result: async () => report(code),
    });
    expect(exitCode).toBe(expected);
    expect(stdout).toContain(`# Drill of prod: ${code ? 'failed' : 'passed'}`);
    expect(start).toHaveBeenCalledWith({ cluster: 'prod', backup: 'r/b' }, 'q');
  });

  it('schedule creates or changes, and says when the next one is', async () => {
    const schedule = vi.fn(async () => ({ id: 's', created: true }));
    const line = ['schedule', '--cluster', 'prod', '--cron', '0 4 * * 0'];
    const { stdout } = await run(line, { schedule, scheduled: async () => NEXT });
    expect(stdout).toBe('scheduled drills of prod: next 2026-11-29T04:00:00.000Z\n');
    expect(schedule).toHaveBeenCalledWith({ cluster: 'prod' }, '0 4 * * 0', 'q');
  });

  it.each([
    [true, 'drills of prod are no longer scheduled\n'],
    [false, 'drills of prod were not scheduled\n'],
  ])('unschedule: %s', async (removed, text) => {
    const answer = await run(['unschedule', '--cluster', 'prod'], { unschedule: async () => removed });
    expect([answer.exitCode, answer.stdout]).toEqual([0, text]);
  });

  it('list says why a schedule is paused, and its note cannot command the terminal', async () => {
    const drillHistory = vi.fn(async () => [report('DRILL_NO_DATA')]);
    const scheduled = async () => ({ paused: true, note: 'x\u001b[2J', next: null });
    const { stdout } = await run(['list', '--cluster', 'prod', '--limit', '5'], { scheduled }, { drillHistory });
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toMatch(
      /^schedule: PAUSED: x.*\nthere was no good drill\n1970-01-01 00:00:00 {2}failed .*DRILL_NO_DATA\n$/,
    );
    expect(drillHistory).toHaveBeenCalledWith('prod', 5);
  });

  it('list needs no Temporal', async () => {
    const scheduled = () => Promise.reject(new RecoveryError('TEMPORAL_UNAVAILABLE', 'away'));
    const { exitCode, stdout } = await run(
      ['list', '--cluster', 'prod'],
      { scheduled },
      { drillHistory: async () => [] },
    );
    expect([exitCode, stdout]).toEqual([0, 'schedule: not known, Temporal does not answer\nthere was no good drill\n']);
  });
});
