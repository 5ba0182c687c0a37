/**
 * One recovery that fails and one that succeeds, with everything switched on that says something: logs, metrics, traces,
 * reports, the API. What they say, and what they must never say.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import S3rver from 's3rver';
import s3Account from 's3rver/lib/models/account.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { configJsonSchema } from '../../src/config/schema.js';
import type { Report } from '../../src/domain/report.js';
import { createDataset } from '../support/dataset.js';
import { startEchoProxy, type EchoProxy } from '../support/echo-proxy.js';
import { startCollector, type Collector } from '../support/otlp-collector.js';
import { samplesOf, valueOf } from '../support/prometheus.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { freePorts, scratchDir, start, stop, waitFor, type Child } from '../support/processes.js';
import { CLUSTER, REPOSITORY, startRig, type Rig } from '../support/recovery-rig.js';
import {
  collectHeartbeats,
  filesUnder,
  findSecrets,
  histories,
  type Place,
  type Secret,
} from '../support/secret-scan.js';
import { repoRoot } from '../support/tools.js';

const SECRETS = {
  clickhouse: { name: 'ClickHouse password', value: 'canary-ch+7f3a/"x', user: 'default' },
  backup: { name: 'backup API password', value: 'canary-cb+91c2/"y', user: 'ops' },
  token: { name: 'API token', value: 'canary-token-5d10' },
  refused: { name: 'refused API token', value: 'canary-token-0bad' },
  s3Id: { name: 'key id of the report store', value: 'canary-s3-id-2f71' },
  s3Key: { name: 'key of the report store', value: 'canary-s3-key-88d0' },
  s3Token: { name: 'session token of the report store', value: 'canary-s3-token-64ab' },
  traces: { name: 'header of the trace exporter', value: 'canary-otlp-33ee' },
} satisfies Record<string, Secret>;
/** Where recovery.yaml takes a secret by reference, and what is planted there. */
const PLANTED: Record<string, Secret> = {
  'clusters.*.nodes.*.password': SECRETS.clickhouse,
  'clusters.*.backups.*.password': SECRETS.backup,
  'reports.s3.credentials.accessKeyId': SECRETS.s3Id,
  'reports.s3.credentials.secretAccessKey': SECRETS.s3Key,
  'reports.s3.credentials.sessionToken': SECRETS.s3Token,
};
/** A table that all places speak of: a scan of nothing would find no secret either. */
const MARKER = 'orders';

let scratch: ReturnType<typeof scratchDir>;
let rig: Rig;
let proxy: EchoProxy;
let collector: Collector;
let client: Client;
let connection: Connection;
let before: Snapshot;
let s3: S3rver | undefined;
let s3Url: string;
let metricsUrl: string;
let apiUrl: string;
let api: Child;
/** What the worker and the API said to Prometheus in the end. */
let scraped: { worker: string; api: string };
let heartbeats: Place[];
let collecting: ReturnType<typeof collectHeartbeats> | undefined;
const answers: Place[] = [];
const reports: Report[] = [];

