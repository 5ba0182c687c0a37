/** What a run costs: requests of ZooKeeper, CPU of each part, memory of the workers, events and bytes of histories. */
import { readFileSync } from 'node:fs';
import type { Client } from '@temporalio/client';
import { fourLetterWord, type Ensemble } from '../../test/support/zookeeper-ensemble.js';

export interface KeeperCount {
  requests: number;
  reads: number;
  writes: number;
}

/** Since its servers started. Where there are several, of all: a write counts once for each. */
export async function keeperCount(ensemble: Ensemble): Promise<KeeperCount> {
  const count = { requests: 0, reads: 0, writes: 0 };
  for (const { clientPort } of ensemble.servers) {
    const answer = await fourLetterWord(clientPort, 'mntr');
    const of = (name: string) => Number(new RegExp(`^${name}\\t(\\d+)`, 'm').exec(answer)?.[1] ?? 0);
    count.requests += of('zk_packets_received');
    count.reads += of('zk_cnt_readlatency');
    count.writes += of('zk_cnt_updatelatency');
  }
  return count;
}

export const since = (before: KeeperCount, after: KeeperCount): KeeperCount => ({
  requests: after.requests - before.requests,
  reads: after.reads - before.reads,
  writes: after.writes - before.writes,
});

/** Linux counts in ticks of 10 ms. */
const TICKS_PER_SECOND = 100;

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // It has ended, or this is no Linux.
    return '';
  }
}

function descendants(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`).trim();
  return children === '' ? [] : children.split(' ').flatMap((child) => [Number(child), ...descendants(Number(child))]);
}

/** Seconds of CPU that the processes and what they started have used so far. 0 where there is no /proc. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids.flatMap((each) => [each, ...descendants(each)])) {
    // The name, in brackets, may hold anything.
    const fields = read(`/proc/${pid}/stat`)
      .replace(/^.*\) /s, '')
      .split(' ');
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }
  return ticks / TICKS_PER_SECOND;
}

/** The most memory that a process has held, and what it holds now, in MB; null where there is no /proc. */
export function memory(pid: number): { peakMb: number; nowMb: number } | null {
  const status = read(`/proc/${pid}/status`);
  const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? NaN) / 1024;
  const [peakMb, nowMb] = [of('VmHWM'), of('VmRSS')];
  return Number.isNaN(peakMb) ? null : { peakMb, nowMb };
}

export interface HistoryCount {
  runs: number;
  events: number;
  bytes: number;
  /** Of the longest run. */
  longestEvents: number;
  longestBytes: number;
  largestPayload: number;
  /** What Temporal Cloud bills, but for heartbeats, which leave no event. */
  actions: number;
  activities: number;
  continuedAsNew: number;
  /** From an activity's start to its end, by its type: how often, and milliseconds together. */
  latencies: Record<string, { count: number; totalMs: number }>;
  /** From schedule to start: how long activities waited for a worker, in milliseconds together. */
  waitingMs: number;
  /** How many activities each worker began. */
  byWorker: Record<string, number>;
}

interface Time {
  seconds?: { toNumber(): number } | number | null;
  nanos?: number | null;
}
const ms = (time: Time | null | undefined) => {
  const seconds = time?.seconds ?? 0;
  return (typeof seconds === 'number' ? seconds : seconds.toNumber()) * 1000 + (time?.nanos ?? 0) / 1e6;
};

function largestIn(value: unknown): number {
  if (value instanceof Uint8Array) return value.byteLength;
  if (typeof value !== 'object' || value === null) return 0;
  let largest = 0;
  for (const each of Object.values(value)) largest = Math.max(largest, largestIn(each));
  return largest;
}

/** A run, all that it continued as, and all of its children's, however deep. */
export async function countHistory(client: Client, workflowId: string, runId: string): Promise<HistoryCount> {
  const count: HistoryCount = {
    ...{ runs: 0, events: 0, bytes: 0, longestEvents: 0, longestBytes: 0, largestPayload: 0 },
    ...{ actions: 0, activities: 0, continuedAsNew: 0, latencies: {}, waitingMs: 0, byWorker: {} },
  };
  const open = [{ workflowId, runId }];
  for (let next = open.pop(); next; next = open.pop()) {
    const handle = client.workflow.getHandle(next.workflowId, next.runId);
    const [{ raw }, history] = await Promise.all([handle.describe(), handle.fetchHistory()]);
    const bytes = Number(raw.workflowExecutionInfo?.historySizeBytes ?? 0);
    const events = history.events ?? [];
    count.runs++;
    count.events += events.length;
    count.bytes += bytes;
    count.longestEvents = Math.max(count.longestEvents, events.length);
    count.longestBytes = Math.max(count.longestBytes, bytes);
    const scheduled = new Map<string, { type: string; at: number }>();
    const started = new Map<string, { type: string; at: number }>();
    for (const event of events) {
      count.largestPayload = Math.max(count.largestPayload, largestIn(event));
      const at = ms(event.eventTime);
      if (event.workflowExecutionStartedEventAttributes) count.actions++;
      if (event.timerStartedEventAttributes) count.actions++;
      if (event.workflowExecutionSignaledEventAttributes) count.actions++;
      if (event.workflowExecutionUpdateAcceptedEventAttributes) count.actions++;
      if (event.upsertWorkflowSearchAttributesEventAttributes) count.actions++;
      if (event.markerRecordedEventAttributes) count.actions++;
      if (event.startChildWorkflowExecutionInitiatedEventAttributes) count.actions++;
      const activity = event.activityTaskScheduledEventAttributes;
      if (activity) {
        count.activities++;
        scheduled.set(String(event.eventId), { type: activity.activityType?.name ?? '', at });
      }
      const begun = event.activityTaskStartedEventAttributes;
      if (begun) {
        count.actions += begun.attempt ?? 1;
        const worker = begun.identity ?? '';
        count.byWorker[worker] = (count.byWorker[worker] ?? 0) + 1;
        const from = scheduled.get(String(begun.scheduledEventId));
        if (from) {
          count.waitingMs += at - from.at;
          started.set(String(begun.scheduledEventId), { type: from.type, at });
        }
      }
      const done = event.activityTaskCompletedEventAttributes;
      const ran = done && started.get(String(done.scheduledEventId));
      if (ran) {
        const latency = (count.latencies[ran.type] ??= { count: 0, totalMs: 0 });
        latency.count++;
        latency.totalMs += at - ran.at;
      }
      const child = event.childWorkflowExecutionStartedEventAttributes?.workflowExecution;
      if (child?.workflowId) open.push({ workflowId: child.workflowId, runId: child.runId ?? '' });
      const newRun = event.workflowExecutionContinuedAsNewEventAttributes?.newExecutionRunId;
      if (newRun) {
        count.continuedAsNew++;
        open.push({ workflowId: next.workflowId, runId: newRun });
      }
    }
  }
  return count;
}
