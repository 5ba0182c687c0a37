import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import {
  createClickHouseBackup,
  createClickHouseBackupRepository,
  type ClickHouseBackupConnection,
} from '../../src/adapters/backups/clickhouse-backup.js';
import { RecoveryError } from '../../src/domain/errors.js';
import type { RestoreOrder } from '../../src/ports.js';
import { certificate, key } from '../support/certificate.js';

const CANARY = 'canary-7f3a';
const cleanUp: (() => unknown)[] = [];
afterEach(async () => {
  for (const action of cleanUp.splice(0)) await action();
});

type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => void;

/** A clickhouse-backup that keeps its operations, unless `answer` says otherwise for a request. */
async function fake(answer: (url: URL, request: IncomingMessage) => Answer | undefined = () => undefined) {
  const rows: { command: string; status: string; error?: string; operation_id: string }[] = [];
  const got: { method: string; url: URL; authorization: string | undefined }[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://x');
    got.push({ method: request.method ?? '', url, authorization: request.headers.authorization });
    const other = answer(url, request);
    if (other) return other(request, response, url);
    if (url.pathname === '/backup/actions') return lines(rows.filter(filter(url)))(request, response, url);
    if (url.pathname.startsWith('/backup/restore/')) return accept(request, response, url);
    return lines([])(request, response, url);
  });
  const filter = (url: URL) => (row: { command: string; status: string }) =>
    `${row.command}\n${row.status}`.includes(url.searchParams.get('filter') ?? '');
  const accept: Answer = (request, response, url) => {
    rows.push({
      command: `restore --restore-table-mapping="${url.searchParams.get('restore_table_mapping')}" --data b1`,
      status: 'in progress',
      operation_id: 'x',
    });
    lines([{ status: 'acknowledged', operation: 'restore', operation_id: 'x' }])(request, response, url);
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUp.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, got, rows, accept, posts: () => got.filter(({ method }) => method === 'POST').length };
}

const lines =
  (rows: unknown[], status = 200): Answer =>
  (_, response) =>
    response.writeHead(status).end(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
const text =
  (body: string, status = 200): Answer =>
  (_, response) =>
    response.writeHead(status).end(body);
const locked = lines([{ status: 'error', operation: 'restore', error: 'another operation is currently running' }], 423);

function api(url: string, connection: Partial<ClickHouseBackupConnection> = {}) {
  return createClickHouseBackup({ node: 'a', url, user: 'ops', password: () => CANARY, ...connection });
}

async function failure(work: Promise<unknown>): Promise<RecoveryError> {
  const error: unknown = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!(error instanceof RecoveryError)) throw new Error('no error of ours', { cause: error });
  expect(error.message + (error.stack ?? '') + JSON.stringify(error)).not.toContain(CANARY);
  return error;
}

const order: RestoreOrder = {
  id: 'recovery_1_t_1',
  backup: 'b1',
  names: {
    pattern: 'db.t',
    databaseMapping: 'db:_recovery',
    tableMapping: 't:staging db.t',
    target: { database: '_recovery', table: 'staging db.t' },
  },
};
const isRestore = (url: URL) => url.pathname.startsWith('/backup/restore/');

