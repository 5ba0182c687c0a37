import { proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import {
  COLD_MANIFEST_VERSION,
  parseColdBackup,
  type ColdHost,
  type ColdManifest,
  type ColdReport,
  type HostCopy,
  type HostFacts,
} from '../domain/cold.js';
import { asFailure, problemOf } from './failures.js';
import { ColdRun } from './cold-run.js';

/**
 * Copies ClickHouse and ZooKeeper as they are when nothing runs: plan, approval, fence, stop and prove it, copy, start, and
 * validate. The manifest is written once every host has copied; a failure brings the cluster up before it is told.
 */
export async function coldBackup(input: unknown): Promise<ColdReport> {
  const request = parsed(input);
  const generation = request.name ?? `cold-${new Date(Date.now()).toISOString().slice(0, 19).replaceAll(':', '-')}`;
  return new Backup(await ColdRun.create('backup', request), generation).execute();
}

type Versions = { node: string; version: string; macros: Record<string, string> }[];
type Copies = Map<string, Omit<HostCopy, 'name' | 'role' | 'version' | 'macros' | 'zxid'>>;

class Backup {
  private readonly cluster;
  private readonly fence;
  private isFenced = false;
  private isCommitted = false;
  private began = false;

  constructor(
    private readonly run: ColdRun,
    private readonly generation: string,
  ) {
    this.cluster = run.request.cluster;
    this.fence = proxyActivities<Activities>({
      startToCloseTimeout: '1 hour',
      heartbeatTimeout: run.settings.policy.heartbeatTimeoutSeconds * 1000,
      retry: { initialInterval: '1s', maximumInterval: '10s' },
    });
  }

  async execute(): Promise<ColdReport> {
    return this.run.execute(
      () => this.sequence(),
      async () => {
        if (this.run.downSince !== null && !this.run.clusterUp) await this.run.bringUp();
        if (this.began && !this.isCommitted) await this.discard();
        await this.unfence();
      },
    );
  }

  private async sequence(): Promise<void> {
    const { run, generation } = this;
    const { facts, versions } = await run.approved(() => this.plan());
    await this.raiseFence();
    const tables = await Promise.all(
      run.settings.nodes.map(async ({ name }) => ({
        node: name,
        ...(await run.activities.coldTables({ cluster: this.cluster, node: name })),
      })),
    );
    await run.stopServers();
    const evidence = new Map<string, { keeperParts: string; dropped: string[] }>();
    for (const { node, replicas, dropped } of tables)
      evidence.set(node, {
        keeperParts: await run.activities.coldKeeperParts({ cluster: this.cluster, replicas }),
        dropped,
      });
    const zxids = await this.zxids();
    await run.stopKeepers();
    await run.step('copy', async () => {
      const copies = await this.copy(evidence);
      const manifest = this.manifest(copies, { facts, versions, zxids });
      await run.hosts.each('all', (host) => run.hosts.agent(host).commitCopy({ manifest }));
      this.isCommitted = true;
    });
    await run.bringUp();
    await run.validate(generation);
    await this.unfence();
  }

  private async plan() {
    const { run, generation } = this;
    const facts: HostFacts[] = [];
    await run.hosts.each('all', async (host) => {
      // Without its agent a host is missing in the plan, which says so.
      const found = await run.hosts
        .agent(host)
        .hostFacts()
        .catch((error: unknown) => {
          if (problemOf(error).code === 'AGENT_UNAVAILABLE') return null;
          throw error;
        });
      if (found) facts.push(found);
    });
    facts.sort((a, b) => (a.name < b.name ? -1 : 1));
    run.hosts.remember(facts);
    const { plan, versions } = await run.activities.planColdBackup({ request: run.request, generation, facts });
    return { plan, facts: { facts, versions } };
  }

  /** Stops background work and what consumes by itself. Writers it cannot stop: the servers' stop does. */
  private async raiseFence(): Promise<void> {
    const { run } = this;
    await run.step('fence', async () => {
      this.isFenced = true;
      await Promise.all(
        run.settings.nodes.map((node) =>
          this.fence.fenceNode.executeWithOptions({ summary: `fence ${node.name}` }, [{ run: this.fenceRun(), node }]),
        ),
      );
    });
  }

  private async unfence(): Promise<void> {
    if (!this.isFenced || !this.run.clusterUp) return;
    for (const node of this.run.settings.nodes)
      await this.fence.liftFence
        .executeWithOptions({ summary: `unfence ${node.name}` }, [{ run: this.fenceRun(), node }])
        .catch((error: unknown) => {
          this.run.warnings.push(
            `node ${node.name} may still be fenced: ${problemOf(error).message}. Run ch-recover unfence --cluster ${this.cluster}`,
          );
        });
    this.isFenced = false;
  }

  private fenceRun() {
    return { cluster: this.cluster, recovery: this.run.run, plan: '' };
  }

  private async zxids(): Promise<Map<string, string>> {
    const zxids = new Map<string, string>();
    await this.run.hosts.each('keeper', async (host) => {
      zxids.set(host.name, (await this.run.hosts.agent(host).awaitServing()).zxid);
    });
    return zxids;
  }

  private async copy(evidence: ReadonlyMap<string, { keeperParts: string; dropped: string[] }>): Promise<Copies> {
    const { run, generation } = this;
    const copies: Copies = new Map();
    this.began = true;
    await run.hosts.each('all', async (host) => {
      const { keeperParts = '', dropped = [] } = evidence.get(host.name) ?? {};
      const { copy, copied } = await run.hosts.agent(host).copyTrees({ generation, keeperParts, dropped });
      copies.set(host.name, copy);
      run.copied.set(host.name, copied);
    });
    // Of different moments, if one was up while another was still copied.
    await run.hosts.each('all', (host) => run.hosts.agent(host).assertStopped());
    return copies;
  }

  private manifest(
    copies: Copies,
    { facts, versions, zxids }: { facts: HostFacts[]; versions: Versions; zxids: ReadonlyMap<string, string> },
  ): ColdManifest {
    const about = ({ name, role }: ColdHost): HostCopy[] => {
      const copy = copies.get(name);
      const node = versions.find((each) => each.node === name);
      const version = node?.version ?? facts.find((each) => each.name === name)?.version ?? '';
      return copy ? [{ name, role, version, macros: node?.macros ?? {}, zxid: zxids.get(name) ?? null, ...copy }] : [];
    };
    // What was written after the servers' stop is not in it.
    const takenAt = new Date(this.run.downSince ?? Date.now()).toISOString();
    return {
      ...{ version: COLD_MANIFEST_VERSION, cluster: this.cluster, generation: this.generation, takenAt },
      hosts: this.run.settings.hosts.flatMap(about),
    };
  }

  /** Half a copy only takes space. */
  private async discard(): Promise<void> {
    const { run, generation } = this;
    run.copied.clear();
    await run.hosts
      .each('all', (host) => run.hosts.agent(host).discardCopy({ generation }))
      .catch((error: unknown) => {
        run.warnings.push(`an unfinished copy was left behind: ${problemOf(error).message}`);
      });
  }
}

function parsed(input: unknown) {
  try {
    return parseColdBackup(input);
  } catch (error) {
    throw asFailure(problemOf(error));
  }
}
