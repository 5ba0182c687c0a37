import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import S3rver from 's3rver';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDrillStore } from '../../src/adapters/reports/drill-store.js';
import { createReportStore } from '../../src/adapters/reports/report-store.js';
import { s3Documents, type S3Location } from '../../src/adapters/reports/s3-documents.js';
import { createPorts } from '../../src/compose.js';
import { parseConfig } from '../../src/config/checks.js';
import { reportOf } from '../domain/reports.js';

/** s3rver speaks S3 over HTTP and checks signatures; these are its own keys. */
const KEYS = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' };
const HASH = 'f'.repeat(64);

let dir: string;
let server: S3rver;
let endpoint: string;
let client: S3Client;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tcr-s3-'));
  const options = { port: 0, address: '127.0.0.1', silent: true, directory: dir, allowMismatchedSignatures: false };
  server = new S3rver({ ...options, configureBuckets: [{ name: 'reports', configs: [] }] });
  const { port } = await server.run();
  endpoint = `http://127.0.0.1:${port}`;
  client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials: KEYS });
});
afterAll(async () => {
  client.destroy();
  await server.close();
  rmSync(dir, { recursive: true, force: true });
});

const store = (change: Partial<S3Location> = {}) =>
  createReportStore(
    s3Documents({ bucket: 'reports', prefix: 'dr/prod/', endpoint, credentials: () => KEYS, ...change }),
  );

const keys = async (prefix: string) =>
  ((await client.send(new ListObjectsV2Command({ Bucket: 'reports', Prefix: prefix }))).Contents ?? []).map(
    ({ Key }) => Key,
  );

it('puts JSON, HTML and Markdown below its prefix, as what they are, and gives the report back', async () => {
  const reports = store();
  const id = 'clickhouse-recovery/prod ü%2F表';
  expect(await reports.load(id)).toBeNull();
  await reports.savePlan(HASH, 'ATTACH TABLE t;');
  await reports.save(id, reportOf({ recoveryId: id, cluster: 'old' }));
  const address = await reports.save(id, reportOf({ recoveryId: id }));
  const stem = `dr/prod/${encodeURIComponent(id)}`;
  expect(address).toBe(`s3://reports/${stem}.md`);
  expect((await keys('')).sort()).toEqual([`${stem}.html`, `${stem}.json`, `${stem}.md`, `dr/prod/plans/${HASH}.sql`]);
  expect(await reports.load(id)).toEqual(reportOf({ recoveryId: id }));
  expect(await reports.plan(HASH)).toBe('ATTACH TABLE t;');
  const page = await client.send(new GetObjectCommand({ Bucket: 'reports', Key: `${stem}.html` }));
  expect(page.ContentType).toBe('text/html; charset=utf-8');
  const html = await page.Body!.transformToString();
  expect(html).toContain('<title>prod: succeeded</title>');
  expect(html).toContain('ATTACH TABLE t;');
});

it('reads its keys anew for each request: rotated ones are found', async () => {
  let keysNow = { accessKeyId: 'old', secretAccessKey: 'old' };
  const reports = store({ credentials: () => keysNow });
  await expect(reports.load('r-1')).rejects.toMatchObject({ code: 'CREDENTIALS_REFUSED' });
  keysNow = KEYS;
  expect(await reports.load('r-1')).toBeNull();
});

it('keeps drills, newest first, each cluster for itself', async () => {
  const drills = createDrillStore(s3Documents({ bucket: 'reports', prefix: 'dr/', endpoint, credentials: () => KEYS }));
  const drill = (drillId: string, day: string, cluster = 'prod') =>
    drills.save({
      ...{ drillId, cluster, outcome: 'passed', problems: [], stages: [], backup: null, objectives: null, rpo: null },
      ...{ schemaVersion: 1, recoveryId: '', target: 't', rtoSeconds: 1, restored: { tables: 0, rows: 0 } },
      ...{ missing: { rows: 0, tables: [] }, cleanedUp: true, warnings: [] },
      ...{ startedAt: `2026-11-${day}T04:00:00.000Z`, finishedAt: `2026-11-${day}T04:01:00.000Z` },
    });
  for (const [id, day] of [
    ['a', '01'],
    ['c', '03'],
    ['b', '02'],
  ] as const)
    await drill(id, day);
  expect(await drill('x', '09', 'prod2')).toMatch(/^s3:\/\/reports\/dr\/drills\/prod2\/2026-11-09.*\.md$/);
  expect((await drills.list('prod', 2)).map(({ drillId }) => drillId)).toEqual(['c', 'b']);
  expect(await drills.list('never', 2)).toEqual([]);
});

describe('what can be wrong', () => {
  const SECRET = 'canary-4711';
  const wrong = () => ({ accessKeyId: `${SECRET}-id`, secretAccessKey: SECRET });

  it.each<[string, () => Partial<S3Location>, string, RegExp]>([
    [
      'keys',
      () => ({ credentials: wrong }),
      'CREDENTIALS_REFUSED',
      /^s3:\/\/reports\/x\/plans\/f+\.sql: InvalidAccess/,
    ],
    ['no such bucket', () => ({ bucket: 'nowhere' }), 'REPORTS_UNAVAILABLE', /NoSuchBucket/],
    ['nobody listens', () => ({ endpoint: 'http://127.0.0.1:9' }), 'REPORTS_UNAVAILABLE', /ECONNREFUSED/],
  ])('%s: says so, and quotes no secret', async (_name, change, code, message) => {
    const reports = store({ prefix: 'x/', ...change() });
    const error = await reports.savePlan(HASH, 'x').catch((found: unknown) => found as Error);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string });
    expect(JSON.stringify(error) + (error as Error).stack).not.toContain(SECRET);
  });

  it('a store that does not answer holds nothing up for long', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const from = performance.now();
    const reports = store({ endpoint: `http://127.0.0.1:${port}` });
    await expect(reports.savePlan(HASH, 'x')).rejects.toMatchObject({
      code: 'REPORTS_UNAVAILABLE',
      message: expect.stringContaining('no answer within 5 s') as string,
    });
    expect(performance.now() - from).toBeLessThan(10_000);
    silent.closeAllConnections();
    silent.close();
  });
});

it('is what recovery.yaml says, with its secrets by reference', async () => {
  process.env['TCR_TEST_S3'] = 'S3RVER';
  const reference = { env: 'TCR_TEST_S3' };
  const cluster = {
    keeper: { hosts: ['127.0.0.1:1'] },
    nodes: [{ name: 'a', shard: '01', replica: 'r1', url: 'http://127.0.0.1:1' }],
  };
  const s3 = { bucket: 'reports', prefix: 'by-config', endpoint, region: 'eu-central-1' };
  const credentials = { accessKeyId: reference, secretAccessKey: reference };
  const config = parseConfig({ clusters: { prod: cluster }, reports: { s3: { ...s3, credentials } } });
  const ports = createPorts(config, { log: { info: () => undefined, warn: () => undefined } });
  expect(await ports.reports.save('r-1', reportOf())).toBe('s3://reports/by-config/r-1.md');
  delete process.env['TCR_TEST_S3'];
  await expect(ports.reports.load('r-1')).rejects.toMatchObject({ code: 'SECRET_MISSING' });
  await ports.close();
});
