/** Looks for secrets, in the forms in which they travel, in whatever the product leaves behind. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { temporal } from '@temporalio/proto';

export interface Secret {
  name: string;
  value: string;
  /** Whose password it is: basic authentication sends both together. */
  user?: string;
}

/** A place, such as a history or a file, with all that is in it. */
export interface Place {
  name: string;
  bytes: Buffer;
}

function formsOf({ value, user }: Secret): string[] {
  const plain = user === undefined ? [value] : [value, `${user}:${value}`];
  return plain.flatMap((text) => [
    text,
    JSON.stringify(text).slice(1, -1),
    encodeURIComponent(text),
    Buffer.from(text).toString('base64'),
    Buffer.from(text).toString('base64url'),
    Buffer.from(text).toString('hex'),
  ]);
}

/** `secret in place`, for each that is found. */
export function findSecrets(places: readonly Place[], secrets: readonly Secret[]): string[] {
  return places.flatMap(({ name, bytes }) =>
    secrets
      .filter((secret) => formsOf(secret).some((form) => bytes.includes(form)))
      .map((secret) => `${secret.name} in ${name}`),
  );
}

/** `except`: folders in `dir` that are left out. */
export function filesUnder(dir: string, { except = [] }: { except?: readonly string[] } = {}): Place[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !except.some((each) => entry.parentPath.startsWith(join(dir, each))))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ name: path, bytes: readFileSync(path) }));
}

/** Every workflow's history as the server sends it, and what it says of it. */
export async function histories(client: Client): Promise<Place[]> {
  const places: Place[] = [];
  const { namespace } = client.options;
  for await (const { workflowId, runId } of client.workflow.list()) {
    const execution = { workflowId, runId };
    let nextPageToken: Uint8Array | null | undefined;
    do {
      const page = await client.workflowService.getWorkflowExecutionHistory({ namespace, execution, nextPageToken });
      const bytes = temporal.api.history.v1.History.encode(page.history ?? {}).finish();
      places.push({ name: `history of ${workflowId}`, bytes: Buffer.from(bytes) });
      nextPageToken = page.nextPageToken;
    } while (nextPageToken?.length);
    places.push({ name: `description of ${workflowId}`, bytes: await described(client, execution) });
  }
  return places;
}

/** With its pending activities: their heartbeats and their last failures. */
async function described(client: Client, execution: { workflowId: string; runId: string }): Promise<Buffer> {
  const answer = await client.workflowService.describeWorkflowExecution({
    namespace: client.options.namespace,
    execution,
  });
  const { DescribeWorkflowExecutionResponse } = temporal.api.workflowservice.v1;
  return Buffer.from(DescribeWorkflowExecutionResponse.encode(answer).finish());
}

/** Collects, until `stop`, what activities that run say in their heartbeats: these are gone when they end. */
export function collectHeartbeats(client: Client, everyMs = 200): { stop(): Promise<Place[]> } {
  const places: Place[] = [];
  let stopped = false;
  const collecting = (async () => {
    while (!stopped) {
      for await (const { workflowId } of client.workflow.list({ query: "ExecutionStatus = 'Running'" })) {
        const raw = await client.workflowService
          .describeWorkflowExecution({ namespace: client.options.namespace, execution: { workflowId } })
          .catch(() => null);
        for (const { heartbeatDetails, lastFailure, activityType } of raw?.pendingActivities ?? [])
          for (const { data } of [
            ...(heartbeatDetails?.payloads ?? []),
            ...(lastFailure?.applicationFailureInfo?.details?.payloads ?? []),
          ])
            places.push({ name: `heartbeat of ${activityType?.name}`, bytes: Buffer.from(data ?? []) });
      }
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  })();
  return {
    stop: async () => {
      stopped = true;
      await collecting;
      return places;
    },
  };
}
