import type { DrillReport, DrillSettings, DrilledBackup, Measured } from '../domain/drill.js';
import { drillView, parseDrillView } from '../domain/drill.js';
import { foundRows } from '../domain/drill-rows.js';
import { RecoveryError } from '../domain/errors.js';
import type { NodeRef } from '../domain/topology.js';
import type { Ports } from '../ports.js';
import { measureDrill, type MeasureInput } from './drill-measure.js';
import { claimTarget, cleanTarget } from './drill-target.js';
import type { DrillPorts } from './drill-view.js';
import { backupCatalogue, resolveBackup } from './inspect-backup.js';
import { pause, runStep, toProblem } from './runtime.js';

/** Between two looks whether an incident has begun. In milliseconds. */
const WATCH_MS = 5_000;

export interface DrillTarget {
  /** `source@target`: the cluster that the recovery is told of. */
  view: string;
  nodes: NodeRef[];
}

/** What a large recovery counted; null: nobody can say, and the drill is no proof. */
export async function storedRows({ reports, log }: Pick<Ports, 'reports' | 'log'>, recovery: string) {
  try {
    const report = await reports.load(recovery);
    return report && foundRows(report.tables);
  } catch (error) {
    log.warn({ recovery, reason: toProblem(error).message }, 'the report of the drilled recovery could not be read');
    return null;
  }
}

export function createDrillActivities(ports: DrillPorts) {
  const patience = (cluster: string) => ports.cluster(cluster).policy.unavailableDeadlineSeconds;
  const sourceOf = (view: string) => ports.cluster(parseDrillView(view)?.source ?? view);
  return {
    async getDrill({
      cluster,
    }: {
      cluster: string;
    }): Promise<{ settings: DrillSettings; target: DrillTarget; heartbeatTimeoutSeconds: number }> {
      return runStep(0, async () => {
        const { drill } = ports.cluster(cluster);
        if (!drill)
          throw new RecoveryError('DRILL_NOT_CONFIGURED', `cluster ${cluster} has no drill in the configuration`, {
            field: 'cluster',
          });
        const view = drillView(cluster, drill.target);
        const { policy, topology } = ports.drillView(view).cluster;
        const { heartbeatTimeoutSeconds } = policy;
        return { settings: drill, target: { view, nodes: topology.nodes }, heartbeatTimeoutSeconds };
      });
    },
    /** The id of a recovery that runs on the cluster, or waits for its approval. */
    async findRecovery({ cluster }: { cluster: string }): Promise<string | null> {
      return runStep(0, () => ports.recoveryOn(cluster));
    },
    /** Returns when a recovery has begun on the cluster; cancelled when the drill is over. */
    async awaitRecovery({ cluster }: { cluster: string }): Promise<string> {
      return runStep(0, async (context) => {
        for (;;) {
          const id = await ports.recoveryOn(cluster);
          if (id !== null) return id;
          await pause(WATCH_MS, context.signal);
          context.assertFresh();
        }
      });
    },
    async proveDrill({ view }: { view: string }): Promise<void> {
      return runStep(patience(view), async () => void (await ports.drillView(view).prove()));
    },
    async chooseDrillBackup({ cluster, backup }: { cluster: string; backup: string }): Promise<DrilledBackup> {
      return runStep(patience(cluster), async () => {
        const source = ports.cluster(cluster);
        const native = { ...source, repositories: source.repositories.filter(({ kind }) => kind === 'native') };
        const nodes = source.topology.nodes.map(({ name }) => name);
        const { repository, name } = await resolveBackup(native, backup, nodes);
        const known = (await backupCatalogue(native, nodes)).find(
          (entry) => entry.repository === repository.name && entry.name === name,
        );
        return { repository: repository.name, name, takenAt: known?.takenAt ?? '' };
      });
    },
    async claimDrillTarget({ view, node, drill }: { view: string; node: NodeRef; drill: string }): Promise<void> {
      return runStep(patience(view), async (context) => {
        const target = ports.drillView(view);
        const path = `/clickhouse/tables/drill-${ports.sha256(`${drill}/${node.name}`).slice(0, 32)}`;
        await claimTarget(target, sourceOf(view).keeper, node.name, await target.prove(), path, context);
      });
    },
    async measureDrill({
      view,
      takenAt,
      backup = { repository: '', name: '', takenAt },
      leftOut = [],
      found = null,
      stored,
    }: { view: string; takenAt: string; stored?: string } & Partial<MeasureInput>): Promise<Measured> {
      // A workflow of an older worker says less.
      return runStep(patience(view), async (context) => {
        const counted = stored === undefined ? found : await storedRows(ports, stored);
        return measureDrill(ports, sourceOf(view), ports.cluster(view), { backup, leftOut, found: counted }, context);
      });
    },
    async cleanDrillTarget({ view, node }: { view: string; node: NodeRef }): Promise<{ cleaned: boolean }> {
      return runStep(patience(view), (context) => cleanTarget(ports.drillView(view), node.name, context));
    },
    async saveDrillReport({ report }: { report: DrillReport }): Promise<string> {
      return runStep(0, () => ports.drills.save(report));
    },
  };
}

export type DrillActivities = ReturnType<typeof createDrillActivities>;
