import { STAGES, type StageName, type StageReport, type StageSpan } from './report.js';

/** A table in a stage; milliseconds since the epoch, workflow time. `to` null: it is there still. */
export interface TimedStage {
  stage: StageName;
  from: number;
  to: number | null;
}

const isStage = (state: string): state is StageName => (STAGES as readonly string[]).includes(state);

/** What a table went through, after it came into `state`: the stage before ends, and one begins where `state` is one. */
export function moved(before: readonly TimedStage[], state: string, now: number): TimedStage[] {
  if (before.at(-1)?.to === null && before.at(-1)?.stage === state) return [...before];
  const ended = before.map((each) => ({ ...each, to: each.to ?? now }));
  return isStage(state) ? [...ended, { stage: state, from: now, to: null }] : ended;
}

/** As reports have it. A table that is ready for validation waits for the others: that is not its validation. */
export function spansOf(
  timed: readonly TimedStage[],
  { startedAt, finishedAt, stages }: { startedAt: number; finishedAt: number; stages: readonly StageReport[] },
): StageSpan[] {
  const begun = stages.find(({ name }) => name === 'validate')?.startedAt ?? null;
  const validatedFrom = begun === null ? finishedAt : Date.parse(begun);
  const seconds = (at: number) => Math.round((at - startedAt) / 100) / 10;
  return timed.flatMap(({ stage, from, to }): StageSpan[] => {
    const end = to ?? finishedAt;
    const begin = stage === 'validate' ? Math.max(from, validatedFrom) : from;
    return begin <= end ? [[stage, seconds(begin), seconds(end)]] : [];
  });
}
