import type { Client, WorkflowExecutionInfo } from '@temporalio/client';
import { decodeArrayFromPayloads } from '@temporalio/common/lib/internal-non-workflow/index.js';
import { RecoveryError } from '../domain/errors.js';
import { WORKFLOWS } from '../domain/messages.js';
import { parseRequest, type RecoveryRequest } from '../domain/request.js';
import { isTemplate } from '../domain/template.js';
import { translated } from './temporal-errors.js';

/** A recovery as Temporal knows it, without a worker. */
export interface FoundRun {
  id: string;
  runId: string;
  /** Null where its input was not valid. */
  request: RecoveryRequest | null;
  status: 'running' | 'completed' | 'failed' | 'cancelled' | 'terminated' | 'timed-out';
  startedAt: string;
  closedAt: string | null;
}

const STATUS: Record<string, FoundRun['status']> = {
  COMPLETED: 'completed',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
  TERMINATED: 'terminated',
  TIMED_OUT: 'timed-out',
};

/** Runs looked through for one answer, and inputs remembered: enough for years of incidents. */
const MAX_RUNS = 1_000;

/**
 * Finds recoveries, however they were started. Which cluster one is for is read from its input, the first event of its
 * history: a memo or a search attribute is there only where it was us who started it, or where attributes may be
 * registered. An input never changes, so it is read once.
 */
export class RunFinder {
  private readonly inputs = new Map<string, RecoveryRequest | null>();

  constructor(
    private readonly client: Client,
    private readonly timeoutMs: number,
  ) {}

  async find(id: string): Promise<FoundRun> {
    const unknown = new RecoveryError('WORKFLOW_UNKNOWN', `there is no such recovery: ${id}`);
    const info = await this.inTime(() => this.client.workflow.getHandle(id).describe()).catch((error: unknown) => {
      throw error instanceof RecoveryError && error.code === 'WORKFLOW_UNKNOWN' ? unknown : error;
    });
    if (info.type !== WORKFLOWS.recover || isTemplate(info.memo)) throw unknown;
    return this.runOf(info);
  }

  /** Newest first. Temporal's list is some moments behind. */
  async list({
    open,
    limit,
    matches,
  }: {
    open: boolean;
    limit: number;
    matches: (run: FoundRun) => boolean;
  }): Promise<FoundRun[]> {
    const query = `WorkflowType = '${WORKFLOWS.recover}'${open ? " AND ExecutionStatus = 'Running'" : ''}`;
    return this.inTime(async () => {
      const found: FoundRun[] = [];
      let seen = 0;
      for await (const info of this.client.workflow.list({ query, pageSize: 100 })) {
        if (found.length >= limit || ++seen > MAX_RUNS) break;
        if (isTemplate(info.memo)) continue;
        const run = await this.runOf(info);
        if (matches(run)) found.push(run);
      }
      return found;
    });
  }

  private async runOf(info: Omit<WorkflowExecutionInfo, 'raw'>): Promise<FoundRun> {
    return {
      id: info.workflowId,
      runId: info.runId,
      request: await this.input(info),
      status: STATUS[info.status.name] ?? 'running',
      startedAt: info.startTime.toISOString(),
      closedAt: info.closeTime?.toISOString() ?? null,
    };
  }

  private async input({
    workflowId,
    runId,
  }: Pick<WorkflowExecutionInfo, 'workflowId' | 'runId'>): Promise<RecoveryRequest | null> {
    const known = this.inputs.get(runId);
    if (known !== undefined) return known;
    const { history } = await this.inTime(() =>
      this.client.workflowService.getWorkflowExecutionHistory({
        namespace: this.client.options.namespace,
        execution: { workflowId, runId },
        maximumPageSize: 1,
      }),
    );
    const payloads = history?.events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads;
    const [value] = await decodeArrayFromPayloads(this.client.options.loadedDataConverter, payloads);
    const request = valid(value);
    if (this.inputs.size >= MAX_RUNS) this.inputs.clear();
    this.inputs.set(runId, request);
    return request;
  }

  private inTime<T>(call: () => Promise<T>): Promise<T> {
    return translated(() => this.client.withDeadline(Date.now() + this.timeoutMs, call));
  }
}

function valid(value: unknown): RecoveryRequest | null {
  try {
    return parseRequest(value);
  } catch {
    return null;
  }
}
