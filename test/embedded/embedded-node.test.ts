import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import {
  ClickHouseLogLevel,
  createClient as createLoggingClient,
  TupleParam,
  type ClickHouseClient,
} from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startEmbeddedNode, type EmbeddedNode } from '../../src/embedded/launch.js';

type ClientOptions = Parameters<typeof createLoggingClient>[0];

/** Expected errors need no log. */
function createClient(options: ClientOptions): ClickHouseClient {
  return createLoggingClient({ ...options, log: { level: ClickHouseLogLevel.OFF } });
}

const PASSWORD = 'p&ss<"wörd">';
const AWKWARD = [
  "quote ' and '' twice",
  'back\\slash \\n \\\\ \\',
  'tab\there',
  'line\nbreak\r\n',
  'ünïcödé 日本 🙂',
  '',
  ' ',
  '`tick` "double" {x:String} ; DROP -- /* $$',
  "\\' OR 1=1 --",
  '\\N',
  'NULL',
  'DEFAULT',
  '\u0000 nul \b\f',
];

let dir: string;
let node: EmbeddedNode;
let client: ClickHouseClient;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'embedded node & <x> '));
  node = await startEmbeddedNode({
    name: 'a',
    dataDir: join(dir, 'data'),
    backupsDir: join(dir, 'backups'),
    user: 'root',
    password: PASSWORD,
    macros: { shard: '0<1>&"', replica: 'r1' },
    exitWithParent: true,
  });
  client = createClient({ url: node.url, username: 'root', password: PASSWORD });
}, 60_000);

