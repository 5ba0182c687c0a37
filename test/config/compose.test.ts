import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { createPorts, type ClosablePorts } from '../../src/compose.js';
import { parseConfig } from '../../src/config/checks.js';

const warnings: { fields: object; message: string }[] = [];
const log = { info: () => undefined, warn: (fields: object, message: string) => warnings.push({ fields, message }) };

let ports: ClosablePorts;
afterEach(() => ports.close());

const NIGHTLY = { nightly: { kind: 'native', to: "Disk('backups', '{cluster}/{shard}/{name}')" } };

function compose(node: Record<string, unknown>, backups: Record<string, unknown> = NIGHTLY): ClosablePorts {
  const cluster = {
    keeper: { hosts: ['127.0.0.1:1'] },
    nodes: [{ name: 'a', shard: '01', replica: 'r1', url: 'http://127.0.0.1:1', ...node }],
    backups,
  };
  ports = createPorts(parseConfig({ clusters: { prod: cluster } }), { log });
  return ports;
}

it('wires what the configuration names, and connects to nothing', () => {
  const cluster = compose({ password: { env: 'TCR_TEST_ABSENT' } }).cluster('prod');
  expect(ports.clusterNames()).toEqual(['prod']);
  expect(cluster.topology).toEqual({ cluster: 'prod', nodes: [{ name: 'a', shard: '01', replica: 'r1' }] });
  expect(cluster.repositories[0]?.destination('01', 'n')).toBe("Disk('backups', 'prod/01/n')");
  expect(ports.cluster('prod')).toBe(cluster);
  expect(ports.sha256('')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
});

it.each(['other', 'toString', '__proto__'])('refuses the cluster %s', (name) => {
  expect(() => compose({}).cluster(name)).toThrow(expect.objectContaining({ code: 'CLUSTER_UNKNOWN' }) as Error);
});

it('finds a missing secret when it is used, and not before', async () => {
  const node = compose({ password: { env: 'TCR_TEST_ABSENT' } })
    .cluster('prod')
    .node('a');
  await expect(node.query('SELECT 1')).rejects.toMatchObject({ code: 'SECRET_MISSING' });
});

it('sends the password that the reference names', async () => {
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end('{}\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  process.env['TCR_TEST_PASSWORD'] = 'canary-7f3a';
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const node = compose({ url, user: 'ops', password: { env: 'TCR_TEST_PASSWORD' } })
    .cluster('prod')
    .node('a');
  await node.query('SELECT 1');
  delete process.env['TCR_TEST_PASSWORD'];
  server.closeAllConnections();
  server.close();
  expect(seen).toEqual([`Basic ${Buffer.from('ops:canary-7f3a').toString('base64')}`]);
});

it('wires clickhouse-backup, with its own credentials, folders and certificates', async () => {
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  process.env['TCR_TEST_PASSWORD'] = 'canary-7f3a';
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const backup = { kind: 'clickhouse-backup', api: { a: url }, user: 'cb', password: { env: 'TCR_TEST_PASSWORD' } };
  const [repository] = compose({}, { cb: { ...backup, metadata: { a: '/nowhere' } } }).cluster('prod').repositories;
  if (repository?.kind !== 'clickhouse-backup') throw new Error('it is another kind');
  expect(await repository.on('a').list()).toEqual([]);
  await expect(repository.on('a').manifest('b1')).rejects.toMatchObject({ code: 'BACKUP_UNKNOWN' });
  delete process.env['TCR_TEST_PASSWORD'];
  await expect(repository.on('a').list()).rejects.toMatchObject({ code: 'SECRET_MISSING' });
  server.closeAllConnections();
  server.close();
  expect(seen).toEqual([`Basic ${Buffer.from('cb:canary-7f3a').toString('base64')}`]);
});

it('is loud about certificates that are not checked', () => {
  compose({ url: 'https://127.0.0.1:1', tls: { insecure: true } }).cluster('prod');
  expect(warnings.at(-1)).toMatchObject({ fields: { cluster: 'prod', node: 'a' } });
  const cb = { kind: 'clickhouse-backup', api: { a: 'https://127.0.0.1:1' }, tls: { insecure: true } };
  compose({}, { cb }).cluster('prod');
  expect(warnings.at(-1)).toMatchObject({ fields: { cluster: 'prod', repository: 'cb' } });
});
