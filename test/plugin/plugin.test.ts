import { basename } from 'node:path';
import { SimplePlugin } from '@temporalio/plugin';
import { Runtime, type Worker, type WorkerOptions } from '@temporalio/worker';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/checks.js';
import { createDrillStore } from '../../src/adapters/reports/drill-store.js';
import { fileDocuments } from '../../src/adapters/reports/file-documents.js';
import type { DrillReport } from '../../src/domain/drill.js';
import { histogramBucketOverrides } from '../../src/index.js';
import { ClickHouseRecoveryPlugin } from '../../src/plugin.js';
import { freePorts, scratchDir, waitFor } from '../support/processes.js';
import { valueOf } from '../support/prometheus.js';

const raw = {
  keeper: { hosts: ['127.0.0.1:1'] },
  nodes: [{ name: 'a', shard: '01', replica: 'r1', url: 'http://127.0.0.1:2' }],
};
const config = parseConfig({ clusters: { prod: raw } });
const newPlugin = () => new ClickHouseRecoveryPlugin({ config });
const hello = async () => 'hello';
const host: WorkerOptions = { taskQueue: 'q', workflowsPath: '/theirs.js', activities: { hello } };

/** The parts of a worker that a plugin sees when it runs. */
const workerOf = ({ activities }: WorkerOptions) =>
  ({ options: { activities: new Map(Object.entries(activities ?? {})) } }) as unknown as Worker;

let metrics: string;
beforeAll(async () => {
  const [port] = await freePorts(1);
  metrics = `http://127.0.0.1:${port}/metrics`;
  const prometheus = { bindAddress: `127.0.0.1:${port}`, histogramBucketOverrides };
  Runtime.install({ telemetryOptions: { metrics: { prometheus } } });
});

describe('a worker with the plugin', () => {
  it('keeps its workflows and activities, and has ours', () => {
    const options = newPlugin().configureWorker(host);
    expect(options.workflowsPath).toBe('/theirs.js');
    expect(options.workflowBundle).toBeUndefined();
    expect(options.activities).toMatchObject({ hello, planRecovery: expect.any(Function) as unknown });
    expect(options.interceptors?.activity).toHaveLength(1);
    expect(host.activities).toEqual({ hello });
  });

  it('keeps its bundle', () => {
    const workflowBundle = { codePath: '/theirs.js' };
    const options = newPlugin().configureWorker({ taskQueue: 'q', workflowBundle });
    expect([options.workflowBundle, options.workflowsPath]).toEqual([workflowBundle, undefined]);
  });

  it('has our workflows where it has none', () => {
    expect(basename(newPlugin().configureWorker({ taskQueue: 'q' }).workflowsPath ?? '')).toBe('index.js');
  });

  it('is the same where the plugin is on its connection too', () => {
    const plugin = newPlugin();
    const once = plugin.configureWorker(host);
    expect(plugin.configureWorker(once)).toEqual(once);
  });

  it('with an activity that has a name of ours is refused', () => {
    const taken = { ...host, activities: { hello, planRecovery: hello, saveReport: hello } };
    expect(() => newPlugin().configureWorker(taken)).toThrow(
      expect.objectContaining({ code: 'ACTIVITY_NAME_TAKEN', details: { objects: ['planRecovery', 'saveReport'] } }),
    );
  });

  it('is refused with two of our plugins: which configuration counts could not be told', () => {
    expect(() => newPlugin().configureWorker(newPlugin().configureWorker(host))).toThrow(/names of ours: getPolicy, /);
  });

  it('does not run where a plugin after ours has put its activity in the place of one of ours', async () => {
    const plugin = newPlugin();
    const other = new SimplePlugin({ name: 'other', activities: { liftFence: hello } });
    const options = other.configureWorker(plugin.configureWorker(host));
    let ran = false;
    const running = plugin.runWorker(workerOf(options), async () => void (ran = true));
    await expect(running).rejects.toMatchObject({ code: 'ACTIVITY_NAME_TAKEN', details: { objects: ['liftFence'] } });
    expect(ran).toBe(false);
  });

  it('has the metrics of recoveries and of drills where its own are, in every run', async () => {
    const dir = scratchDir('plugin');
    const cluster = (more: object) => ({ ...raw, ...more });
    const drilled = parseConfig({
      reports: { dir: dir.path },
      clusters: {
        prod: cluster({
          backups: { nightly: { kind: 'native', to: "Disk('b', '{shard}/{name}')" } },
          drill: { target: 'scratch', objectives: { rtoSeconds: 60, rpoSeconds: 60 } },
        }),
        scratch: cluster({
          keeper: { hosts: ['127.0.0.1:3'] },
          nodes: [{ ...raw.nodes[0], url: 'http://127.0.0.1:4' }],
          scratch: true,
        }),
      },
    });
    const plugin = new ClickHouseRecoveryPlugin({ config: drilled });
    const worker = workerOf(plugin.configureWorker(host));
    const gauge = async (name: string) =>
      valueOf(await (await fetch(metrics)).text(), `ch_recover_drill_${name}`, { cluster: 'prod' });
    const until = (name: string, value: number) =>
      plugin.runWorker(worker, () =>
        waitFor(async () => (await gauge(name)) === value, { what: `${name} ${value}`, deadlineMs: 10_000 }).then(
          () => undefined,
        ),
      );
    await until('last_success_timestamp_seconds', 0);
    const text = await (await fetch(metrics)).text();
    expect(valueOf(text, 'ch_recover_recoveries_ended_total', { cluster: 'prod', outcome: 'failed' })).toBe(0);
    const passed = { cluster: 'prod', target: 'scratch', drillId: 'd', outcome: 'passed', problems: [] };
    await createDrillStore(fileDocuments(dir.path)).save({
      ...passed,
      ...{ startedAt: '2026-11-24T10:00:00.000Z', finishedAt: '2026-11-24T10:01:00.000Z', rtoSeconds: 42 },
      ...{ rpo: { seconds: 7, basis: 'backup', newestRow: null, backupAgeSeconds: 7 }, stages: [], warnings: [] },
      ...{ restored: { tables: 1, rows: 1 }, missing: { rows: 0, tables: [] }, backup: null, objectives: null },
    } as unknown as DrillReport);
    await until('rto_seconds', 42);
    expect(await gauge('rpo_seconds')).toBe(7);
    expect(await gauge('last_success_timestamp_seconds')).toBe(Date.parse('2026-11-24T10:01:00.000Z') / 1000);
    dir.remove();
  });

  it('runs once, and the next one too', async () => {
    const plugin = newPlugin();
    const worker = workerOf(plugin.configureWorker(host));
    let runs = 0;
    const run = () => plugin.runWorker(worker, () => plugin.runWorker(worker, async () => void runs++));
    await run();
    await run();
    expect(runs).toBe(2);
  });
});