describe('a restore', () => {
  it('is data only, into the mapped table, and never drops', async () => {
    const { url, got } = await fake();
    await api(url).startRestore(order);
    const [post] = got.filter(({ method }) => method === 'POST');
    expect(post!.url.pathname).toBe('/backup/restore/b1');
    expect([...post!.url.searchParams]).toEqual([
      ['data', '1'],
      ['table', 'db.t'],
      ['restore_database_mapping', 'db:_recovery'],
      ['restore_table_mapping', 't:staging db.t,_ch_recover_recovery_1_t_1:x'],
    ]);
    expect(post!.authorization).toBe(`Basic ${Buffer.from(`ops:${CANARY}`).toString('base64')}`);
  });

  it('that is known is not sent again', async () => {
    const server = await fake();
    await api(server.url).startRestore(order);
    for (const status of ['in progress', 'success', 'error', 'cancel']) {
      server.rows[0]!.status = status;
      await api(server.url).startRestore(order);
    }
    expect(server.posts()).toBe(1);
  });

  it('waits while another operation runs', async () => {
    let left = 2;
    const server = await fake((url) => (isRestore(url) && left-- > 0 ? locked : undefined));
    await api(server.url).startRestore(order);
    expect(server.posts()).toBe(3);
    expect(await api(server.url).restore(order.id)).toMatchObject({ state: 'running' });
  });

  it('is BACKUP_BUSY past the deadline, and started by nobody', async () => {
    const server = await fake((url) => (isRestore(url) ? locked : undefined));
    const error = await failure(api(server.url).startRestore(order, { busyDeadlineMs: 250 }));
    expect(error).toMatchObject({ code: 'BACKUP_BUSY' });
    expect(server.rows).toEqual([]);
  });

  it('is not sent while something else runs, also where that is allowed, and says what', async () => {
    const server = await fake();
    server.rows.push({ command: 'create nightly', status: 'in progress', operation_id: '1' });
    const error = await failure(api(server.url).startRestore(order, { busyDeadlineMs: 250 }));
    expect(error).toMatchObject({ code: 'BACKUP_BUSY' });
    expect(error.message).toContain('create nightly');
    expect(server.posts()).toBe(0);
    server.rows[0]!.command = 'watch';
    await api(server.url).startRestore(order);
    expect(server.posts()).toBe(1);
  });

  it('that meets a lock file left behind is BACKUP_BUSY, and names the file', async () => {
    const text = 'another clickhouse-backup `restore` command is already running 2026 (pid=1, pidPath=/tmp/x.pid)';
    const server = await fake((url) =>
      isRestore(url)
        ? (request, response, where) => {
            server.accept(request, response, where);
            Object.assign(server.rows.at(-1)!, { status: 'error', error: text });
          }
        : undefined,
    );
    const error = await failure(api(server.url).startRestore(order, { busyDeadlineMs: 250 }));
    expect(error).toMatchObject({ code: 'BACKUP_BUSY' });
    expect(error.message).toContain('/tmp/x.pid');
  });

  it('that met the lock file of another restore is sent again', async () => {
    const server = await fake();
    const error = 'another clickhouse-backup `restore` command is already running 2026 (pid=1, pidPath=/tmp/x.pid)';
    server.rows.push({ command: '"t:x,_ch_recover_recovery_1_t_1:x"', status: 'error', error, operation_id: '1' });
    expect(await api(server.url).restore(order.id)).toEqual({ state: 'busy', error, cancelled: false });
    await api(server.url).startRestore(order);
    expect(await api(server.url).restore(order.id)).toMatchObject({ state: 'running' });
  });

  it('whose answer was lost is found', async () => {
    const server = await fake((url) =>
      isRestore(url)
        ? (request, response, where) => {
            server.accept(request, Object.assign(response, { writeHead: () => ({ end: () => undefined }) }), where);
            response.destroy();
          }
        : undefined,
    );
    await api(server.url).startRestore(order);
    expect(server.posts()).toBe(1);
    expect(await api(server.url).restore(order.id)).toMatchObject({ state: 'running' });
  });

  it('whose answer was lost, and that is not there, is an error to look at again', async () => {
    const server = await fake((url) => (isRestore(url) ? (_, response) => response.destroy() : undefined));
    expect(await failure(api(server.url).startRestore(order))).toMatchObject({ code: 'NODE_UNAVAILABLE' });
    expect(server.posts()).toBe(1);
  });

  it('that is refused is RESTORE_FAILED with the reason', async () => {
    const refusal = lines([{ status: 'error', error: `invalid values ${CANARY}` }], 500);
    const server = await fake((url) => (isRestore(url) ? refusal : undefined));
    const error = await failure(api(server.url).startRestore(order));
    expect(error).toMatchObject({ code: 'RESTORE_FAILED' });
    expect(error.message).toContain('invalid values ***');
  });

  it.each([502, 503])('behind a proxy that answers %i is NODE_UNAVAILABLE', async (status) => {
    const server = await fake((url) => (isRestore(url) ? text('<html>', status) : undefined));
    expect(await failure(api(server.url).startRestore(order))).toMatchObject({ code: 'NODE_UNAVAILABLE' });
  });

  it.each(['../b1', 'b 1', 'b1?rm=1', ''])('of a backup called %j is refused', async (backup) => {
    const server = await fake();
    expect(await failure(api(server.url).startRestore({ ...order, backup }))).toMatchObject({ code: 'INPUT_INVALID' });
    expect(server.got).toEqual([]);
  });

  it('can be given up', async () => {
    const server = await fake((url) => (isRestore(url) ? locked : undefined));
    const signal = AbortSignal.timeout(150);
    await expect(api(server.url).startRestore(order, { signal })).rejects.toThrow(/abort|timeout/i);
  });
});

