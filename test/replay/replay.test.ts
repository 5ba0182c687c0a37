import { readdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { beforeAll, describe, expect, it } from 'vitest';
import { repoRoot } from '../support/tools.js';
import { bundleWorkflows, quietRuntime } from '../workflow/bench.js';
import { historyFromJson } from './history-json.js';

const folder = join(import.meta.dirname, 'histories');
const files = readdirSync(folder).sort();
const read = (file: string) => readFileSync(join(folder, file), 'utf8');

interface Started {
  workflowExecutionStartedEventAttributes?: { workflowId: string };
}

/** What became of each file: `replayed`, or the error. */
async function replay(workflowBundle: WorkflowBundleWithSourceMap, names: string[]): Promise<Record<string, unknown>> {
  // Under its own id: a drill makes the one of its recovery from it.
  const idOf = (file: string) => {
    const { events } = JSON.parse(read(file)) as { events: Started[] };
    return events[0]?.workflowExecutionStartedEventAttributes?.workflowId ?? file;
  };
  const fileOf = new Map(names.map((file) => [idOf(file), file]));
  const histories = names.map((file) => ({ workflowId: idOf(file), history: historyFromJson(read(file)) }));
  const results: Record<string, unknown> = {};
  for await (const { workflowId, error } of Worker.runReplayHistories({ workflowBundle }, histories))
    results[fileOf.get(workflowId) ?? workflowId] = error ?? 'replayed';
  return results;
}

beforeAll(quietRuntime);

describe('recorded histories', () => {
  it('are replayed by the workflow code of today', async () => {
    expect(files.length).toBeGreaterThanOrEqual(5);
    expect(await replay(await bundleWorkflows(), files)).toEqual(
      Object.fromEntries(files.map((file) => [file, 'replayed'])),
    );
  });

  it('betray a workflow whose commands changed', async () => {
    const changed = await bundleWorkflows(join(import.meta.dirname, 'changed-workflows.ts'));
    const recoveries = files.filter((file) => !/-(backup|lock|cold-restore|large-shard.*)\.json$/.test(file));
    for (const result of Object.values(await replay(changed, recoveries)))
      expect(result).toBeInstanceOf(DeterminismViolationError);
  });

  it.each(files)('name their version and nothing of the machine that recorded: %s', (file) => {
    expect(file).toMatch(/^\d+\.\d+\.\d+-[a-z-]+\.json$/);
    const text = read(file).replaceAll(/"data": "([^"]*)"/g, (_, data: string) =>
      Buffer.from(data, 'base64').toString('utf8'),
    );
    for (const trace of [repoRoot, hostname(), '/tmp/', 'node_modules', 'stackTrace'])
      expect(text).not.toContain(trace);
  });
});
