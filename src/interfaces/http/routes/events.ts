import { setTimeout as sleep } from 'node:timers/promises';
import { streamSSE, type SSEStreamingApi } from 'hono/streaming';
import type { Caller } from '../auth.js';
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
      // Nobody reads a stream of it, so none would ever end.
      if (context.req.method === 'HEAD') return context.body(null, 200, { 'Content-Type': 'text/event-stream' });
      const slot = parts.streams.enter(caller.name);
      return streamSSE(context, async (stream) => {
        stream.onAbort(() => slot.abort());
        const end = setTimeout(() => slot.abort(), parts.limits.streamMs);
        try {
          await follow(stream, { parts, caller, id, requestId: context.get('requestId'), signal: slot.signal });
        } finally {
          clearTimeout(end);
          parts.streams.leave(slot);
        }
      });
    },
  });
}

interface Following {
  parts: ApiParts;
  caller: Caller;
  id: string;
  requestId: string;
}

async function follow(
  stream: SSEStreamingApi,
  { parts, caller, id, requestId, signal }: Following & { signal: AbortSignal },
): Promise<void> {
  // A client that does not read keeps a write waiting for ever: the end of the stream does not.
  const ended = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  let sent = '';
  let sentAt = performance.now();
  while (!signal.aborted) {
    const { event, data } = await look({ parts, caller, id, requestId });
    if (signal.aborted) return;
    if (data !== sent) {
      await Promise.race([stream.writeSSE({ event, data }), ended]);
      sent = data;
      sentAt = performance.now();
    } else if (performance.now() - sentAt > KEEP_ALIVE_MS) {
      await Promise.race([stream.write(': waiting\n\n'), ended]);
      sentAt = performance.now();
    }
    if (event === 'end') return;
    await sleep(parts.limits.pollMs, undefined, { signal }).catch(() => undefined);
  }
}

/** Each time anew whether the caller may see it: an id may be used again, for another cluster. */
async function look({ parts, caller, id, requestId }: Following): Promise<{ event: string; data: string }> {
  try {
    const run = await visibleRun(parts, caller, id);
    const state = { ...viewOf(run), ...(await stateOf(parts.recoveries, id)) };
    return { event: run.status === 'running' ? 'state' : 'end', data: JSON.stringify(state) };
  } catch (error) {
    const found = asRecoveryError(error);
    return {
      event: found.code === 'TEMPORAL_UNAVAILABLE' ? 'problem' : 'end',
      data: JSON.stringify(problemDetails(found, requestId)),
    };
  }
}
