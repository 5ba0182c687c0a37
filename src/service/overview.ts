import type { Phase, UnitProgress } from '../domain/messages.js';
import type { Outcome } from '../domain/report.js';
import type { FoundRun, RecoveryService } from './recoveries.js';

/** A recovery that has not ended; `unknown`: no worker says where it stands. */
export interface OpenRecovery {
  cluster: string;
  phase: Phase | 'unknown';
  tables: UnitProgress['state'][];
}

/** One that ended: with a report, or as Temporal says where there is none. */
export interface ClosedRecovery {
  cluster: string;
  outcome: Outcome | Exclude<FoundRun['status'], 'running' | 'completed'>;
}

export interface Overview {
  open: OpenRecovery[];
  closed: ClosedRecovery[];
  workers: number | null;
}

/** One of a cluster at a time, and some that wait. */
const MAX_OPEN = 50;
/** The newest. Each is asked for its report once. */
const MAX_CLOSED = 100;
/** Milliseconds for one worker to say where a recovery stands. */
const ANSWER_MS = 2_000;

/** All recoveries at a glance, as Temporal still keeps them. */
export class Overviews {
  /** By run id: a closed run does not change. */
  private readonly outcomes = new Map<string, ClosedRecovery['outcome']>();

  constructor(
    private readonly recoveries: Pick<RecoveryService, 'list' | 'progress' | 'workers'>,
    private readonly taskQueue: string,
  ) {}

  /** Throws TEMPORAL_UNAVAILABLE. */
  async look(): Promise<Overview> {
    const [open, all, workers] = await Promise.all([
      this.recoveries.list({ open: true, limit: MAX_OPEN, matches: () => true }),
      this.recoveries.list({ open: false, limit: MAX_CLOSED, matches: ({ status }) => status !== 'running' }),
      this.recoveries.workers(this.taskQueue),
    ]);
    // An id that was used again is the recovery that it is now.
    const ids = new Set(open.map(({ id }) => id));
    const newest = all.filter(({ id }) => !ids.has(id) && ids.add(id));
    const closed: ClosedRecovery[] = [];
    // One after the other: the first time it is a hundred reports.
    for (const run of newest) {
      const outcome = await this.outcomeOf(run);
      if (outcome !== null) closed.push({ cluster: clusterOf(run), outcome });
    }
    const known = new Set(newest.map(({ runId }) => runId));
    for (const runId of this.outcomes.keys()) if (!known.has(runId)) this.outcomes.delete(runId);
    return { open: await Promise.all(open.map((run) => this.openOne(run))), closed, workers };
  }

  private async openOne(run: FoundRun): Promise<OpenRecovery> {
    const silent: OpenRecovery = { cluster: clusterOf(run), phase: 'unknown', tables: [] };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<OpenRecovery>((resolve) => (timer = setTimeout(() => resolve(silent), ANSWER_MS)));
    const asked = this.recoveries.progress(run.id).then(
      ({ phase, units }) => ({ ...silent, phase, tables: units.map(({ state }) => state) }),
      () => silent,
    );
    return Promise.race([asked, late]).finally(() => clearTimeout(timer));
  }

  private async outcomeOf({ id, runId, status }: FoundRun): Promise<ClosedRecovery['outcome'] | null> {
    if (status === 'running') return null;
    if (status !== 'completed') return status;
    const known = this.outcomes.get(runId);
    if (known) return known;
    const outcome = (await this.recoveries.progress(id)).outcome;
    if (outcome !== null) this.outcomes.set(runId, outcome);
    return outcome;
  }
}

const clusterOf = ({ request }: FoundRun) => request?.cluster ?? '';