afterAll(async () => {
  await client.close();
  await node.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function rows<T>(query: string, query_params: Record<string, unknown> = {}): Promise<T[]> {
  return (await client.query({ query, query_params, format: 'JSONEachRow' })).json<T>();
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (error: unknown) => String((error as { code?: string }).code),
  );
}

describe('values', () => {
  it.each(AWKWARD)('binds %j as a string, alone, in an array, a tuple and a map', async (value) => {
    const found = await rows<Record<string, unknown>>(
      'SELECT {s:String} AS s, {a:Array(String)} AS a, {t:Tuple(String, UInt8)} AS t, {m:Map(String, String)} AS m, hex({s:String}) AS h',
      { s: value, a: [value, value], t: new TupleParam([value, 7]), m: new Map([[value, value]]) },
    );
    const h = Buffer.from(value).toString('hex').toUpperCase();
    expect(found).toEqual([{ s: value, a: [value, value], t: [value, 7], m: { [value]: value }, h }]);
  });

  it('binds identifiers, numbers, nulls and dates', async () => {
    const query_params = { i: 'one', n: 18446744073709551615n, z: null, d: new Date(1_700_000_000_123) };
    const found = await rows(
      'SELECT count() AS c, {n:UInt64}::String AS n, {z:Nullable(String)} AS z, toUnixTimestamp64Milli({d:DateTime64(3)})::String AS d FROM system.{i:Identifier}',
      query_params,
    );
    expect(Number((found[0] as { c: unknown }).c)).toBe(1);
    expect(found).toMatchObject([{ n: '18446744073709551615', z: null, d: '1700000000123' }]);
  });

  it('takes parameters too long for a URL as a form', async () => {
    const long = 'x\t'.repeat(20_000);
    const answer = await client.query({
      query: 'SELECT length({s:String}) AS n',
      query_params: { s: long },
      format: 'JSONEachRow',
      use_multipart_params: true,
    });
    expect(await answer.json()).toEqual(
      [{ n: 40_000 }].map(({ n }) => ({ n: expect.toSatisfy((v) => Number(v) === n) as number })),
    );
  });

  it('never lends one request the parameter of another', async () => {
    for (let i = 0; i < 8; i += 1) await rows('SELECT {left:String}', { left: 'over' });
    expect(await codeOf(rows('SELECT {left:String}'))).toBe('456');
    const all = await Promise.all(
      Array.from({ length: 40 }, (_, i) => rows<{ v: string }>('SELECT {v:String} AS v', { v: `v${i}` })),
    );
    expect(all.map((r) => r[0]?.v)).toEqual(Array.from({ length: 40 }, (_, i) => `v${i}`));
  });

  it('inserts rows as they are, compressed or not', async () => {
    await client.command({ query: 'CREATE TABLE awkward (i UInt32, s String) ENGINE = MergeTree ORDER BY i' });
    const values = AWKWARD.map((s, i) => ({ i, s }));
    await client.insert({ table: 'awkward', values, format: 'JSONEachRow' });
    const gzip = createClient({
      url: node.url,
      username: 'root',
      password: PASSWORD,
      compression: { request: true, response: true },
    });
    await gzip.insert({
      table: 'awkward',
      values: values.map(({ i, s }) => ({ i: i + 100, s })),
      format: 'JSONEachRow',
    });
    await gzip.close();
    const found = await rows<{ i: number; s: string }>('SELECT i, s FROM awkward ORDER BY i');
    expect(found).toEqual([...values, ...values.map(({ i, s }) => ({ i: i + 100, s }))]);
  });
});

describe('errors and settings', () => {
  it.each([
    ['SELECT * FROM nope', '60'],
    ['SELECT * FROM nope.nope', '81'],
    ['SELEC 1', '62'],
    ['SELECT 1; SELECT 2', '62'],
    ["SELECT throwIf(1, 'no')", '395'],
    ['', '62'],
    ['SELECT {x:UInt8}', '456'],
  ])('%s answers code %s', async (query, code) => {
    expect(await codeOf(client.command({ query }))).toBe(code);
  });

  it('answers as ClickHouse does: status, header, body', async () => {
    const answer = await fetch(`${node.url}/?user=root&password=${encodeURIComponent(PASSWORD)}&query_id=q%2F1`, {
      method: 'POST',
      body: 'SELECT * FROM nope',
    });
    expect([answer.status, answer.headers.get('x-clickhouse-exception-code')]).toEqual([404, '60']);
    expect(answer.headers.get('x-clickhouse-query-id')).toBe('q/1');
    expect(await answer.text()).toMatch(/^Code: 60\. DB::Exception: .*\(UNKNOWN_TABLE\)/s);
  });

  it('restores settings, also after an error', async () => {
    const read = async (): Promise<unknown> =>
      rows("SELECT getSetting('max_block_size')::String AS v, getSetting('log_comment') AS c");
    const before = await rows<{ v: string }>("SELECT getSetting('max_block_size')::String AS v");
    const settings = { clickhouse_settings: { max_block_size: '1234' } };
    const inside = await client.query({
      query: "SELECT getSetting('max_block_size')::String AS v",
      format: 'JSONEachRow',
      ...settings,
    });
    expect(await inside.json()).toEqual([{ v: '1234' }]);
    expect(await codeOf(client.command({ query: 'SELECT * FROM nope', ...settings }))).toBe('60');
    const unknown = { clickhouse_settings: { max_block_size: '99', no_such_setting: 1 } };
    expect(await codeOf(client.command({ query: 'SELECT 1', ...unknown }))).toBe('115');
    await client.command({ query: 'SET max_block_size = 77' });
    for (let i = 0; i < 6; i += 1) expect(await read()).toMatchObject([{ v: before[0]?.v }]);
  });

  it('refuses changes in read-only requests', async () => {
    expect(await codeOf(client.command({ query: 'CREATE DATABASE x', clickhouse_settings: { readonly: '1' } }))).toBe(
      '164',
    );
    expect(await rows('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  it('asks for user and password', async () => {
    const wrong = createClient({ url: node.url, username: 'root', password: 'no' });
    expect(await codeOf(wrong.command({ query: 'SELECT 1' }))).toBe('516');
    await wrong.close();
    expect((await client.ping()).success).toBe(true);
  });
});

describe('concurrency', () => {
  it("answers others while a statement runs, and finds it by its caller's id", async () => {
    const query = 'SELECT sum(sleepEachRow(0.2)) FROM numbers(10) SETTINGS max_block_size = 1';
    let ended = false;
    const slow = client.command({ query, query_id: 'slow-1' }).finally(() => (ended = true));
    await sleep(300);
    expect(await rows('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    const running = await rows("SELECT query FROM system.processes WHERE Settings['log_comment'] = 'slow-1'");
    expect(running).toEqual([{ query }]);
    expect(await codeOf(client.command({ query: 'SELECT 1', query_id: 'slow-1' }))).toBe('216');
    expect(ended).toBe(false);
    await slow;
  });

  it('runs a statement to its end when its client goes away', async () => {
    await client.command({ query: 'CREATE TABLE left_alone (n UInt64) ENGINE = MergeTree ORDER BY n' });
    const impatient = createClient({ url: node.url, username: 'root', password: PASSWORD, request_timeout: 200 });
    const query =
      'INSERT INTO left_alone SELECT number + sleepEachRow(0.3) FROM numbers(3) SETTINGS max_block_size = 1';
    await expect(impatient.command({ query })).rejects.toThrow(/timeout/i);
    await impatient.close();
    await expect
      .poll(async () => Number((await rows<{ c: string }>('SELECT count() AS c FROM left_alone'))[0]?.c), {
        timeout: 5_000,
      })
      .toBe(3);
  });
});

describe('process', () => {
  it('keeps data over SIGKILL and a restart on the same port, with macros', async () => {
    await client.command({ query: 'CREATE TABLE kept (n UInt64) ENGINE = MergeTree ORDER BY n' });
    await client.command({ query: 'INSERT INTO kept SELECT number FROM numbers(1000)' });
    expect((await node.kill()).signal).toBe('SIGKILL');
    expect((await client.ping()).success).toBe(false);
    await node.restart();
    expect(await rows('SELECT sum(n)::String AS s FROM kept')).toEqual([{ s: '499500' }]);
    expect(await rows("SELECT getMacro('shard') AS m")).toEqual([{ m: '0<1>&"' }]);
  }, 60_000);

  it('stops with exit code 0', async () => {
    expect(await node.stop()).toEqual({ code: 0, signal: null });
    await node.restart();
  }, 60_000);

  it('reports why it does not come up', async () => {
    const port = Number(new URL(node.url).port);
    const start = startEmbeddedNode({ name: 'b', dataDir: join(dir, 'other'), backupsDir: join(dir, 'backups'), port });
    await expect(start).rejects.toThrow(/embedded node b .*EADDRINUSE/s);
  }, 60_000);
});
