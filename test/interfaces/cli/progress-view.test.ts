import { describe, expect, it } from 'vitest';
import { problem } from '../../../src/domain/errors.js';
import type { Progress, UnitProgress } from '../../../src/domain/messages.js';
import { clip, frame, ProgressView } from '../../../src/interfaces/cli/progress-view.js';

const unit = (label: string, state: UnitProgress['state'], change: Partial<UnitProgress> = {}): UnitProgress => ({
  label,
  state,
  rows: null,
  ...change,
});

function progress(change: Partial<Progress> = {}): Progress {
  return {
    recoveryId: 'r-1',
    cluster: 'prod',
    phase: 'executing',
    planHash: 'h',
    stages: [
      { name: 'stop', startedAt: 't0', finishedAt: 't1', outcome: 'done' },
      { name: 'restore-replica', startedAt: 't1', finishedAt: null, outcome: 'skipped' },
      { name: 'validate', startedAt: null, finishedAt: null, outcome: 'skipped' },
    ],
    units: [],
    paused: false,
    outcome: null,
    problem: null,
    ...change,
  };
}

function view(isTty: boolean, size = { columns: 60, rows: 12 }) {
  const written: string[] = [];
  const shown = new ProgressView({
    out: (text) => void written.push(text),
    err: () => undefined,
    isTty,
    size: () => size,
  });
  return { shown, take: () => written.splice(0).join('') };
}

describe('without a terminal', () => {
  it('prints one plain line for each change, and no change twice', () => {
    const { shown, take } = view(false);
    const first = progress({ units: [unit('db.t @ 01/r1', 'restore-replica'), unit('db.u @ 01/r1', 'waiting')] });
    shown.show(first);
    expect(take().split('\n')).toEqual([
      'phase executing',
      'stage stop started',
      'stage stop done',
      'stage restore-replica started',
      'db.t @ 01/r1 restore-replica',
      '',
    ]);
    shown.show(first);
    expect(take()).toBe('');
    shown.show(
      progress({
        units: [
          unit('db.t @ 01/r1', 'done', { rows: 2000 }),
          unit('db.u @ 01/r1', 'failed', { problem: problem('PART_BROKEN', 'all_1_1_0') }),
        ],
      }),
    );
    expect(take()).toBe('db.t @ 01/r1 done 2,000 rows\ndb.u @ 01/r1 failed PART_BROKEN: all_1_1_0\n');
  });

  it('says that it ended after all that led to it', () => {
    const { shown, take } = view(false);
    shown.show(progress({ phase: 'closed', units: [unit('a', 'done')] }));
    expect(take()).toMatch(/a done\nphase closed\n$/);
  });

  it('says that it is paused, and that it goes on', () => {
    const { shown, take } = view(false);
    shown.show(progress());
    expect(take()).not.toContain('resumed');
    shown.show(progress({ paused: true }));
    shown.show(progress({ paused: true }));
    shown.show(progress());
    expect(take()).toBe('paused\nresumed\n');
  });

  it('escapes what a name holds', () => {
    const { shown, take } = view(false);
    shown.show(progress({ units: [unit('db.t\nstage stop failed\u001b[2J', 'done')] }));
    expect(take()).toContain('db.t\\u000astage stop failed\\u001b[2J done\n');
  });
});

describe('on a terminal', () => {
  it('redraws in place, only what changed, and at most five times a second but for the last picture', () => {
    const { shown, take } = view(true);
    const states = { phase: 'executing', units: [unit('a', 'waiting')] } as const;
    shown.show(progress({ ...states, units: [...states.units] }));
    const lines = take().split('\n').length - 1;
    shown.show(progress({ units: [unit('a', 'validate')] }));
    expect(take(), 'too soon').toBe('');
    shown.show(progress({ phase: 'closed', outcome: 'succeeded', units: [unit('a', 'done')] }));
    const last = take();
    expect(last.startsWith(`\u001b[${lines}A`)).toBe(true);
    expect(last).toContain('✔ done');
    shown.show(progress({ phase: 'closed', outcome: 'succeeded', units: [unit('a', 'done')] }));
    expect(take(), 'nothing changed').toBe('');
  });

  it('writes no line wider than the terminal', () => {
    const { shown, take } = view(true, { columns: 40, rows: 24 });
    shown.show(progress({ units: [unit('表'.repeat(100), 'validate'), unit('t'.repeat(100), 'failed')] }));
    const lines = take()
      // eslint-disable-next-line no-control-regex
      .replace(/\u001b\[[0-9]*[A-Z]/g, '')
      .split('\n');
    for (const line of lines) expect(line.replaceAll('表', '##').length).toBeLessThan(40);
  });
});

describe('frame', () => {
  it('shows every unit in its place where there is room, with a bar for each stage', () => {
    const units = [unit('a', 'waiting'), unit('b', 'done', { rows: 1 }), unit('c', 'validate'), unit('d', 'failed')];
    const lines = frame(progress({ units }), 20);
    expect(lines[0]).toBe('prod  executing  1 of 4 done, 1 failed, 1 waiting');
    expect(lines[1]).toMatch(/^ {2}stop +█{20} done$/);
    expect(lines[2]).toMatch(/^ {2}restore-replica +█{10}░{10} 2\/4$/);
    expect(lines[3]).toMatch(/^ {2}validate +░{20}$/);
    expect(lines.slice(4).map((line) => line.trim().split(/ {2,}/).at(1))).toEqual(['a', 'b', 'c', 'd']);
  });

  it('shows only failed and active units where there are more than the screen holds', () => {
    const many = (count: number, state: UnitProgress['state']) =>
      Array.from({ length: count }, (_each, index) => unit(`${state}${index}`, state));
    const lines = frame(progress({ units: [...many(500, 'done'), ...many(2, 'validate'), ...many(1, 'failed')] }), 10);
    expect(lines.length).toBeLessThanOrEqual(10);
    expect(lines[0]).toContain('500 of 503 done, 1 failed');
    expect(lines[4]).toContain('failed0');
    expect(lines.slice(5, 7).join()).toMatch(/validate0.*validate1/);
    expect(lines.at(-1)).toBe('  … 500 more');
    expect(frame(progress({ units: many(500, 'failed') }), 10)).toHaveLength(10);
  });
});

describe('clip', () => {
  it.each([
    ['abc', 3, 'abc'],
    ['abcd', 3, 'abc'],
    ['表表', 3, '表'],
    ['😀b', 2, '😀'],
    ['e\u0301f', 2, 'e\u0301f'],
  ])('%s in %i columns', (line, columns, kept) => {
    expect(clip(line, columns)).toBe(kept);
  });
});
