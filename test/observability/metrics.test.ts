import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ERRORS } from '../../src/domain/errors.js';
import { OUTCOMES, STAGES, type Report } from '../../src/domain/report.js';
import { ApiMetrics } from '../../src/interfaces/http/metrics.js';
import { observeActivities, withActivityIds, workerMetrics } from '../../src/observability/activities.js';
import { watchDrills } from '../../src/observability/drill-gauges.js';
import type { DrillResult } from '../../src/observability/drills.js';
import { BUCKET_OVERRIDES } from '../../src/observability/metrics.js';
import { freePorts, waitFor } from '../support/processes.js';
import { namesIn, samplesOf, valueOf } from '../support/prometheus.js';
import { findPromtool, repoRoot } from '../support/tools.js';

/** Against the exporter that a worker has: names, labels and buckets are what it makes of them. */

const TABLE = 'db.secret-looking.table';
const lines: object[] = [];
const logger = new DefaultLogger('DEBUG', ({ message, meta }) => void lines.push({ message, ...(meta as object) }));
let url: string;

const scrape = async () => (await fetch(url)).text();

beforeAll(async () => {
  const [port] = await freePorts(1);
  url = `http://127.0.0.1:${port}/metrics`;
  const prometheus = { bindAddress: `127.0.0.1:${port}`, histogramBucketOverrides: BUCKET_OVERRIDES };
  Runtime.install({ logger, telemetryOptions: { metrics: { prometheus } } });
});

const report = {
  cluster: 'prod',
  outcome: 'failed',
  rtoSeconds: 4_000,
  stages: [
    {
      ...{ name: 'stop', startedAt: '2026-11-24T10:00:00.000Z', finishedAt: '2026-11-24T10:00:12.500Z' },
      outcome: 'done',
    },
    { name: 'restore-data', startedAt: null, finishedAt: null, outcome: 'not-needed' },
  ],
  tables: ['recovered', 'recovered', 'failed'].map((outcome, index) => ({ table: `t${index}`, outcome })),
} as unknown as Report;

const ours = { restoreTableData: () => undefined, saveReport: () => undefined };

/** Runs one activity as a worker with our interceptor does. */
async function run(activityType: string, argument: unknown, body: () => unknown, attempt = 1): Promise<unknown> {
  const workflowExecution = { workflowId: 'w-1', runId: 'r-1' };
  const environment = new MockActivityEnvironment(
    { activityType, attempt, workflowExecution, inWorkflow: true },
    { interceptors: [observeActivities(ours)], logger },
  );
  return environment.run(async (_argument: unknown) => body(), argument);
}

const unit = {
  run: { cluster: 'prod' },
  item: { database: 'db', table: 'secret-looking.table', node: { name: 'a', shard: '01', replica: 'r1' } },
};

