import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { DRILL_METRICS, setDrillGauges, type DrillMetric, type DrillSource } from '../../observability/drills.js';
import type { Log } from '../../service/direct.js';
import type { Overview } from '../../service/overview.js';

/** Name, help and labels of what `ch-recover api` has beside the gauges of drills. */
export const API_METRICS = {
  requests: {
    name: 'ch_recover_http_requests_total',
    help: 'requests that were answered',
    labelNames: ['method', 'route', 'status'],
  },
  duration: {
    name: 'ch_recover_http_request_duration_seconds',
    help: 'until the answer began',
    labelNames: ['route'],
  },
  open: {
    name: 'ch_recover_recoveries_open',
    help: 'recoveries that have not ended; phase "unknown": no worker answers',
    labelNames: ['cluster', 'phase'],
  },
  tables: {
    name: 'ch_recover_tables_open',
    help: 'tables of recoveries that have not ended, a replica each',
    labelNames: ['cluster', 'state'],
  },
  closed: {
    name: 'ch_recover_recoveries_closed',
    help: 'the newest 100 recoveries that ended and that Temporal still keeps',
    labelNames: ['cluster', 'outcome'],
  },
  workers: { name: 'ch_recover_workers', help: 'workers that polled in the last five minutes', labelNames: [] },
  temporal: { name: 'ch_recover_temporal_up', help: '1: Temporal answers', labelNames: [] },
} as const;

export interface ApiMetricsOptions {
  look: () => Promise<Overview>;
  /** Names in recovery.yaml. */
  clusters: readonly string[];
  drills?: DrillSource;
  log: Log;
}

/** Milliseconds for which one look at Temporal serves all who ask. */
const LOOK_FOR_MS = 5_000;

/** Counters of this process, and gauges of what Temporal and the reports say when somebody asks. */
export class ApiMetrics {
  private readonly registry = new Registry();
  private readonly requests = new Counter({ ...API_METRICS.requests, registers: [this.registry] });
  private readonly duration = new Histogram({ ...API_METRICS.duration, registers: [this.registry] });
  private readonly open = this.gauge(API_METRICS.open);
  private readonly tables = this.gauge(API_METRICS.tables);
  private readonly closed = this.gauge(API_METRICS.closed);
  private readonly workers = this.gauge(API_METRICS.workers);
  private readonly temporal = this.gauge(API_METRICS.temporal);
  private readonly drills = new Map<DrillMetric, Gauge>();
  private looked: { at: number; done: Promise<unknown> } | null = null;

  constructor(private readonly options: ApiMetricsOptions) {
    if (!options.drills) return;
    for (const [key, { name, help }] of Object.entries(DRILL_METRICS))
      this.drills.set(key as DrillMetric, this.gauge({ name, help, labelNames: ['cluster'] }));
  }

  /** `route`: of ours, not the path that was sent. */
  answered({ method, route, status, ms }: { method: string; route: string; status: number; ms: number }): void {
    this.requests.inc({ method: ['GET', 'POST'].includes(method) ? method : 'other', route, status });
    this.duration.observe({ route }, ms / 1000);
  }

  /** The text that Prometheus reads. */
  async text(): Promise<string> {
    const now = performance.now();
    if (!this.looked || now - this.looked.at > LOOK_FOR_MS)
      this.looked = { at: now, done: Promise.all([this.lookAtTemporal(), this.lookAtDrills()]) };
    await this.looked.done;
    return this.registry.metrics();
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  private async lookAtTemporal(): Promise<void> {
    const found = await this.options.look().catch(() => null);
    // What is not known is left out: the values of before would be taken for those of now.
    for (const gauge of [this.open, this.tables, this.closed, this.workers]) gauge.reset();
    this.workers.remove();
    this.temporal.set(found ? 1 : 0);
    if (!found) return;
    if (found.workers !== null) this.workers.set(found.workers);
    for (const { cluster, phase, tables } of found.open) {
      this.open.inc({ cluster: this.labelOf(cluster), phase });
      for (const state of tables) this.tables.inc({ cluster: this.labelOf(cluster), state });
    }
    for (const { cluster, outcome } of found.closed) this.closed.inc({ cluster: this.labelOf(cluster), outcome });
  }

  private async lookAtDrills(): Promise<void> {
    const { drills, log } = this.options;
    if (!drills) return;
    try {
      await setDrillGauges(drills, (metric, value, labels) => this.drills.get(metric)?.set(labels, value));
    } catch (error) {
      // As in a worker: the age goes on growing.
      log.warn({ error: error instanceof Error ? error.name : '' }, 'the history of drills cannot be read');
    }
  }

  /** Anybody may start a workflow with any name in it. */
  private labelOf(cluster: string): string {
    return this.options.clusters.includes(cluster) ? cluster : 'other';
  }

  private gauge({ name, help, labelNames }: { name: string; help: string; labelNames: readonly string[] }): Gauge {
    return new Gauge({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }
}
