import type { ColdHost, ColdReport } from '../../domain/cold.js';
import type { Ports } from '../../ports.js';
import { runStep } from '../runtime.js';
import * as observe from './observe.js';
import { coldSettings, planBackup, planRestore, type ColdSettings } from './plan.js';

/** What the stop-the-world path asks of the systems; what it does on the hosts, their agents do (src/agent). */
export function createColdActivities(ports: Ports) {
  const patient = <T>(cluster: string, body: Parameters<typeof runStep<T>>[1]) =>
    runStep(ports.cluster(cluster).policy.unavailableDeadlineSeconds, body);
  return {
    async coldSettings({ cluster }: { cluster: string }): Promise<ColdSettings> {
      return runStep(0, async () => coldSettings(ports, cluster));
    },
    async planColdBackup(input: Parameters<typeof planBackup>[1]) {
      return runStep(0, (context) => planBackup(ports, input, context));
    },
    async planColdRestore(input: Parameters<typeof planRestore>[1]) {
      return runStep(0, (context) => planRestore(ports, input, context));
    },
    async coldTables({ cluster, node }: { cluster: string; node: string }) {
      return patient(cluster, () => observe.coldTables(ports.cluster(cluster).node(node)));
    },
    async coldKeeperParts({ cluster, replicas }: { cluster: string; replicas: string }): Promise<string> {
      return patient(cluster, () => observe.keeperParts(ports, cluster, replicas));
    },
    async differsInKeeper({ cluster, keeperParts }: { cluster: string; keeperParts: string }): Promise<string[]> {
      return patient(cluster, () => observe.differsInKeeper(ports, cluster, keeperParts));
    },
    async awaitNode({ cluster, node }: { cluster: string; node: string }): Promise<void> {
      return runStep(0, (context) =>
        observe.awaitNode(ports.cluster(cluster), ports.cluster(cluster).node(node), context),
      );
    },
    async saveColdReport({ report }: { report: ColdReport }): Promise<string> {
      return runStep(0, () => ports.coldReports.save(report));
    },
    async isServing({ cluster, host }: { cluster: string; host: ColdHost }): Promise<boolean> {
      return runStep(0, () => observe.isServing(ports.cluster(cluster), host));
    },
  };
}

export type ColdActivities = ReturnType<typeof createColdActivities>;