describe('the state of a restore', () => {
  it.each([
    ['in progress', { state: 'running', cancelled: false }],
    ['success', { state: 'success', cancelled: false }],
    ['error', { state: 'error', error: 'no such part ***', cancelled: false }],
    ['cancel', { state: 'unknown', cancelled: true }],
    ['something new', { state: 'unknown', cancelled: true }],
  ])('%s', async (status, expected) => {
    const server = await fake();
    const error = status === 'error' ? `no such part ${CANARY}` : '';
    server.rows.push({ command: '"t:x,_ch_recover_recovery_1_t_1:x"', status, error, operation_id: '1' });
    expect(await api(server.url).restore(order.id)).toMatchObject(expected);
  });

  it('after a restart, which forgets all, is unknown', async () => {
    const server = await fake();
    expect(await api(server.url).restore(order.id)).toEqual({ state: 'unknown', error: '', cancelled: false });
  });

  it('of another one is not ours', async () => {
    const server = await fake();
    const row = { status: 'success', operation_id: '1' };
    server.rows.push({ ...row, command: '"t:x,_ch_recover_recovery_1_t_10:x"' });
    server.rows.push({ ...row, command: 'create b', error: '_ch_recover_recovery_1_t_1' });
    expect(await api(server.url).restore(order.id)).toMatchObject({ state: 'unknown' });
  });

  it('is asked for with an id that is a word', async () => {
    const server = await fake();
    expect(await failure(api(server.url).restore('a:b,c'))).toMatchObject({ code: 'INTERNAL' });
  });
});