describe('a worker', () => {
  it('begins with zeros: what appears later as 1 looks to Prometheus as if nothing had happened', async () => {
    workerMetrics().begin(['prod']);
    for (const outcome of OUTCOMES)
      expect(valueOf(await scrape(), 'ch_recover_recoveries_ended_total', { cluster: 'prod', outcome })).toBe(0);
  });

  it('counts a recovery once, with its stages and tables, on its first attempt to save the report', async () => {
    await run('saveReport', { id: 'x', report }, () => '');
    await run('saveReport', { id: 'x', report }, () => '', 2);
    const text = await scrape();
    const labels = { cluster: 'prod', outcome: 'failed' };
    expect(valueOf(text, 'ch_recover_recoveries_ended_total', labels)).toBe(1);
    expect(valueOf(text, 'ch_recover_recovery_duration_seconds_bucket', { ...labels, le: '7200' })).toBe(1);
    expect(valueOf(text, 'ch_recover_recovery_duration_seconds_bucket', { ...labels, le: '3600' })).toBe(0);
    expect(valueOf(text, 'ch_recover_stage_duration_seconds_sum', { stage: 'stop', outcome: 'done' })).toBe(12.5);
    expect(samplesOf(text).filter(({ labels: { stage } }) => stage === 'restore-data')).toEqual([]);
    expect(valueOf(text, 'ch_recover_tables_ended_total', { outcome: 'recovered' })).toBe(2);
    expect(valueOf(text, 'ch_recover_tables_ended_total', { outcome: 'failed' })).toBe(1);
  });

  it('says what runs, and failures by code; a cancellation is no failure', async () => {
    const activity = 'restoreTableData';
    const fail = (error: Error) => run(activity, unit, () => Promise.reject(error)).catch(() => undefined);
    await run(activity, unit, async () =>
      expect(valueOf(await scrape(), 'ch_recover_activities_running', { activity })).toBe(1),
    );
    await fail(ApplicationFailure.create({ type: 'DISK_FULL', message: TABLE }));
    await fail(ApplicationFailure.create({ type: TABLE, message: TABLE }));
    await fail(Object.assign(new Error('stop'), { name: 'CancelledFailure' }));
    const text = await scrape();
    expect(valueOf(text, 'ch_recover_activities_running', { activity })).toBe(0);
    const failures = samplesOf(text).filter(({ name }) => name === 'ch_recover_activity_failures_total');
    expect(failures.map(({ labels, value }) => [labels['code'], value]).sort()).toEqual([
      ['DISK_FULL', 1],
      ['INTERNAL', 1],
    ]);
  });

  it('leaves the activities of a host alone', async () => {
    await run('theirs', unit, () => undefined);
    expect(await scrape()).not.toContain('theirs');
  });

  it('names workflow, run and table in every line of an activity: the SDK’s and ours', async () => {
    lines.length = 0;
    const log = withActivityIds({
      info: (fields, message) => void lines.push({ message, ...fields }),
      warn: () => undefined,
    });
    await run('restoreTableData', unit, () => log.info({ more: 1 }, 'mine'));
    log.info({}, 'outside');
    const ids = {
      workflowId: 'w-1',
      runId: 'r-1',
      cluster: 'prod',
      node: 'a',
      shard: '01',
      replica: 'r1',
      table: TABLE,
    };
    for (const message of ['Activity runs', 'mine', 'Activity completed'])
      expect(
        lines.find((line) => 'message' in line && line.message === message),
        message,
      ).toMatchObject(ids);
    expect(lines.at(-1)).toEqual({ message: 'outside' });
  });
});

describe('drills', () => {
  const drill = (day: number, outcome: DrillResult['outcome'], seconds: number | null = null): DrillResult => ({
    ...{ finishedAt: new Date(day * 86_400_000).toISOString(), outcome },
    ...{ rtoSeconds: seconds, rpo: seconds === null ? null : { seconds } },
  });

  it('the last good one counts, in whatever order they come; none at all is 0; what cannot be read stays as it was', async () => {
    let drills: DrillResult[] | Error = [
      drill(20_001, 'passed', 50),
      drill(20_003, 'failed'),
      drill(20_000, 'passed', 9),
      // It stepped aside for a recovery: neither good nor bad.
      drill(20_004, 'skipped'),
    ];
    const warnings: string[] = [];
    const source = {
      clusters: ['prod', 'never'],
      history: async (cluster: string) => {
        if (drills instanceof Error) throw drills;
        return cluster === 'prod' ? drills : [];
      },
    };
    const log = { info: () => undefined, warn: (_: object, message: string) => void warnings.push(message) };
    const watch = watchDrills(Runtime.instance().metricMeter, source, { log, everyMs: 20 });
    const gauge = async (name: string, cluster: string) =>
      valueOf(await scrape(), `ch_recover_drill_${name}`, { cluster });
    await waitFor(async () => (await gauge('rto_seconds', 'prod')) === 50, { what: 'the gauges', deadlineMs: 5_000 });
    expect(await gauge('last_success_timestamp_seconds', 'prod')).toBe(20_001 * 86_400);
    expect(await gauge('last_timestamp_seconds', 'prod')).toBe(20_003 * 86_400);
    expect(await gauge('last_success_timestamp_seconds', 'never')).toBe(0);
    expect(await gauge('rto_seconds', 'never')).toBeUndefined();
    drills = new Error('the store is away');
    await waitFor(() => warnings.length > 0, { what: 'a warning', deadlineMs: 5_000 });
    expect(await gauge('last_success_timestamp_seconds', 'prod')).toBe(20_001 * 86_400);
    watch.stop();
  });
});

