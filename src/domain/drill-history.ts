import type { DrillReport } from './drill.js';

/** Drills that a new one is compared with. */
const COMPARED = 5;

/** How the RTO of a drill stands to the drills before it: `+12 %` of their median; '' without any. */
export function trendOf(report: DrillReport, earlier: DrillReport[]): string {
  const before = earlier
    .filter((each) => each.outcome !== 'skipped' && each.rtoSeconds !== null)
    .slice(0, COMPARED)
    .map((each) => each.rtoSeconds ?? 0);
  const median = medianOf(before);
  if (report.rtoSeconds === null || median === null || median === 0) return '';
  const percent = Math.round((report.rtoSeconds / median - 1) * 100);
  return `${percent >= 0 ? '+' : '−'}${Math.abs(percent)} %`;
}

function medianOf(numbers: number[]): number | null {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle];
  if (upper === undefined) return null;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

export interface DrillLine {
  date: string;
  outcome: DrillReport['outcome'];
  rtoSeconds: number | null;
  rpoSeconds: number | null;
  trend: string;
  codes: string[];
  drillId: string;
}

/** Newest first, as the store gives them. */
export function drillLines(newestFirst: DrillReport[]): DrillLine[] {
  return newestFirst.map((report, index) => ({
    date: report.startedAt,
    outcome: report.outcome,
    rtoSeconds: report.rtoSeconds,
    rpoSeconds: report.rpo?.seconds ?? null,
    trend: trendOf(report, newestFirst.slice(index + 1)),
    codes: report.problems.map(({ code }) => code),
    drillId: report.drillId,
  }));
}

/** For people: when the last good one was is what counts. `now`: milliseconds since the epoch. */
export function drillListText(newestFirst: DrillReport[], now: number): string[] {
  const good = newestFirst.find(({ outcome }) => outcome === 'passed');
  const lines = drillLines(newestFirst).map((line) =>
    [
      line.date.slice(0, 19).replace('T', ' '),
      line.outcome.padEnd(8),
      `RTO ${duration(line.rtoSeconds)}${line.trend === '' ? '' : ` (${line.trend})`}`.padEnd(20),
      `RPO ${duration(line.rpoSeconds)}`.padEnd(14),
      line.codes.join(' '),
    ]
      .join('  ')
      .trimEnd(),
  );
  return [
    good ? `last good drill: ${duration((now - Date.parse(good.finishedAt)) / 1000)} ago` : 'there was no good drill',
    ...lines,
  ];
}

/** `45 s`, `12 min`, `3.5 h`, `4.2 d`; `–` for null. */
export function duration(seconds: number | null): string {
  if (seconds === null) return '–';
  if (seconds < 120) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 360) / 10} h`;
  return `${Math.round(seconds / 8_640) / 10} d`;
}
