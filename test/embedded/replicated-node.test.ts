import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { ClickHouseLogLevel, createClient, type ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { startEmbeddedCluster, type EmbeddedCluster } from '../support/embedded-cluster.js';
import { startEnsemble, type Ensemble } from '../support/zookeeper-ensemble.js';

const PARTS = 6;

let dir: string;
let ensemble: Ensemble;
let cluster: EmbeddedCluster;
let client: ClickHouseClient;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'replicated-node-'));
  ensemble = await startEnsemble({ dir: join(dir, 'keeper'), size: 1 });
  cluster = await startEmbeddedCluster({ dir, keeperHosts: ensemble.hosts, shards: 1 });
  client = createClient({ url: cluster.nodes[0]?.url ?? '', log: { level: ClickHouseLogLevel.OFF } });
  await client.command({ query: 'CREATE DATABASE d' });
  await client.command({
    query: `CREATE TABLE d.t (n UInt64) ENGINE = MergeTree ORDER BY n PARTITION BY n % ${PARTS}`,
  });
  await client.command({ query: 'INSERT INTO d.t SELECT number FROM numbers(600)' });
  await client.command({ query: 'DETACH TABLE d.t SYNC' });
  await client.command({ query: 'ATTACH TABLE d.t AS REPLICATED' });
}, 120_000);

afterAll(async () => {
  await client.close();
  await cluster.killAll();
  await ensemble.stop();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);

async function parts(): Promise<{ active: number; detached: number }> {
  const query = `SELECT (SELECT count() FROM system.parts WHERE table = 't' AND active AND rows > 0)::UInt32 AS active,
    (SELECT count() FROM system.detached_parts WHERE table = 't')::UInt32 AS detached`;
  const found = await (
    await client.query({ query, format: 'JSONEachRow' })
  ).json<{ active: number; detached: number }>();
  return found[0] ?? { active: -1, detached: -1 };
}

it('stops with exit code 0 while a replicated table is attached, and has it again after the restart', async () => {
  // Without detaching first, closing the engine never returns: the node would end by SIGKILL.
  expect(await cluster.nodes[0]?.stop()).toEqual({ code: 0, signal: null });
  await cluster.startAll();
  expect(await parts()).toEqual({ active: PARTS, detached: 0 });
}, 60_000);

it('can be killed in the middle of SYSTEM RESTORE REPLICA, which a failpoint slows to 5 s a part', async () => {
  await client.command({ query: 'SYSTEM ENABLE FAILPOINT rmt_delay_commit_part' });
  const restore = client.command({ query: 'SYSTEM RESTORE REPLICA d.t' }).catch((error: unknown) => error);
  await expect.poll(parts, { timeout: 20_000 }).toMatchObject({ active: 1 });
  await cluster.killAll();
  expect(await restore).toBeInstanceOf(Error);
  await cluster.startAll();
  const left = await parts();
  expect(left.active).toBeLessThan(PARTS);
  expect(left.detached).toBeGreaterThan(0);
  const again = client.command({ query: 'SYSTEM RESTORE REPLICA d.t' });
  await expect(again).rejects.toMatchObject({ code: '36' });
}, 90_000);

it('refuses to wipe a running node', () => {
  expect(() => cluster.wipeNodeData(0)).toThrow(/is running/);
});
