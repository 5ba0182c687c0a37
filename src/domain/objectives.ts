import type { Report } from './report.js';

export interface Verdict {
  /** Seconds. */
  wanted: number;
  met: boolean;
  /** False: whatever the time was, it was not one to recover. */
  recovered: boolean;
}

/** Null where no objective is set. What did not succeed has recovered nothing in time. */
export function rtoVerdict({ objectives, outcome, rtoSeconds }: Report): Verdict | null {
  const wanted = objectives?.rtoSeconds;
  if (wanted === undefined) return null;
  return verdict(rtoSeconds, wanted, outcome);
}

/** Null where no objective is set, or where no data came from a backup. */
export function rpoVerdict({ objectives, outcome, rpo }: Report): Verdict | null {
  const wanted = objectives?.rpoSeconds;
  if (wanted === undefined || !rpo) return null;
  return verdict(rpo.ageSeconds, wanted, outcome);
}

function verdict(measured: number, wanted: number, outcome: Report['outcome']): Verdict {
  const recovered = outcome === 'succeeded' || outcome === 'nothing-to-do';
  return { wanted, recovered, met: recovered && measured <= wanted };
}