describe('docs/observability', () => {
  const read = (name: string) => readFileSync(join(repoRoot, 'docs/observability', name), 'utf8');
  const alerts = parse(read('alerts.yaml')) as { groups: { rules: { alert: string; expr: string }[] }[] };
  const dashboard = JSON.parse(read('dashboard.json')) as {
    panels: { id: number; title: string; targets: { expr: string }[] }[];
  };
  const rules = alerts.groups.flatMap(({ rules: each }) => each.map(({ alert, expr }) => [alert, expr] as const));
  const panels = dashboard.panels.flatMap(({ title, targets }) => targets.map(({ expr }) => [title, expr] as const));
  /** By name, the labels it has. Grafana's variables are texts and durations to PromQL. */
  const known = new Map<string, Set<string>>();

  beforeAll(async () => {
    const drills = { clusters: ['prod'], history: async () => [] };
    const api = new ApiMetrics({
      look: async () => ({
        open: [{ cluster: 'prod', phase: 'executing', tables: ['waiting'] }],
        closed: [{ cluster: 'prod', outcome: 'succeeded' }],
        workers: 1,
      }),
      ...{ clusters: ['prod'], drills, log: { info: () => undefined, warn: () => undefined } },
    });
    api.answered({ method: 'GET', route: '/livez', status: 200, ms: 1 });
    for (const { name, labels } of samplesOf(`${await scrape()}\n${await api.text()}`))
      known.set(name, new Set([...(known.get(name) ?? []), ...Object.keys(labels), 'instance', 'job']));
  });

  it.each([...rules, ...panels])('%s: only metrics and labels that exist, and PromQL', (_title, expression) => {
    const text = expression.replaceAll(/\$__\w+/g, '5m').replaceAll('$cluster', '.*');
    const { metrics, labels } = namesIn(text);
    expect(metrics.length).toBeGreaterThan(0);
    for (const metric of metrics) expect([...known.keys()]).toContain(metric);
    const all = new Set(metrics.flatMap((metric) => [...known.get(metric)!]));
    for (const label of labels) expect([...all], `label ${label}`).toContain(label);
  });

  it('every metric of ours is on the dashboard or in an alert', () => {
    const used = new Set(
      [...rules, ...panels].flatMap(([, expr]) => namesIn(expr.replaceAll(/\$__\w+/g, '5m')).metrics),
    );
    const bases = [...known.keys()].filter((name) => name.startsWith('ch_recover_'));
    const base = (name: string) => name.replace(/_(bucket|sum|count)$/, '');
    const usedBases = new Set([...used].map(base));
    expect(
      bases.map(base).filter((name) => !usedBases.has(name) && name !== 'ch_recover_http_request_duration_seconds'),
    ).toEqual([]);
  });

  it('labels are of closed lists: none is a name that people give, but a cluster of recovery.yaml', async () => {
    const closed = ['cluster', 'outcome', 'stage', 'activity', 'code', 'le'];
    for (const { name, labels } of samplesOf(await scrape()).filter((sample) =>
      sample.name.startsWith('ch_recover_'),
    )) {
      expect(closed, name).toEqual(expect.arrayContaining(Object.keys(labels)));
      if (labels['code']) expect(Object.keys(ERRORS)).toContain(labels['code']);
      if (labels['stage']) expect(STAGES).toContain(labels['stage']);
    }
    expect(await scrape()).not.toContain(TABLE);
  });

  it.skipIf(!findPromtool())('promtool accepts the rules, and their tests pass', () => {
    for (const args of [
      ['check', 'rules', 'alerts.yaml'],
      ['test', 'rules', 'alerts.test.yaml'],
    ]) {
      const { status, stdout, stderr } = spawnSync(findPromtool()!, args, {
        cwd: join(repoRoot, 'docs/observability'),
        encoding: 'utf8',
      });
      expect(status, stdout + stderr).toBe(0);
    }
  });

  it('panels have ids of their own', () => {
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length);
  });
});
