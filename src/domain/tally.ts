import { ERRORS, type Problem } from './errors.js';
import type { UnitProgress } from './messages.js';

/** Failures that are named: of thousands that failed alike, the first ones tell. */
export const MAX_FAILURES = 20;

/** How many units of a plan ended how. Adds up, so that thousands of results need not be in one place. */
export interface Tally {
  /** All that are not left as they are, refused ones among them. */
  work: number;
  /** Done, and what was counted is what was expected: a state is not believed alone. */
  done: number;
  failed: number;
  skipped: number;
  /** That stay for a person. */
  refused: number;
  /** The first failure of the kind that decides: one that is no question to a person, where there is one. */
  problem: Problem | null;
  refusal: Problem | null;
  failures: { label: string; problem?: Problem }[];
}

/** What a tally needs to know of a unit. */
export interface TalliedUnit {
  label: string;
  action: string;
  problem?: Problem;
  result:
    | {
        state: UnitProgress['state'];
        rowsExpected: number | null;
        rowsFound: number | null;
        problem?: Problem;
      }
    | undefined;
}

export const NO_TALLY: Tally = {
  ...{ work: 0, done: 0, failed: 0, skipped: 0, refused: 0, problem: null, refusal: null },
  failures: [],
};

export function tallyOf(units: readonly TalliedUnit[]): Tally {
  const tally: Tally = { ...NO_TALLY, failures: [] };
  for (const { label, action, problem, result } of units) {
    // What was to be left as it is, and failed, failed all the same.
    if (action !== 'none') tally.work++;
    if (action === 'needs-operator') {
      tally.refused++;
      tally.refusal ??= problem ?? null;
    }
    if (result?.state === 'skipped') tally.skipped++;
    if (action !== 'none' && result?.state === 'done' && isEqual(result.rowsExpected, result.rowsFound)) tally.done++;
    if (result?.state !== 'failed') continue;
    tally.failed++;
    tally.problem = worse(tally.problem, result.problem);
    if (tally.failures.length < MAX_FAILURES)
      tally.failures.push({ label, ...(result.problem ? { problem: result.problem } : {}) });
  }
  return tally;
}

const isEqual = (expected: number | null | undefined, found: number | null | undefined) =>
  expected === null || expected === undefined || found === null || found === undefined || expected === found;

const isHard = (problem: Problem) => ERRORS[problem.code].outcome === 'failed';

function worse(known: Problem | null, next: Problem | null | undefined): Problem | null {
  if (!known || !next) return known ?? next ?? null;
  return !isHard(known) && isHard(next) ? next : known;
}

export function addTallies(a: Tally, b: Tally): Tally {
  return {
    work: a.work + b.work,
    done: a.done + b.done,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
    refused: a.refused + b.refused,
    problem: worse(a.problem, b.problem),
    refusal: a.refusal ?? b.refusal,
    failures: [...a.failures, ...b.failures].slice(0, MAX_FAILURES),
  };
}
