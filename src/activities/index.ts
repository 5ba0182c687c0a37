import { inLanes } from '../domain/lanes.js';
import type { Objectives, Report } from '../domain/report.js';
import type { Plan, PlanItem } from '../domain/plan.js';
import type { Policy } from '../domain/policy.js';
import type { BackupRequest, RecoveryRequest } from '../domain/request.js';
import type { PlanRef } from '../domain/stored-plan.js';
import { addTallies, NO_TALLY, type Tally } from '../domain/tally.js';
import type { NodeRef } from '../domain/topology.js';
import type { Ports } from '../ports.js';
import { attachParts, prepareStaging } from './attach-parts.js';
import * as backups from './backup.js';
import { liftFence, raiseFence } from './fence.js';
import { finishNode } from './finish.js';
import { proveReplication } from './canary.js';
import { Batch, type BatchInput, type BatchSummary } from './batch.js';
import { keepPlan } from './keep-plan.js';
import { saveLargeReport, type LargeReportInput } from './large-report.js';
import { planRecovery } from './plan-recovery.js';
import { promoteTables } from './promote.js';
import { restoreData } from './restore-data.js';
import { createObjects, restoreReplica } from './restore-replica.js';
import { runStep } from './runtime.js';
import { readIndex, withoutItems } from './stored-plan.js';
import { validateTable, type Validation } from './validate.js';
import { verifyParts } from './verify-parts.js';

/** Which recovery, and the hash of the plan that was approved: goes into every ledger entry. */
export interface Run {
  cluster: string;
  recovery: string;
  plan: string;
}

export interface UnitInput {
  run: Run;
  item: PlanItem;
  embedded: boolean;
  evidence: 'manifest' | 'backup' | null;
}

export interface Settings {
  policy: Policy;
  nodes: NodeRef[];
  searchAttributes: boolean;
  objectives?: Objectives;
  /** Repositories of cold copies; absent: the cluster has no agents. */
  cold?: { repositories: string[]; agentTimeoutSeconds: number };
}

function settingsOf(ports: Ports, name: string): Settings {
  const { policy, topology, drill, cold, repositories } = ports.cluster(name);
  const copies = repositories.filter(({ kind }) => kind === 'cold').map((repository) => repository.name);
  return {
    ...{ policy, nodes: topology.nodes, searchAttributes: ports.searchAttributes, objectives: drill?.objectives },
    ...(cold && { cold: { repositories: copies, agentTimeoutSeconds: cold.agentTimeoutSeconds } }),
  };
}
export type { BatchInput, BatchSummary } from './batch.js';

export type ValidationResult = Validation & { key: string };

