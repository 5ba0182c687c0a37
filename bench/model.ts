/** What a benchmark says: rows of one side against another, in one run on one machine. Pure. */

/** One comparison. Seconds, each the better of its rounds; null: that side did not get to its end. */
export interface Row {
  case: string;
  /** What was done, for people: '1,000 tables, 1 shard'. */
  what: string;
  /** What it is compared with. */
  against: string;
  ours: number | null;
  other: number | null;
  /** How `ours` and `other` read in the table. @default 's' */
  unit?: 's' | 'ms' | 'MB/s' | 'events' | 'bytes' | 'KB' | 'MB' | 'queries' | 'tables' | '%';
  /** For people: '≤ 1.10 ×'. */
  target: string;
  verdict: Verdict;
  /** One-minute load average while it was measured: above the number of cores, others were at work. */
  load: number;
  /** Further figures, for results.json and for who looks closer. */
  figures: Record<string, number | string | null>;
  /** Why a side has no figure. */
  failure?: string;
}

export type Verdict = 'met' | 'missed' | 'for information';

export interface Machine {
  cpu: string;
  cores: number;
  memoryGb: number;
  os: string;
  node: string;
}

export interface CaseResult {
  /** ISO 8601. */
  at: string;
  commit: string;
  machine: Machine;
  rounds: number;
  seconds: number;
  rows: Row[];
}

/** bench/results.json. By the names of the cases: one that is measured alone leaves the others as they are. */
export interface Results {
  schemaVersion: 1;
  cases: Record<string, CaseResult>;
}

export const NO_RESULTS: Results = { schemaVersion: 1, cases: {} };

export type Target =
  /** `ours` is at most so many times the other. */
  | { atMostTimes: number }
  /** `ours` is at least so many times the other: throughputs. */
  | { atLeastTimes: number }
  /** The other takes at least so many times as long. */
  | { timesFaster: number }
  /** `ours` takes at most so much longer, in its unit. */
  | { atMostMore: number }
  /** Whatever the other is. */
  | { atMost: number }
  | { atLeast: number };

export function isMet(target: Target, ours: number, other: number | null): boolean {
  if ('atMost' in target) return ours <= target.atMost;
  if ('atLeast' in target) return ours >= target.atLeast;
  if (other === null) return false;
  if ('atMostTimes' in target) return ours <= other * target.atMostTimes;
  if ('atLeastTimes' in target) return ours >= other * target.atLeastTimes;
  if ('timesFaster' in target) return ours * target.timesFaster <= other;
  return ours <= other + target.atMostMore;
}

export function targetText(target: Target, unit: Row['unit'] = 's'): string {
  if ('atMost' in target) return `≤ ${number(target.atMost)} ${unit}`;
  if ('atLeast' in target) return `≥ ${number(target.atLeast)} ${unit}`;
  if ('atMostTimes' in target) return `≤ ${target.atMostTimes.toFixed(2)} ×`;
  if ('atLeastTimes' in target) return `≥ ${target.atLeastTimes.toFixed(2)} ×`;
  if ('timesFaster' in target) return `≥ ${number(target.timesFaster)} × faster`;
  return `≤ + ${number(target.atMostMore)} ${unit}`;
}

export type Measured = Omit<Row, 'target' | 'verdict'>;

/** A side without a figure misses any target: a run that fails is no reason to leave a row out. */
export function judged(row: Measured, target: Target | null): Row {
  if (target === null) return { ...row, target: '–', verdict: row.ours === null ? 'missed' : 'for information' };
  const met = row.ours !== null && isMet(target, row.ours, row.other);
  return { ...row, target: targetText(target, row.unit), verdict: met ? 'met' : 'missed' };
}

export const missed = (results: Results): Row[] =>
  Object.values(results.cases).flatMap(({ rows }) => rows.filter(({ verdict }) => verdict === 'missed'));

export function withCase(results: Results, name: string, result: CaseResult): Results {
  return { ...results, cases: { ...results.cases, [name]: result } };
}

/** `1,234`, `12.3`, `0.45`: three digits are all that a noisy machine is good for. */
export function number(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  return value
    .toFixed(Math.abs(value) >= 10 ? 1 : 2)
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '');
}
