import { proxyActivities, sleep, type ActivityInterfaceFor } from '@temporalio/workflow';
import type { ColdActivities } from '../activities/cold/index.js';
import type { AgentActivities } from '../agent/activities.js';
import { hostTaskQueue, type ColdHost, type HostFacts, type HostRole } from '../domain/cold.js';
import { problem, RecoveryError, type Problem } from '../domain/errors.js';
import { problemOf } from './failures.js';
import { hostActivities } from './host-activities.js';

type Settings = Awaited<ReturnType<ColdActivities['coldSettings']>>;

/** Between two tries to bring up what does not come up. Milliseconds. */
const PAUSE_MS = 5_000;

/** The hosts of a cluster by their agents, each with a task queue of its own. */
export class ColdHosts {
  /** What is known of a host that a person has to see to. */
  private readonly needs = new Map<string, string>();
  /** Hosts that were given up. */
  readonly down: string[] = [];
  private readonly commands = new Map<string, HostFacts['commands']>();

  constructor(
    private readonly cluster: string,
    private readonly settings: Settings,
    private readonly publish: () => void,
  ) {}

  /** Side by side, and waits for all, also when one fails: nothing is brought up under a host that still copies. */
  async each(role: HostRole | 'all', work: (host: ColdHost) => Promise<unknown>): Promise<void> {
    const chosen = this.settings.hosts.filter((host) => role === 'all' || host.role === role);
    const failed = (await Promise.allSettled(chosen.map(work))).find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason;
  }

  remember(facts: readonly HostFacts[]): void {
    for (const { name, commands } of facts) this.commands.set(name, commands);
  }

  /** The activities of one agent. One that does not take them in time is named in the error. */
  agent(host: ColdHost): ActivityInterfaceFor<AgentActivities> {
    const { agentTimeoutSeconds, policy } = this.settings;
    return hostActivities<AgentActivities>(host, {
      ...{ cluster: this.cluster, taskQueue: hostTaskQueue(this.cluster, host.name), agentTimeoutSeconds },
      heartbeatTimeoutSeconds: policy.heartbeatTimeoutSeconds,
    });
  }

  async stop(host: ColdHost): Promise<void> {
    await this.agent(host).stopService();
  }

  /** As long as it takes: an agent that is away, and a service that does not start, are a person's to see to. */
  async start(host: ColdHost, mayFail: boolean): Promise<void> {
    await this.patiently(host, () => this.agent(host).startService(), { mayServe: true, mayFail });
  }

  async awaitServing(host: ColdHost, mayFail: boolean): Promise<void> {
    await this.patiently(host, () => this.agent(host).awaitServing(), { mayServe: true, mayFail });
  }

  /** `mayServe`: somebody may have done it by hand. `mayFail`: only an agent is waited for, not a service that does not start. */
  async patiently<T>(
    host: ColdHost,
    work: () => Promise<T>,
    { mayServe = false, mayFail = false } = {},
  ): Promise<T | null> {
    const deadline = Date.now() + this.settings.policy.resolveTimeoutSeconds * 1000;
    for (;;) {
      try {
        const result = await work();
        this.settled(host);
        return result;
      } catch (error) {
        const found = problemOf(error);
        this.needs.set(host.name, `${found.message} — ${this.adviceFor(host)}`);
        this.publish();
        if (found.code !== 'AGENT_UNAVAILABLE' && (mayFail || found.code !== 'SERVICE_NOT_STARTED')) throw error;
        if (mayServe && found.code === 'AGENT_UNAVAILABLE' && (await this.isServing(host))) {
          this.settled(host);
          return null;
        }
        if (Date.now() > deadline) {
          this.down.push(host.name);
          throw asError(problem('CLUSTER_DOWN', this.needs.get(host.name) ?? '', { objects: [host.name] }));
        }
        await sleep(PAUSE_MS);
      }
    }
  }

  attention(): string[] {
    return [...this.needs.values()];
  }

  private settled(host: ColdHost): void {
    if (this.needs.delete(host.name)) this.publish();
  }

  private adviceFor({ name }: ColdHost): string {
    const start = this.commands.get(name)?.start;
    return `start the agent, or the service itself${start === undefined ? '' : `: ${start}`}`;
  }

  private isServing(host: ColdHost): Promise<boolean> {
    const { isServing } = proxyActivities<ColdActivities>({
      startToCloseTimeout: '1 minute',
      retry: { maximumAttempts: 3 },
    });
    return isServing({ cluster: this.cluster, host }).catch(() => false);
  }
}

const asError = ({ code, message, objects }: Problem) => new RecoveryError(code, message, { objects });