async function ask(path: string, { token = SECRETS.token.value, body }: { token?: string; body?: unknown } = {}) {
  const response = await fetch(apiUrl + path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  answers.push({ name: `answer to ${path}`, bytes: Buffer.from(text) });
  return { status: response.status, text };
}

async function recover(request: object): Promise<Report> {
  const { status, text } = await ask('/v1/recoveries', { body: { cluster: CLUSTER, approval: 'auto', ...request } });
  expect(status, text).toBe(202);
  const { url } = JSON.parse(text) as { url: string };
  const report = await waitFor(
    async () => {
      const answer = await ask(`${url}/report`);
      return answer.status === 200 && (JSON.parse(answer.text) as Report);
    },
    { what: 'the report', deadlineMs: 120_000, everyMs: 500 },
  );
  reports.push(report);
  return report;
}

function writeConfig(): void {
  const passwordFile = join(scratch.path, 'cb-password');
  writeFileSync(passwordFile, `${SECRETS.backup.value}\n`);
  const nodes = rig.cluster.nodes.map(({ name, shard, replica }) => ({
    ...{ name, shard, replica, url: proxy.url, password: { env: 'CANARY_CH' } },
  }));
  const access = { user: 'ops', password: { file: passwordFile } };
  rig.configure({
    nodes,
    backups: {
      [REPOSITORY]: { kind: 'native', to: "Disk('backups', '{cluster}/{shard}/{name}')" },
      cb: { kind: 'clickhouse-backup', api: { [nodes[0]!.name]: proxy.backupUrl }, ...access },
    },
  });
  const sha256 = createHash('sha256').update(SECRETS.token.value).digest('hex');
  const token = { name: 'bot', sha256, roles: ['operator', 'approver'], clusters: ['*'] };
  const config = parse(readFileSync(rig.configPath, 'utf8')) as object;
  const credentials = {
    accessKeyId: { env: 'CANARY_S3_ID' },
    secretAccessKey: { env: 'CANARY_S3_KEY' },
    sessionToken: { env: 'CANARY_S3_TOKEN' },
  };
  const reports = { s3: { bucket: 'reports', endpoint: s3Url, credentials } };
  writeFileSync(rig.configPath, stringify({ ...config, reports, api: { tokens: [token] } }));
}

const S3_ENV = {
  CANARY_S3_ID: SECRETS.s3Id.value,
  CANARY_S3_KEY: SECRETS.s3Key.value,
  CANARY_S3_TOKEN: SECRETS.s3Token.value,
};

/** Its bucket is a folder of the rig, so that what is in it is scanned. */
async function startS3(): Promise<string> {
  s3Account.DUMMY_ACCOUNT.createKeyPair(SECRETS.s3Id.value, SECRETS.s3Key.value);
  s3 = new S3rver({
    ...{ port: 0, address: '127.0.0.1', silent: true, directory: join(rig.dir, 's3') },
    ...{ allowMismatchedSignatures: false, configureBuckets: [{ name: 'reports', configs: [] }] },
  });
  return `http://127.0.0.1:${(await s3.run()).port}`;
}

beforeAll(async () => {
  scratch = scratchDir('tcr-observability');
  // The backup API that is away is waited for only so long.
  const policies = { unavailableDeadlineSeconds: 15 };
  rig = await startRig({ dir: join(scratch.path, 'rig'), shards: 1, policies });
  proxy = await startEchoProxy({ target: rig.nodes[0]!.url, password: SECRETS.clickhouse.value });
  collector = await startCollector();
  s3Url = await startS3();
  writeConfig();
  connection = await Connection.connect({ address: rig.temporal.address });
  client = new Client({ connection });
  await createDataset(rig.nodes, 'small');
  before = await takeSnapshot({ nodes: rig.nodes, keeperHosts: rig.ensemble.hosts });

  const [metricsPort, apiPort] = (await freePorts(2)) as [number, number];
  metricsUrl = `http://127.0.0.1:${metricsPort}/metrics`;
  apiUrl = `http://127.0.0.1:${apiPort}`;
  await rig.startWorker({
    options: ['--metrics', `127.0.0.1:${metricsPort}`],
    workerEnv: {
      ...S3_ENV,
      CANARY_CH: SECRETS.clickhouse.value,
      CH_RECOVER_LOG: 'trace',
      OTEL_TRACES_EXPORTER: 'otlp',
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: `x-key=${SECRETS.traces.value}`,
      OTEL_BSP_SCHEDULE_DELAY: '500',
    },
  });
  api = await start({
    name: 'api',
    command: process.execPath,
    args: [join(repoRoot, 'dist/cli.js'), 'api', '--listen', `127.0.0.1:${apiPort}`],
    logFile: join(rig.dir, 'api.log'),
    env: { ...rig.env, ...S3_ENV, CH_RECOVER_LOG: 'trace' },
  });
  await waitFor(() => fetch(`${apiUrl}/readyz`).then(({ ok }) => ok), { what: 'the API', deadlineMs: 30_000 });

  await rig.disaster();
  collecting = collectHeartbeats(client);
  // 2.5 s: long enough for a heartbeat of the table that fails.
  proxy.echo(`SYSTEM RESTORE REPLICA \`shop\`.\`${MARKER}\``, 2_500);
  await recover({});
  proxy.echo(null);
  await recover({ adopt: true });
  await recover({ backup: 'cb/any' });
  heartbeats = await collecting.stop();
  await ask('/v1/recoveries', { token: SECRETS.refused.value });
  scraped = { worker: await (await fetch(metricsUrl)).text(), api: (await ask('/metrics')).text };
  // Spans leave in batches.
  const saved = () => Buffer.concat(collector.bodies).includes('RunActivity:saveReport');
  await waitFor(saved, { what: 'spans', deadlineMs: 20_000 });
}, 300_000);

afterAll(async () => {
  await collecting?.stop();
  if (api) await stop(api, 1_000);
  await connection?.close();
  await rig?.stop();
  await s3?.close();
  await proxy?.stop();
  collector?.stop();
  scratch?.remove();
});

it('one recovery failed on a table, the next brought everything back, the third on a backup that is away', async () => {
  const [failed, succeeded, third] = reports as [Report, Report, Report];
  expect(failed.outcome).toBe('failed');
  expect(failed.tables.filter(({ outcome }) => outcome === 'failed').map(({ table }) => table)).toContain(MARKER);
  expect(succeeded.outcome).toBe('succeeded');
  expect(third.problem?.code).toBeDefined();
  expect(compareSnapshots(before, await takeSnapshot({ nodes: rig.nodes, keeperHosts: rig.ensemble.hosts }))).toEqual(
    [],
  );
});

describe('secrets', () => {
  const secrets = Object.values(SECRETS);
  let places: Place[];

  beforeAll(async () => {
    places = [
      ...(await histories(client)),
      // Temporal's database, logs and reports. The engines never had these passwords, and delete files meanwhile.
      ...filesUnder(rig.dir, { except: ['clickhouse', 'zookeeper'] }),
      ...heartbeats,
      ...answers,
      ...Object.entries(scraped).map(([of, text]) => ({ name: `metrics of ${of}`, bytes: Buffer.from(text) })),
      ...collector.bodies.map((bytes) => ({ name: 'traces', bytes })),
    ];
  });

  it('were planted wherever recovery.yaml takes one by reference', () => {
    expect(referencesIn(configJsonSchema())).toEqual(Object.keys(PLANTED).sort());
  });

  it('were said back to us, both of them', () => {
    const said = proxy.echoed.join('\n');
    expect(said).toContain(SECRETS.clickhouse.value);
    expect(said).toContain(SECRETS.backup.value);
  });

  it('the scan reads what it is meant to read', () => {
    for (const kind of [
      'history of',
      'heartbeat of',
      'answer to',
      'worker-1.log',
      'api.log',
      '/reports/',
      'temporal.db',
      'metrics',
      'traces',
    ])
      expect(
        places.some(({ name }) => name.includes(kind)),
        kind,
      ).toBe(true);
    for (const kind of ['history of', 'heartbeat of', 'answer to', 'worker-1.log', '/reports/', 'temporal.db'])
      expect(
        places.filter(({ name, bytes }) => name.includes(kind) && bytes.includes(MARKER)).length,
        kind,
      ).toBeGreaterThan(0);
  });

  it('are in no history, heartbeat, log, report, answer, metric or trace', () => {
    expect(findSecrets(places, secrets)).toEqual([]);
  });
});

describe('what is said', () => {
  interface Line {
    activityType?: string;
    msg: string;
    table?: string;
  }
  const linesOf = (child: string) =>
    readFileSync(join(rig.dir, `${child}.log`), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Line);

  it('every line of an activity names its workflow and run, and of a table that table', () => {
    const lines = linesOf('worker-1').filter(({ activityType }) => activityType !== undefined);
    expect(lines.length).toBeGreaterThan(20);
    const ids = { workflowId: expect.any(String) as string, runId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string };
    for (const line of lines) expect(line).toMatchObject({ ...ids, cluster: CLUSTER });
    const tables = lines.filter(({ activityType }) => activityType?.includes('Table'));
    for (const line of tables.filter(({ activityType }) => !activityType?.endsWith('Tables')))
      expect(line).toMatchObject({
        node: 'node1',
        shard: '01',
        replica: 'r1',
        table: expect.stringMatching(/./) as string,
      });
    const failed = lines.filter(({ msg, table }) => msg === 'Activity failed' && table === `shop.${MARKER}`);
    expect(failed).toMatchObject([
      { activityType: 'restoreTableReplica', level: 40, error: expect.any(String) as string },
    ]);
  });

  it('Prometheus finds Temporal’s metrics and ours at the worker, and they are those of the reports', () => {
    const { worker } = scraped;
    expect(samplesOf(worker).some(({ name }) => name.startsWith('temporal_'))).toBe(true);
    const count = (outcome: string) => reports.filter((report) => report.outcome === outcome).length;
    for (const outcome of ['succeeded', 'failed', 'needs-operator'])
      expect(valueOf(worker, 'ch_recover_recoveries_ended_total', { cluster: CLUSTER, outcome })).toBe(count(outcome));
    const recovered = reports.flatMap(({ tables }) => tables).filter(({ outcome }) => outcome === 'recovered');
    expect(valueOf(worker, 'ch_recover_tables_ended_total', { outcome: 'recovered' })).toBe(recovered.length);
    const code = { activity: 'restoreTableReplica', code: 'STATEMENT_FAILED' };
    expect(valueOf(worker, 'ch_recover_activity_failures_total', code)).toBe(1);
    expect(worker).not.toContain(MARKER);
  });

  it('and at the API what Temporal keeps', () => {
    for (const outcome of ['succeeded', 'failed'])
      expect(valueOf(scraped.api, 'ch_recover_recoveries_closed', { cluster: CLUSTER, outcome })).toBe(
        reports.filter((report) => report.outcome === outcome).length,
      );
    expect(valueOf(scraped.api, 'ch_recover_workers')).toBe(1);
    expect(scraped.api).not.toContain(MARKER);
  });

  it('traces go from the workflow to its activities', () => {
    const spans = Buffer.concat(collector.bodies);
    for (const span of ['RunWorkflow:recoverCluster', 'StartActivity:verifyTableParts', 'RunActivity:verifyTableParts'])
      expect(spans.includes(span), span).toBe(true);
  });
});

/** Paths of a JSON schema where `{ env }` or `{ file }` is taken, with * for names and numbers. */
function referencesIn(schema: unknown, path: string[] = []): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const { properties, additionalProperties, items, anyOf, oneOf } = schema as Record<string, unknown>;
  const choices = [...((anyOf ?? []) as object[]), ...((oneOf ?? []) as object[])];
  const isReference = choices.some(
    (choice) => Object.keys((choice as { properties?: object }).properties ?? {}).join() === 'env',
  );
  const found = isReference
    ? [path.join('.')]
    : [
        ...Object.entries(properties ?? {}).flatMap(([name, each]) => referencesIn(each, [...path, name])),
        ...[additionalProperties, items].flatMap((each) => referencesIn(each, [...path, '*'])),
        ...choices.flatMap((each) => referencesIn(each, path)),
      ];
  return [...new Set(found)].sort();
}
