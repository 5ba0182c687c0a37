import { proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.js';
import {
  parseColdRestore,
  type ColdReport,
  type ColdRestoreRequest,
  type FoundCopy,
  type HostFacts,
} from '../domain/cold.js';
import { newestCommon } from '../domain/cold-plan.js';
import { problem, RecoveryError } from '../domain/errors.js';
import { asFailure, problemOf } from './failures.js';
import { ColdRun } from './cold-run.js';

/**
 * Puts a cold copy of ClickHouse and ZooKeeper back, on all hosts: they belong together. Each file is put beside the live
 * tree and its hash checked before anything is stopped; what stood there is kept aside, and comes back where the cluster
 * does not validate.
 */
export async function coldRestore(input: unknown): Promise<ColdReport> {
  const request = parsed(input);
  return new Restore(await ColdRun.create('restore', request), request).execute();
}

class Restore {
  private readonly cluster;
  private generation = '';
  private hasStaged = false;
  private hasSwapped = false;
  /** Hosts that ran before: what is rolled back to what did not run is not waited for. */
  private readonly ran = new Set<string>();
  private readonly fence;

  constructor(
    private readonly run: ColdRun,
    private readonly request: ColdRestoreRequest,
  ) {
    this.cluster = request.cluster;
    this.fence = proxyActivities<Activities>({
      startToCloseTimeout: '1 hour',
      heartbeatTimeout: run.settings.policy.heartbeatTimeoutSeconds * 1000,
      retry: { initialInterval: '1s', maximumAttempts: 3 },
    });
  }

  async execute(): Promise<ColdReport> {
    return this.run.execute(
      () => this.sequence(),
      () => this.cleanUp(),
    );
  }

  private async sequence(): Promise<void> {
    const { run } = this;
    const { facts, found } = await run.approved(() => this.plan());
    for (const { name, running } of facts) if (running !== false) this.ran.add(name);
    this.hasStaged = true;
    await run.step('stage', () =>
      run.hosts.each('all', async (host) => {
        run.copied.set(
          host.name,
          await run.hosts.agent(host).stageTrees({ generation: this.generation, run: run.run }),
        );
      }),
    );
    await run.stopServers();
    await run.stopKeepers();
    this.hasSwapped = true;
    await run.step('swap', () =>
      run.hosts.each('all', async (host) => {
        const aside = await run.hosts.agent(host).swapTrees({ run: run.run });
        const copied = run.copied.get(host.name);
        if (copied) run.copied.set(host.name, { ...copied, aside });
      }),
    );
    await run.bringUp({ onQuorum: () => this.checkKeeper(found), mayFail: true });
    await run.validate(this.generation);
    await this.unfence();
  }

  private async plan() {
    const { run, request } = this;
    const facts: HostFacts[] = [];
    const found: FoundCopy[] = [];
    const unlessAway = <T>(work: Promise<T>) =>
      work.catch((error: unknown) => {
        if (problemOf(error).code === 'AGENT_UNAVAILABLE') return null;
        throw error;
      });
    await run.hosts.each('all', async (host) => {
      const fact = await unlessAway(run.hosts.agent(host).hostFacts());
      if (fact) facts.push(fact);
    });
    facts.sort((a, b) => (a.name < b.name ? -1 : 1));
    run.hosts.remember(facts);
    const generation = request.copy ?? newestCommon(facts);
    if (generation === null)
      throw run.fail(problem('COPY_UNKNOWN', 'no copy is complete on all hosts', { field: 'copy' }));
    this.generation = generation;
    await run.hosts.each('all', async (host) => {
      if (!facts.some(({ name }) => name === host.name)) return;
      const copy = await unlessAway(run.hosts.agent(host).findCopy({ generation }));
      if (copy) found.push(copy);
    });
    found.sort((a, b) => (a.host < b.host ? -1 : 1));
    const plan = await run.activities.planColdRestore({ request, generation, facts, found });
    return { plan, facts: { facts, found } };
  }

  /** Nobody has written to ZooKeeper yet: it lists what it listed. */
  private async checkKeeper(found: readonly FoundCopy[]): Promise<void> {
    const { run } = this;
    const differences: string[] = [];
    for (const { keeperParts } of found)
      if (keeperParts !== '')
        differences.push(...(await run.activities.differsInKeeper({ cluster: this.cluster, keeperParts })));
    if (differences.length > 0)
      throw new RecoveryError('COLD_VALIDATION_FAILED', differences.slice(0, 20).join('; ').slice(0, 2_000), {
        objects: differences.slice(0, 20).map((difference) => difference.slice(0, 200)),
      });
  }

  /** The copy was taken under the fence of its backup, and what the servers remember of it came back with it. */
  private async unfence(): Promise<void> {
    for (const node of this.run.settings.nodes)
      await this.fence
        .liftFence({ run: { cluster: this.cluster, recovery: this.run.run, plan: '' }, node })
        .catch((error: unknown) => {
          this.run.warnings.push(
            `node ${node.name} may be fenced: ${problemOf(error).message}. Run ch-recover unfence --cluster ${this.cluster}`,
          );
        });
  }

  private async cleanUp(): Promise<void> {
    const { run } = this;
    const isWhole = run.clusterUp && this.hasSwapped;
    if (this.hasSwapped && !(isWhole && this.request.onFailure === 'stay')) await this.rollBack();
    else if (run.downSince !== null && !run.clusterUp) await run.bringUp({ only: this.ran });
    if (this.hasStaged && !this.hasSwapped)
      await run.hosts
        .each('all', (host) => run.hosts.agent(host).discardStage({ run: run.run }))
        .catch((error: unknown) => {
          run.warnings.push(`copies beside the live trees were left behind: ${problemOf(error).message}`);
        });
  }

  /** All of them or none: trees of two moments must not meet. */
  private async rollBack(): Promise<void> {
    const { run } = this;
    await run.step('roll-back', async () => {
      run.clusterUp = false;
      for (const role of ['clickhouse', 'keeper'] as const)
        await run.hosts.each(role, (host) => run.hosts.patiently(host, () => run.hosts.stop(host)));
      await run.hosts.each('all', (host) =>
        run.hosts.patiently(host, () => run.hosts.agent(host).rollBackTrees({ run: run.run })),
      );
      run.rolledBack = true;
    });
    await run.bringUp({ only: this.ran });
  }
}

function parsed(input: unknown) {
  try {
    return parseColdRestore(input);
  } catch (error) {
    throw asFailure(problemOf(error));
  }
}
