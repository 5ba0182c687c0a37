import { describe, expect, it } from 'vitest';
import { moved, spansOf, type TimedStage } from '../../src/domain/timeline.js';
import { emptyStages } from '../../src/domain/build-report.js';
import { at } from './reports.js';

const START = Date.parse(at(0));

/** What a table goes through, state by state, a second each. */
const through = (...states: string[]) =>
  states.reduce<TimedStage[]>((timed, state, i) => moved(timed, state, START + i * 1_000), []);

const spans = (timed: TimedStage[], validatedAt: string | null = null) => {
  const stages = emptyStages().map((stage) =>
    stage.name === 'validate' ? { ...stage, startedAt: validatedAt } : stage,
  );
  return spansOf(timed, { startedAt: START, finishedAt: START + 100_000, stages });
};

describe('the timeline of a table', () => {
  it('has each stage from its beginning to the next state', () => {
    const timed = through('waiting', 'restore-data', 'verify-parts', 'restore-replica', 'validate', 'done');
    expect(spans(timed, at(4))).toEqual([
      ['restore-data', 1, 2],
      ['verify-parts', 2, 3],
      ['restore-replica', 3, 4],
      ['validate', 4, 5],
    ]);
  });

  it('waiting for the others is not validation', () => {
    const timed = moved(through('restore-replica', 'validate'), 'done', START + 60_000);
    expect(spans(timed, at(59))).toEqual([
      ['restore-replica', 0, 1],
      ['validate', 59, 60],
    ]);
    expect(spans(through('restore-replica', 'validate', 'failed'), null)).toEqual([['restore-replica', 0, 1]]);
  });

  it('one that was tried again has its stages twice, without the time between', () => {
    const timed = through('verify-parts', 'failed', 'waiting', 'verify-parts', 'failed');
    expect(spans(timed)).toEqual([
      ['verify-parts', 0, 1],
      ['verify-parts', 3, 4],
    ]);
  });

  it('what does not end, ends with the recovery; the same state again is no new beginning', () => {
    expect(spans(through('restore-data', 'restore-data'))).toEqual([['restore-data', 0, 100]]);
    expect(spans(through('waiting', 'skipped'))).toEqual([]);
  });
});
