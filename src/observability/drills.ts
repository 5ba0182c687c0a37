import type { DrillReport } from '../domain/drill.js';
import type { DrillStore } from '../ports.js';

/**
 * Gauges of drills. They come from what is kept (reports, or Temporal's history), not from events of a process: the one
 * to alert on, the age of the last good drill, must be right also after a restart, and where no drill has ever run.
 */

/** One drill that ended. */
export interface DrillResult {
  /** The source, a key of recovery.yaml. */
  cluster: string;
  /** ISO 8601. */
  finishedAt: string;
  /** Everything was there, verified, and within the objectives. */
  passed: boolean;
  /** Seconds; null: it did not come to that. */
  rtoSeconds: number | null;
  rpoSeconds: number | null;
}

/** Drills that are still known, in any order; called once a scrape or a minute. */
export type DrillHistory = () => Promise<readonly DrillResult[]>;

export interface DrillSource {
  history: DrillHistory;
  /** Clusters that should have drills: they have a line also when there was none. */
  clusters: readonly string[];
}

/** Enough to find a good one among them; older ones are history. */
const LOOKED_AT = 20;

/** The drills in the report store, of the clusters that are to have some. One that stepped aside has not ended. */
export function drillSource(store: DrillStore, clusters: Readonly<Record<string, { drill: unknown }>>): DrillSource {
  const drilled = Object.entries(clusters).flatMap(([name, { drill }]) => (drill ? [name] : []));
  return {
    clusters: drilled,
    history: async () => {
      const reports = await Promise.all(drilled.map((cluster) => store.list(cluster, LOOKED_AT)));
      return reports
        .flat()
        .filter(({ outcome }) => outcome !== 'skipped')
        .map(asResult);
    },
  };
}

function asResult({ cluster, finishedAt, outcome, rtoSeconds, rpo }: DrillReport): DrillResult {
  return { cluster, finishedAt, passed: outcome === 'passed', rtoSeconds, rpoSeconds: rpo?.seconds ?? null };
}

export const DRILL_METRICS = {
  lastGood: {
    name: 'ch_recover_drill_last_success_timestamp_seconds',
    help: 'when the last good drill ended, seconds since 1970; 0: there was none',
  },
  last: { name: 'ch_recover_drill_last_timestamp_seconds', help: 'when the last drill ended, good or not; 0: never' },
  rto: { name: 'ch_recover_drill_rto_seconds', help: 'RTO of the last good drill' },
  rpo: { name: 'ch_recover_drill_rpo_seconds', help: 'RPO of the last good drill' },
} as const;

export type DrillMetric = keyof typeof DRILL_METRICS;
export type SetGauge = (metric: DrillMetric, value: number, labels: { cluster: string }) => void;

/** Where there was no good drill there is no RTO and no RPO: no data is not a good value. */
export function setDrillGauges(
  { clusters, drills }: { clusters: readonly string[]; drills: readonly DrillResult[] },
  set: SetGauge,
): void {
  for (const cluster of clusters) {
    const ended = drills.filter((drill) => drill.cluster === cluster).sort((a, b) => seconds(b) - seconds(a));
    const good = ended.find(({ passed }) => passed);
    set('last', ended[0] ? seconds(ended[0]) : 0, { cluster });
    set('lastGood', good ? seconds(good) : 0, { cluster });
    if (typeof good?.rtoSeconds === 'number') set('rto', good.rtoSeconds, { cluster });
    if (typeof good?.rpoSeconds === 'number') set('rpo', good.rpoSeconds, { cluster });
  }
}

const seconds = ({ finishedAt }: DrillResult) => Date.parse(finishedAt) / 1000;
