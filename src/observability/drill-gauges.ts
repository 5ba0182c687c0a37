import type { MetricMeter } from '@temporalio/common';
import type { Ports } from '../ports.js';
import { DRILL_METRICS, setDrillGauges, type DrillMetric, type DrillSource } from './drills.js';

/** Milliseconds between two looks. A drill is a matter of hours, and the report store may be a bucket. */
const EVERY_MS = 60_000;

/** Keeps the gauges of drills in a worker's metrics up to date, from now on until `stop`. */
export function watchDrills(
  meter: MetricMeter,
  source: DrillSource,
  { log, everyMs = EVERY_MS }: { log: Ports['log']; everyMs?: number },
): { stop(): void } {
  const gauges = Object.fromEntries(
    Object.entries(DRILL_METRICS).map(([key, { name, help }]) => [
      key,
      meter.createGauge(name, 'float', undefined, help),
    ]),
  ) as Record<DrillMetric, ReturnType<MetricMeter['createGauge']>>;
  const look = async () => {
    try {
      await setDrillGauges(source, (metric, value, labels) => gauges[metric].set(value, labels));
    } catch (error) {
      // The gauges stay as they are, so the age goes on growing: what cannot be seen is not good.
      log.warn(
        { error: error instanceof Error ? error.name : '' },
        'the history of drills cannot be read: its metrics are those of before',
      );
    }
  };
  void look();
  const timer = setInterval(() => void look(), everyMs);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}