describe('a list', () => {
  it('tells broken backups', async () => {
    const row = { created: '2026-11-24 11:48:54', location: 'local', required: '', desc: 'regular' };
    const server = await fake(() =>
      lines([
        { ...row, name: 'b1', size: 7 },
        { ...row, name: 'b2', location: 'remote', required: 'b1', desc: "broken (can't stat metadata.json)" },
      ]),
    );
    expect(await api(server.url).list()).toEqual([
      { name: 'b1', location: 'local', created: row.created, bytes: 7, required: null, broken: null },
      {
        ...{ name: 'b2', location: 'remote', created: row.created, bytes: 0, required: 'b1' },
        broken: "broken (can't stat metadata.json)",
      },
    ]);
  });

  it.each([
    ['401', text('401 Unauthorized\n', 401), 'CREDENTIALS_REFUSED'],
    ['403 of a proxy', text('no', 403), 'CREDENTIALS_REFUSED'],
    ['500', lines([{ status: 'error', error: 'can not connect' }], 500), 'NODE_UNAVAILABLE'],
    ['a page', text('<html>hello</html>'), 'NODE_UNAVAILABLE'],
    ['half a line', text('{"name":"b1","created'), 'NODE_UNAVAILABLE'],
    ['rows of something else', lines([{ hello: 1 }]), 'NODE_UNAVAILABLE'],
    ['an echo of the password', text(CANARY, 500), 'NODE_UNAVAILABLE'],
    [
      'a redirection, which would get our password',
      (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
      'NODE_UNAVAILABLE',
    ],
    ['a lost connection', (_, response) => response.destroy(), 'NODE_UNAVAILABLE'],
  ])('%s', async (_, answer, code) => {
    const server = await fake(() => answer);
    expect(await failure(api(server.url).list())).toMatchObject({ code, details: { objects: ['a'] } });
  });

  it('that never comes, or never ends, is given up', async () => {
    const hung = await fake(() => () => undefined);
    const first = await failure(api(hung.url, { timeoutMs: 80 }).list());
    expect(first).toMatchObject({ code: 'NODE_UNAVAILABLE' });
    expect(first.message).toContain('within 80 ms');
    const slow = await fake(() => (_, response) => void response.writeHead(200).write('{"name":'));
    expect(await failure(api(slow.url, { timeoutMs: 80 }).list())).toMatchObject({ code: 'NODE_UNAVAILABLE' });
  });

  it('from nowhere is NODE_UNAVAILABLE', async () => {
    expect(await failure(api('http://127.0.0.1:1').list())).toMatchObject({ code: 'NODE_UNAVAILABLE' });
  });

  it('with TLS needs a certificate that can be checked', async () => {
    const got: (string | undefined)[] = [];
    const server = createTlsServer({ key, cert: certificate }, (request, response) => {
      got.push(request.headers.authorization);
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUp.push(() => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    });
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect(await failure(api(url).list())).toMatchObject({ code: 'NODE_UNAVAILABLE' });
    // Its name is checked too.
    const byName = api(url.replace('127.0.0.1', 'localhost'), { tls: { ca: () => certificate } });
    expect(await failure(byName.list())).toMatchObject({ code: 'NODE_UNAVAILABLE' });
    expect(got).toEqual([]);
    expect(await api(url, { tls: { ca: () => certificate } }).list()).toEqual([]);
    expect(await api(url, { tls: { insecure: true } }).list()).toEqual([]);
    expect(got).toHaveLength(2);
  });

  it('is at the path of a proxy', async () => {
    const server = await fake();
    await api(`${server.url}/cb/a/`).list();
    expect(server.got[0]!.url.pathname).toBe('/cb/a/backup/list');
  });
});

describe('a manifest', () => {
  const head = { backup_name: 'b1', creation_date: '2026-11-24T11:48:54.803693114Z', databases: null, functions: [] };
  const table = {
    database: 'db',
    table: 't.1',
    parts: {},
    query: 'CREATE TABLE db.`t.1` (a Int8) ENGINE = Log',
    size: {},
  };

  function folder(files: Record<string, string>): string {
    const dir = mkdtempSync(join(tmpdir(), 'tcr-cb-'));
    cleanUp.push(() => rmSync(dir, { recursive: true }));
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, name)), { recursive: true });
      writeFileSync(join(dir, name), content);
    }
    return dir;
  }
  const good = {
    'b1/metadata.json': JSON.stringify({ ...head, tables: [{ database: 'db', table: 't.1' }] }),
    'b1/metadata/db/t%2E1.json': JSON.stringify(table),
  };
  const read = (metadata: string | undefined, backup = 'b1') =>
    api('http://127.0.0.1:1', { metadata }).manifest(backup);

  it('is read from the folder of the node, and is null without one', async () => {
    expect(await read(folder(good))).toMatchObject({ backup: 'b1', tables: [{ database: 'db', table: 't.1' }] });
    expect(await read(undefined)).toBeNull();
  });

  it('of a backup that is not there, or not finished', async () => {
    expect(await failure(read(folder(good), 'b2'))).toMatchObject({ code: 'BACKUP_UNKNOWN' });
    const unfinished = folder({ 'b1/metadata/db/t%2E1.json': JSON.stringify(table) });
    expect(await failure(read(unfinished))).toMatchObject({ code: 'BACKUP_UNKNOWN' });
    expect(await failure(read(folder(good), '../b1'))).toMatchObject({ code: 'INPUT_INVALID' });
  });

  it('that is damaged, or lacks a table, is MANIFEST_INVALID', async () => {
    const damaged = [
      { ...good, 'b1/metadata.json': '' },
      { ...good, 'b1/metadata.json': '{"backup_name":' },
      { ...good, 'b1/metadata/db/t%2E1.json': '{}' },
      { 'b1/metadata.json': good['b1/metadata.json'] },
      { ...good, 'b1/metadata/db/other.json': JSON.stringify({ ...table, table: 'other' }) },
    ];
    for (const files of damaged) expect(await failure(read(folder(files)))).toMatchObject({ code: 'MANIFEST_INVALID' });
  });

  it('does not follow links out of its folder', async () => {
    const dir = folder({ secret: good['b1/metadata.json'], 'b1/metadata/db/t%2E1.json': JSON.stringify(table) });
    symlinkSync(join(dir, 'secret'), join(dir, 'b1/metadata.json'));
    expect(await failure(read(dir))).toMatchObject({ code: 'MANIFEST_INVALID' });
  });
});

describe('a repository', () => {
  const repository = createClickHouseBackupRepository('cb', [{ node: 'b', url: 'http://127.0.0.1:1' }]);

  it('knows its nodes', () => {
    expect(repository).toMatchObject({ name: 'cb', kind: 'clickhouse-backup', nodes: ['b'] });
    expect(repository.on('b').node).toBe('b');
    expect(repository.describe('b', 'b1')).toBe("clickhouse-backup 'b1' on b");
    expect(() => repository.on('toString')).toThrow(expect.objectContaining({ code: 'INTERNAL' }) as Error);
  });

  it('has no SQL destination', () => {
    const refused = expect.objectContaining({ code: 'INPUT_INVALID' }) as Error;
    expect(() => repository.destination('01', 'b1')).toThrow(refused);
    expect(() => repository.manifestDestination('01', 'b1')).toThrow(refused);
  });
});
