import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createNode, type ClosableNode, type NodeConnection } from '../../src/adapters/clickhouse/client.js';
import { tidyMessage, toNodeError } from '../../src/adapters/clickhouse/error-map.js';
import { RecoveryError } from '../../src/domain/errors.js';
import { ServerError } from '../../src/ports.js';

const CANARY = 'canary-7f3a';
const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const action of cleanUp.splice(0)) await action();
});

interface Fake {
  url: string;
  /** The statements and URLs it got. */
  got: { sql: string; url: URL; request: IncomingMessage }[];
  server: Server;
}

async function fakeServer(answer: (sql: string, ...of: Parameters<RequestListener>) => void, port = 0): Promise<Fake> {
  const got: Fake['got'] = [];
  const server = createServer((request, response) => {
    let sql = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (sql += chunk));
    request.on('end', () => {
      got.push({ sql, url: new URL(request.url ?? '', 'http://x'), request });
      answer(sql, request, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  cleanUp.push(() => closeServer(server));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, got, server };
}

function closeServer(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

function nodeAt(url: string, connection: Partial<NodeConnection> = {}): ClosableNode {
  const node = createNode({ name: 'a', shard: '01', replica: 'r1' }, { url, password: () => CANARY, ...connection });
  cleanUp.push(() => node.close());
  return node;
}

async function failure(work: Promise<unknown>): Promise<RecoveryError | ServerError> {
  const error: unknown = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!(error instanceof RecoveryError || error instanceof ServerError))
    throw new Error('no error of ours', { cause: error });
  expect(error.message + (error.stack ?? '') + JSON.stringify(error)).not.toContain(CANARY);
  return error;
}

const exception =
  (code: number, body: string) => (_: string, __: unknown, response: Parameters<RequestListener>[1]) => {
    response.writeHead(500, { 'X-ClickHouse-Exception-Code': String(code), 'Content-Type': 'text/plain' });
    response.end(body);
  };

describe('a read', () => {
  it('gives rows, and binds parameters rather than writing them into the text', async () => {
    const fake = await fakeServer((_, __, response) => response.end('{"n":"18446744073709551615"}\n{"n":"1"}\n'));
    const rows = await nodeAt(fake.url).query<{ n: string }>('SELECT {t:String} AS n', { params: { t: "it's" } });
    expect(rows).toEqual([{ n: '18446744073709551615' }, { n: '1' }]);
    const [sent] = fake.got;
    expect(sent?.sql).not.toContain("it's");
    expect(sent?.url.searchParams.get('param_t')).toContain('it');
    expect(sent?.url.searchParams.get('output_format_json_quote_64bit_integers')).toBe('1');
    expect(sent?.url.href).not.toContain(CANARY);
  });

  it('is sent again as old servers take it, each of several at once', async () => {
    const fake = await fakeServer((_, request, response) => {
      if (!request.url?.includes('param_t')) return response.end('{"n":"1"}\n');
      response.writeHead(500, { 'Content-Type': 'text/plain' });
      response.end('Code: 115, e.displayText() = DB::Exception: Unknown setting param_t, e.what() = DB::Exception');
    });
    const node = nodeAt(fake.url);
    const read = () => node.query('SELECT {t:String} AS n', { params: { t: 'x' } });
    expect(await Promise.all([read(), read(), read()])).toEqual(Array(3).fill([{ n: '1' }]));
  });

  it.each([
    ['a table that was renamed just now: it is sent again', 'd.t', 2],
    ['one that an old server does not have: once is enough', 'system.user_directories', 1],
    ['one of the server that is not what is read: it is sent again', 'system.query_log', 2],
  ])('of an old server that misses %s', async (_, missing, times) => {
    let calls = 0;
    const fake = await fakeServer((_sql, request, response) => {
      const isNew = request.url?.includes('param_t');
      if (!isNew && ++calls > 1) return response.end('{"n":"1"}\n');
      response.writeHead(500, { 'Content-Type': 'text/plain' });
      response.end(
        isNew
          ? 'Code: 115, e.displayText() = DB::Exception: Unknown setting param_t, e.what() = DB::Exception'
          : `Code: 60, e.displayText() = DB::Exception: Table ${missing} doesn't exist., e.what() = DB::Exception`,
      );
    });
    const sql = `SELECT {t:String} AS n FROM system.${missing.startsWith('system.user') ? 'user_directories' : 'tables'}`;
    const outcome = await nodeAt(fake.url)
      .query(sql, { params: { t: 'x' } })
      .catch((error: unknown) => error);
    if (times === 1) expect(outcome).toMatchObject({ code: 60 });
    else expect(outcome).toEqual([{ n: '1' }]);
    expect(calls).toBe(times);
  });

  it('is sent again, once, when the connection is reset', async () => {
    let calls = 0;
    const fake = await fakeServer((_, request, response) => {
      if (++calls === 1) request.socket.resetAndDestroy();
      else response.end('{"n":1}\n');
    });
    expect(await nodeAt(fake.url).query('SELECT 1 AS n')).toEqual([{ n: 1 }]);
    expect(calls).toBe(2);
  });

  it('fails when its connection is reset twice', async () => {
    const fake = await fakeServer((_, request) => request.socket.resetAndDestroy());
    expect(await failure(nodeAt(fake.url).query('SELECT 1'))).toMatchObject({ code: 'NODE_UNAVAILABLE' });
    expect(fake.got).toHaveLength(2);
  });

  it('is bounded in time while the answer does not begin', async () => {
    const fake = await fakeServer(() => undefined);
    const error = await failure(nodeAt(fake.url).query('SELECT 1', { timeoutMs: 100 }));
    expect(error).toMatchObject({ code: 'NODE_UNAVAILABLE', message: 'node a: gave no answer within 100 ms' });
    expect(fake.got).toHaveLength(1);
  });

  it('is bounded in time while the answer does not end', async () => {
    const fake = await fakeServer((_, __, response) => response.write('{"n":1}\n'));
    expect(await failure(nodeAt(fake.url).query('SELECT 1', { timeoutMs: 100 }))).toMatchObject({
      code: 'NODE_UNAVAILABLE',
    });
  });

  it('never gives a part of an answer', async () => {
    const fake = await fakeServer((_, __, response) => {
      response.write('{"n":1}\n', () => setTimeout(() => response.destroy(), 20));
    });
    expect(await failure(nodeAt(fake.url).query('SELECT 1'))).toMatchObject({ code: 'NODE_UNAVAILABLE' });
  });

  it("ends with the reason of the caller's own signal", async () => {
    const fake = await fakeServer(() => undefined);
    const cancel = new AbortController();
    const reason = new Error('cancelled by the workflow');
    const work = nodeAt(fake.url).query('SELECT 1', { signal: cancel.signal });
    setTimeout(() => cancel.abort(reason), 50);
    await expect(work).rejects.toBe(reason);
    await expect(nodeAt(fake.url).query('SELECT 1', { signal: cancel.signal })).rejects.toBe(reason);
    expect(fake.got).toHaveLength(1);
  });
});

describe('a statement', () => {
  it('is sent once, whatever becomes of it', async () => {
    const fake = await fakeServer((_, request) => request.socket.resetAndDestroy());
    expect(await failure(nodeAt(fake.url).execute('DROP TABLE t'))).toMatchObject({
      code: 'NODE_UNAVAILABLE',
      details: { objects: ['a'] },
    });
    const slow = await fakeServer(() => undefined);
    expect(await failure(nodeAt(slow.url).execute('DROP TABLE t', { timeoutMs: 100 }))).toMatchObject({
      code: 'NODE_UNAVAILABLE',
    });
    expect([fake.got.length, slow.got.length]).toEqual([1, 1]);
  });

  it('waits for the end of the query and takes settings', async () => {
    const fake = await fakeServer((_, __, response) => response.end());
    await nodeAt(fake.url).execute('SYSTEM STOP MERGES', { settings: { max_execution_time: 5 } });
    expect(fake.got[0]?.sql).toBe('SYSTEM STOP MERGES');
    expect(fake.got[0]?.url.searchParams.get('wait_end_of_query')).toBe('1');
    expect(fake.got[0]?.url.searchParams.get('max_execution_time')).toBe('5');
  });

  it('and a read reach a server that was restarted', async () => {
    const answer = (sql: string, _: unknown, response: Parameters<RequestListener>[1]) =>
      response.end(sql.startsWith('SELECT') ? '{}\n' : '');
    const first = await fakeServer(answer);
    const node = nodeAt(first.url);
    await node.query('SELECT 1');
    await node.execute('DETACH TABLE t');
    await closeServer(first.server);
    expect(await failure(node.execute('ATTACH TABLE t'))).toMatchObject({
      code: 'NODE_UNAVAILABLE',
      message: 'node a: the connection was refused (ECONNREFUSED)',
    });
    const second = await fakeServer(answer, Number(new URL(first.url).port));
    await node.execute('ATTACH TABLE t');
    expect(await node.query('SELECT 1')).toEqual([{}]);
    expect(second.got.map(({ sql }) => sql.split('\n')[0])).toEqual([
      'ATTACH TABLE t',
      expect.stringContaining('SELECT 1'),
    ]);
  });
});

describe('an error of the server', () => {
  it.each([
    [
      36,
      'Code: 36. DB::Exception: Replica must be readonly. (BAD_ARGUMENTS) (version 26.7.1.1)',
      'Replica must be readonly.',
    ],
    [
      36,
      'Code: 36, e.displayText() = DB::Exception: Replica must be readonly, e.what() = DB::Exception',
      'Replica must be readonly',
    ],
    [
      242,
      'Code: 242. DB::Exception: Table is in readonly mode. (TABLE_IS_READ_ONLY)\nStack trace:\n0. foo()',
      'Table is in readonly mode.',
    ],
  ])('%s comes with its code and text', async (code, body, message) => {
    const fake = await fakeServer(exception(code, body));
    const error = await failure(nodeAt(fake.url).execute('SYSTEM RESTORE REPLICA t'));
    expect(error).toBeInstanceOf(ServerError);
    expect(error).toMatchObject({ code, message, node: 'a' });
  });

  it.each([516, 192, 193, 194])('%s is CREDENTIALS_REFUSED, and the secret is read again', async (code) => {
    let reads = 0;
    const fake = await fakeServer(
      exception(code, `Code: ${code}. DB::Exception: default: Authentication failed. (AUTHENTICATION_FAILED)`),
    );
    const node = nodeAt(fake.url, { password: () => `${CANARY}${++reads}` });
    expect(await failure(node.query('SELECT 1'))).toMatchObject({
      code: 'CREDENTIALS_REFUSED',
      details: { serverCode: code },
    });
    await failure(node.query('SELECT 1'));
    expect(reads).toBe(2);
  });

  it.each([
    [243, 'Code: 243. DB::Exception: Cannot reserve 1.00 MiB. (NOT_ENOUGH_SPACE)'],
    [
      75,
      'Code: 75. DB::ErrnoException: Cannot write to file, errno: 28, strerror: No space left on device. (CANNOT_WRITE_TO_FILE_DESCRIPTOR)',
    ],
  ])('%s is DISK_FULL', async (code, body) => {
    const fake = await fakeServer(exception(code, body));
    expect(await failure(nodeAt(fake.url).execute('BACKUP'))).toMatchObject({
      code: 'DISK_FULL',
      details: { serverCode: code },
    });
  });

  it('that echoes the password, or is long, is cut', async () => {
    const echo = await fakeServer(
      exception(62, `Code: 62. DB::Exception: Syntax error: ${CANARY} ${'x'.repeat(5_000)}. (SYNTAX_ERROR)`),
    );
    const error = await failure(nodeAt(echo.url).execute('x'));
    expect(error.message).toContain('***');
    expect(error.message.length).toBeLessThanOrEqual(500);
  });

  it('of a proxy is NODE_UNAVAILABLE', async () => {
    const proxy = await fakeServer((_, __, response) => response.writeHead(503).end(`<html>down ${CANARY}</html>`));
    expect(await failure(nodeAt(proxy.url).query('SELECT 1'))).toMatchObject({ code: 'NODE_UNAVAILABLE' });
  });
});

describe('a node that is not there', () => {
  it('is NODE_UNAVAILABLE', async () => {
    const gone = await fakeServer(() => undefined);
    await closeServer(gone.server);
    expect(await failure(nodeAt(gone.url).query('SELECT 1'))).toMatchObject({
      code: 'NODE_UNAVAILABLE',
      details: { objects: ['a'] },
    });
    expect(await failure(nodeAt('http://no-such-host.invalid:8123').query('SELECT 1'))).toMatchObject({
      code: 'NODE_UNAVAILABLE',
    });
  });
});

describe('a missing secret', () => {
  it('is an error of its use, and not of the making of the node', async () => {
    const fake = await fakeServer((_, __, response) => response.end('{}\n'));
    let there = false;
    const node = nodeAt(fake.url, {
      password: () => {
        if (!there) throw new RecoveryError('SECRET_MISSING', 'the environment variable X is not set');
        return CANARY;
      },
    });
    expect(await failure(node.query('SELECT 1'))).toMatchObject({ code: 'SECRET_MISSING' });
    expect(fake.got).toHaveLength(0);
    there = true;
    expect(await node.query('SELECT 1')).toEqual([{}]);
  });
});

describe('texts', () => {
  it('have no credentials of URLs', () => {
    expect(tidyMessage(`cannot connect to http://u:${CANARY}@host:8123/`)).toBe(
      'cannot connect to http://***@host:8123/',
    );
  });

  it('of our own defects are INTERNAL', () => {
    expect(toNodeError(new TypeError('x is undefined'), { node: 'a' })).toMatchObject({ code: 'INTERNAL' });
  });
});
