import type { Report } from './report.js';

export interface Verdict {
  /** Seconds. */
  wanted: number;
  met: boolean;
}

/** Null where no objective is set. What did not succeed has recovered nothing in time. */
export function rtoVerdict({ objectives, outcome, rtoSeconds }: Report): Verdict | null {
  const wanted = objectives?.rtoSeconds;
  if (wanted === undefined) return null;
  return { wanted, met: isGood(outcome) && rtoSeconds <= wanted };
}

/** Null where no objective is set, or where no data came from a backup. */
export function rpoVerdict({ objectives, outcome, rpo }: Report): Verdict | null {
  const wanted = objectives?.rpoSeconds;
  if (wanted === undefined || !rpo) return null;
  return { wanted, met: isGood(outcome) && rpo.ageSeconds <= wanted };
}

const isGood = (outcome: Report['outcome']) => outcome === 'succeeded' || outcome === 'nothing-to-do';
