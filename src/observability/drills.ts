import type { DrillStore } from '../ports.js';

/**
 * Gauges of drills. They come from what is kept (reports, or Temporal's history), not from events of a process: the one
 * to alert on, the age of the last good drill, must be right also after a restart, and where no drill has ever run.
 */

/** What is needed of the report of a drill that ended. */
export interface DrillResult {
  /** ISO 8601. */
  finishedAt: string;
  /** `passed`: everything was there, verified, and within the objectives. Only this and `failed` are results. */
  outcome: 'passed' | 'failed' | 'skipped' | 'aborted';
  /** Null: it did not come to that. */
  rtoSeconds: number | null;
  rpo: { seconds: number } | null;
}

export interface DrillSource {
  /** Clusters that should have drills: they have a line also when there was none. */
  clusters: readonly string[];
  /** Those of one cluster that are still known, in any order; asked once a scrape or a minute. */
  history: (cluster: string) => Promise<readonly DrillResult[]>;
}

/** Enough to find a good one among them; older ones are history. */
const LOOKED_AT = 20;

/** The drills in the report store, of the clusters that are to have some. */
export function drillSource(store: DrillStore, clusters: Readonly<Record<string, { drill: unknown }>>): DrillSource {
  return {
    clusters: Object.entries(clusters).flatMap(([name, { drill }]) => (drill ? [name] : [])),
    history: (cluster) => store.list(cluster, LOOKED_AT),
  };
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
export async function setDrillGauges({ clusters, history }: DrillSource, set: SetGauge): Promise<void> {
  for (const cluster of clusters) {
    const isResult = ({ outcome }: DrillResult) => outcome === 'passed' || outcome === 'failed';
    const ended = (await history(cluster)).filter(isResult).sort((a, b) => endOf(b) - endOf(a));
    const good = ended.find(({ outcome }) => outcome === 'passed');
    set('last', ended[0] ? endOf(ended[0]) : 0, { cluster });
    set('lastGood', good ? endOf(good) : 0, { cluster });
    if (typeof good?.rtoSeconds === 'number') set('rto', good.rtoSeconds, { cluster });
    if (good?.rpo) set('rpo', good.rpo.seconds, { cluster });
  }
}

/** Seconds since 1970. */
const endOf = ({ finishedAt }: DrillResult) => Date.parse(finishedAt) / 1000;