/** The activities, with the systems injected. The names are part of the contract with recorded histories. */
export function createActivities(ports: Ports) {
  const patience = (cluster: string) => ports.cluster(cluster).policy.unavailableDeadlineSeconds;
  const step = <T>(cluster: string, body: Parameters<typeof runStep<T>>[1]) =>
    runStep(ports.clusterNames().includes(cluster) ? patience(cluster) : 0, body);
  return {
    async getPolicy({ cluster }: { cluster: string }): Promise<Settings> {
      return runStep(0, async () => settingsOf(ports, cluster));
    },
    /**
     * `copies`: what the agents found in a cold copy. `readsStored`: a workflow of an older worker does not say so, and
     * takes a plan whose items are elsewhere for one with nothing to do.
     */
    async planRecovery(request: RecoveryRequest, copies?: string[] | null, readsStored = false): Promise<Plan> {
      return step(request.cluster, async (context) => {
        const plan = await planRecovery(ports, request, context, copies);
        await keepPlan(ports, plan);
        return readsStored ? withoutItems(ports, plan) : plan;
      });
    },
    async fenceNode({ run, node }: { run: Run; node: NodeRef }): Promise<{ streamingTables: number }> {
      return step(run.cluster, (context) => raiseFence(ports.cluster(run.cluster).node(node.name), run, context));
    },
    async createDatabases({ run, node, statements }: { run: Run; node: NodeRef; statements: string[] }): Promise<void> {
      return step(run.cluster, async () => {
        for (const statement of statements) await ports.cluster(run.cluster).node(node.name).execute(statement);
      });
    },
    async restoreTableData({ run, item }: UnitInput) {
      return step(run.cluster, (context) => restoreData(ports, run.cluster, item, run, context));
    },
    async prepareStaging({ run, item, afresh }: { run: Run; item: PlanItem; afresh: boolean }) {
      return step(run.cluster, (context) => prepareStaging(ports, run.cluster, item, afresh, context));
    },
    async attachParts({ run, item, parts }: { run: Run; item: PlanItem; parts: string }) {
      return step(run.cluster, (context) => attachParts(ports, run.cluster, item, parts, context));
    },
    async verifyTableParts({ run, item, evidence, embedded }: UnitInput) {
      return step(run.cluster, (context) => verifyParts(ports, run.cluster, item, evidence, embedded, context));
    },
    async restoreTableReplica({ run, item, embedded }: UnitInput) {
      return step(run.cluster, (context) => restoreReplica(ports, run.cluster, item, embedded, context));
    },
    /** Of a large plan, as `createDatabases`. */
    async createPlannedDatabases({ run, stored, node }: { run: Run; stored: PlanRef; node: string }): Promise<void> {
      return step(run.cluster, async () => {
        const { plan } = await readIndex(ports, stored);
        const found = plan.nodes.find((each) => each.node.name === node);
        for (const statement of found?.databases ?? []) await ports.cluster(run.cluster).node(node).execute(statement);
      });
    },
    async restoreBatch(input: BatchInput): Promise<BatchSummary> {
      const isNew = input.again === undefined;
      return step(input.run.cluster, async (context) => (await Batch.open(ports, input, context, isNew)).restore());
    },
    async validateBatch(input: BatchInput): Promise<BatchSummary> {
      return step(input.run.cluster, async (context) => (await Batch.open(ports, input, context)).validate());
    },
    async promoteBatch(input: BatchInput): Promise<BatchSummary> {
      return step(input.run.cluster, async (context) => (await Batch.open(ports, input, context)).promote());
    },
    async createBatchObjects(input: BatchInput): Promise<BatchSummary> {
      return step(input.run.cluster, async (context) => (await Batch.open(ports, input, context)).objects());
    },
    /** Of all batches of a shard, from `batch` on. */
    async skipFailed({ batches, ...input }: BatchInput & { batches: number }): Promise<Tally> {
      return step(input.run.cluster, async (context) => {
        let tally = NO_TALLY;
        for (let batch = input.batch; batch < input.batch + batches; batch++)
          tally = addTallies(tally, (await (await Batch.open(ports, { ...input, batch }, context)).skip()).tally);
        return tally;
      });
    },
    async createObjects({ run, items }: { run: Run; items: PlanItem[] }) {
      return step(run.cluster, (context) => createObjects(ports, run.cluster, items, context));
    },
    async validateTables({
      run,
      items,
    }: {
      run: Run;
      items: (Omit<UnitInput, 'run' | 'evidence'> & { key: string })[];
    }): Promise<ValidationResult[]> {
      return step(run.cluster, (context) =>
        // Mostly looks, and those of many tables go together.
        inLanes(items, ports.cluster(run.cluster).policy.maxTablesInFlight, async ({ item, embedded, key }) => ({
          key,
          ...(await validateTable(ports, run.cluster, item, embedded, context)),
        })),
      );
    },
    async promoteTables({ run, items }: { run: Run; items: PlanItem[] }): Promise<void> {
      return step(run.cluster, (context) => promoteTables(ports, run.cluster, items, context));
    },
    async proveReplication({ run, shard }: { run: Run; shard: string }): Promise<{ warnings: string[] }> {
      return step(run.cluster, (context) => proveReplication(ports.cluster(run.cluster), run, shard, context));
    },
    async finishNode({ run, node, keepAside }: { run: Run; node: NodeRef; keepAside?: boolean }) {
      return step(run.cluster, (context) => {
        const cluster = ports.cluster(run.cluster);
        return finishNode(cluster.node(node.name), run, cluster.policy, context, keepAside);
      });
    },
    async liftFence({ run, node }: { run: Run; node: NodeRef }): Promise<string> {
      return step(run.cluster, () => liftFence(ports.cluster(run.cluster).node(node.name)));
    },
    async saveReport({ id, report }: { id: string; report: Report }): Promise<string> {
      return runStep(0, () => ports.reports.save(id, report));
    },
    /** Adds all tables to the report of a large recovery; returns it as the workflow's result can have it. */
    async saveLargeReport(input: LargeReportInput): Promise<Report> {
      return runStep(0, () => saveLargeReport(ports, input));
    },
    async listBackupNodes({ cluster, to }: BackupRequest): Promise<NodeRef[]> {
      return runStep(0, async () => {
        backups.findRepository(ports.cluster(cluster), to);
        return backups.backupNodes(ports.cluster(cluster));
      });
    },
    async backupShard({ run, node }: { run: backups.BackupRun; node: NodeRef }) {
      return step(run.cluster, (context) => backups.backupShard(ports, run, node, context));
    },
    async recordBackup(run: backups.BackupRun): Promise<void> {
      return step(run.cluster, () => backups.recordBackup(ports, run));
    },
  };
}

export type Activities = ReturnType<typeof createActivities>;
