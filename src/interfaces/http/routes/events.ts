import { setTimeout as sleep } from 'node:timers/promises';
import { streamSSE, type SSEStreamingApi } from 'hono/streaming';
import { problemDetails, asRecoveryError } from '../problem.js';
import { visibleRun, type ApiParts, type Define } from '../endpoint.js';
import { stateOf, viewOf } from '../views.js';

/** Proxies close a connection that says nothing for a minute, often. Milliseconds. */
const KEEP_ALIVE_MS = 15_000;

/**
 * Server-sent events: `state` at once and at each change, as `GET …/{id}` has it; `problem` while Temporal is away; `end`
 * with the last state, after which a client has to close. Each connection begins with the present state, so one that is
 * lost has missed nothing.
 */
export function addEvents(define: Define, parts: ApiParts): void {
  define({
    method: 'get',
    path: '/v1/recoveries/{id}/events',
    summary: 'progress as server-sent events: `state`, `problem`, `end`',
    may: 'read',
    answers: { 200: { description: 'the stream', content: { 'text/event-stream': {} } } },
    handle: async ({ caller, id, context }) => {
      await visibleRun(parts, caller, id);
      const slot = parts.streams.enter(caller.name);
      return streamSSE(context, async (stream) => {
        stream.onAbort(() => slot.abort());
        const end = setTimeout(() => slot.abort(), parts.limits.streamMs);
        try {
          await follow(stream, { parts, id, requestId: context.get('requestId'), signal: slot.signal });
        } finally {
          clearTimeout(end);
          parts.streams.leave(slot);
        }
      });
    },
  });
}

async function follow(
  stream: SSEStreamingApi,
  { parts, id, requestId, signal }: { parts: ApiParts; id: string; requestId: string; signal: AbortSignal },
): Promise<void> {
  let sent = '';
  let sentAt = performance.now();
  while (!signal.aborted) {
    const { event, data } = await look(parts, id, requestId);
    if (signal.aborted) return;
    if (data !== sent) {
      await stream.writeSSE({ event, data });
      sent = data;
      sentAt = performance.now();
    } else if (performance.now() - sentAt > KEEP_ALIVE_MS) {
      await stream.write(': waiting\n\n');
      sentAt = performance.now();
    }
    if (event === 'end') return;
    await sleep(parts.limits.pollMs, undefined, { signal }).catch(() => undefined);
  }
}

async function look({ recoveries }: ApiParts, id: string, requestId: string): Promise<{ event: string; data: string }> {
  try {
    const run = await recoveries.find(id);
    const state = { ...viewOf(run), ...(await stateOf(recoveries, id)) };
    return { event: run.status === 'running' ? 'state' : 'end', data: JSON.stringify(state) };
  } catch (error) {
    const found = asRecoveryError(error);
    return {
      event: found.code === 'TEMPORAL_UNAVAILABLE' ? 'problem' : 'end',
      data: JSON.stringify(problemDetails(found, requestId)),
    };
  }
}
