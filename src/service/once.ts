import type { Client } from '@temporalio/client';
import { RecoveryError } from '../domain/errors.js';
import { parseRequest, type RecoveryRequest } from '../domain/request.js';
import type { RunFinder } from './runs.js';
import { recoveryIdOf, sha256, standingRun, startRun, type Run, type Started } from './start.js';

/** What a program sends to be able to repeat itself, and who it is: two programs may use the same key. */
export interface IdempotencyKey {
  owner: string;
  key: string;
}

/**
 * Starts recoveries for programs, which repeat what they send. A key (else the incident) stands for one run for as long
 * as Temporal keeps it, also after its end: a repeat never starts a second one. And where the cluster is in recovery
 * already, waiting for approval included, another request is refused with the id of that run.
 */
export class OnceStarter {
  /** By cluster: the run that we started last, which Temporal's list may not show yet. */
  private readonly latest = new Map<string, string>();
  /** By cluster: starts that are under way, one after the other. */
  private readonly queues = new Map<string, Promise<unknown>>();

  constructor(
    private readonly client: Client,
    private readonly finder: RunFinder,
    private readonly timeoutMs: number,
  ) {}

  async start(value: unknown, taskQueue: string, key?: IdempotencyKey): Promise<Started> {
    const request = parseRequest(value);
    const run: Run = { id: key ? idOfKey(key) : recoveryIdOf(request), request, taskQueue, onlyOnce: true };
    const repeatable = key !== undefined || request.incident !== undefined;
    // In time, or a Temporal that does not answer would keep all who come later waiting.
    const inTurn = () => this.client.withDeadline(Date.now() + this.timeoutMs, () => this.startInTurn(run, repeatable));
    const started = (this.queues.get(request.cluster) ?? Promise.resolve()).then(inTurn, inTurn);
    this.queues.set(request.cluster, started);
    return started;
  }

  private async startInTurn(run: Run, repeatable: boolean): Promise<Started> {
    const { cluster } = run.request;
    const standing = repeatable ? await this.standing(run) : null;
    if (standing) return standing;
    const running = await this.runningOn(cluster);
    if (running !== null)
      throw new RecoveryError('RECOVERY_RUNNING', `cluster ${cluster} is in recovery: ${running}`, {
        objects: [running],
      });
    const started = await startRun(this.client, run);
    this.latest.set(cluster, started.id);
    return started;
  }

  private async standing(run: Run): Promise<Started | null> {
    try {
      return await standingRun(this.client, run);
    } catch (error) {
      if (error instanceof RecoveryError && error.code === 'WORKFLOW_UNKNOWN') return null;
      throw error;
    }
  }

  private async runningOn(cluster: string): Promise<string | null> {
    const latest = this.latest.get(cluster);
    if (latest !== undefined && (await this.isRunning(latest))) return latest;
    const matches = ({ request }: { request: RecoveryRequest | null }) => request?.cluster === cluster;
    return (await this.finder.list({ open: true, limit: 1, matches }))[0]?.id ?? null;
  }

  private async isRunning(id: string): Promise<boolean> {
    try {
      return (await this.finder.find(id)).status === 'running';
    } catch (error) {
      // Past its retention.
      if (error instanceof RecoveryError && error.code === 'WORKFLOW_UNKNOWN') return false;
      throw error;
    }
  }
}

/** Without the cluster: the same key with another cluster is another request, and has to meet the first. */
function idOfKey({ owner, key }: IdempotencyKey): string {
  return `recover-key-${sha256(JSON.stringify([owner, key]))}`;
}
