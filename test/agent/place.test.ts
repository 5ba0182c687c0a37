import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { unpack } from '../../src/activities/packed.js';
import { detachedContext } from '../../src/activities/runtime.js';
import { copiedTables } from '../../src/agent/copied-tables.js';
import { CopyFolder } from '../../src/agent/copies.js';
import { CopyIndexes } from '../../src/agent/copy-index.js';
import { placeParts } from '../../src/agent/place.js';
import { partsOnDisk, walk } from '../../src/agent/tree.js';
import { transfer } from '../../src/agent/transfer.js';
import { parseAgentConfig, type AgentConfig } from '../../src/config/agent.js';
import type { HostCopy } from '../../src/domain/cold.js';
import { folderOf } from '../../src/domain/cold-place.js';
import { RecoveryError } from '../../src/domain/errors.js';
import { cloneName } from '../../src/domain/names.js';
import { scratchDir } from '../support/processes.js';

const ORDERS = { database: 'shop', table: 'orders' };
const P1 = '202601_1_1_0';
const P2 = '202601_2_2_0';

let scratch: ReturnType<typeof scratchDir>;
let config: AgentConfig;
let copy: CopyFolder;
let root: string;
let detached: string;
let manifest: string;

const write = (file: string, text: string) => {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
};
const part = (folder: string, name: string, content: string, rows = 10) => {
  write(join(folder, name, 'id.bin'), content);
  write(join(folder, name, 'count.txt'), String(rows));
  write(join(folder, name, 'checksums.txt'), `checksums of ${content}`);
};

/** A copy of a server with two tables, and a new server with an empty staging table of one of them. */
beforeEach(async () => {
  scratch = scratchDir('place');
  const old = join(scratch.path, 'old');
  root = join(scratch.path, 'new');
  const orders = join(old, folderOf(ORDERS));
  mkdirSync(join(orders, 'detached'), { recursive: true });
  part(orders, P1, 'first');
  part(orders, P2, 'second');
  part(orders, '202601_9_9_0', 'nothing', 0);
  part(join(orders, 'detached'), 'ignored_202601_5_5_0', 'ignored');
  write(join(old, 'metadata/shop.sql'), 'ATTACH DATABASE shop\nENGINE = Ordinary\n');
  write(
    join(old, 'metadata/shop/orders.sql'),
    'ATTACH TABLE orders\n(\n    id UInt64\n)\nENGINE = MergeTree\nORDER BY id\n',
  );
  write(join(old, 'metadata/system/query_log.sql'), 'not ours');
  config = parseAgentConfig({
    ...{ cluster: 'C', node: 'a', trees: { data: root }, copies: join(scratch.path, 'copies') },
    ...{ addresses: ['127.0.0.1:9000'], commands: { stop: ['true'], start: ['true'], probe: ['true'] } },
  });
  copy = new CopyFolder(config.copies, 'g1', 'a');
  await copy.make();
  const tree = { name: 'data', root: old };
  const { entries } = await transfer({
    ...{ entries: walk(tree), from: old, to: copy.tree('data'), method: 'stream' },
    ...{ progressFile: copy.progress('data'), check: () => undefined },
  });
  const hashes = await copy.writeLists(entries, { parts: await partsOnDisk(tree, new Set()), keeperParts: '' });
  const about: HostCopy = {
    ...{ name: 'a', role: 'clickhouse', version: '18.16.1', macros: { shard: '01' }, zxid: null, trees: ['data'] },
    ...{ files: 1, bytes: 1, parts: 2, rows: 20, ...hashes },
  };
  const zk: HostCopy = { ...about, name: 'zk', role: 'keeper' };
  await copy.commit({ version: 1, cluster: 'C', generation: 'g1', takenAt: 'then', hosts: [about, zk] });
  manifest = (await new CopyIndexes().of(copy)).id;
  detached = join(root, folderOf(cloneName('staging', ORDERS)), 'detached');
  mkdirSync(detached, { recursive: true });
});
afterEach(() => scratch.remove());

const place = async (
  change: { manifest?: string; database?: string; table?: string } = {},
  context = detachedContext(),
) => {
  const request = { ...ORDERS, generation: 'g1', manifest, ...change };
  const placed = await placeParts(config, copy, await new CopyIndexes().of(copy), request, context);
  return { ...placed, parts: await unpack<string[]>(placed.parts) };
};
const inode = (file: string) => statSync(file).ino;
const copied = (path: string) => join(copy.tree('data'), folderOf(ORDERS), path);
const digest = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');
const leftovers = () => readdirSync(root).filter((name) => name.startsWith('.cold-'));

it('reads the tables of a copy, but not the server’s own', async () => {
  expect(await copiedTables(copy, await new CopyIndexes().of(copy))).toMatchObject({
    ...{ host: 'a', cluster: 'C', generation: 'g1', manifest, macros: { shard: '01' } },
    databases: [{ name: 'shop', engine: 'Ordinary' }],
    tables: [
      { ...ORDERS, parts: 2, rows: 20, query: expect.stringContaining('CREATE TABLE `shop`.`orders`') as string },
    ],
  });
});

it('places what has rows, linked where it is written once, and is the same when it is asked again', async () => {
  expect(await place()).toMatchObject({ parts: [P1, P2], waiting: 2, extra: 0, methods: { hardlink: 2, stream: 4 } });
  expect(readdirSync(detached).sort()).toEqual([P1, P2]);
  expect(inode(join(detached, P1, 'id.bin'))).toBe(inode(copied(`${P1}/id.bin`)));
  expect(inode(join(detached, P1, 'count.txt'))).not.toBe(inode(copied(`${P1}/count.txt`)));
  const before = inode(join(detached, P2, 'count.txt'));
  expect(await place()).toMatchObject({ waiting: 2, methods: { hardlink: 0, stream: 0 } });
  expect(inode(join(detached, P2, 'count.txt'))).toBe(before);
  expect(leftovers()).toEqual([]);
});

it('replaces a leftover that is wrong, and lets one be that it does not know', async () => {
  part(detached, P1, 'first');
  write(join(detached, P1, 'more.bin'), 'x');
  part(detached, P2, 'secomd');
  part(detached, 'attaching_x', 'other');
  await place();
  expect(readdirSync(join(detached, P1)).sort()).toEqual(['checksums.txt', 'count.txt', 'id.bin']);
  expect(digest(join(detached, P2, 'id.bin'))).toBe(digest(copied(`${P2}/id.bin`)));
  expect(existsSync(join(detached, 'attaching_x'))).toBe(true);
});

it('does not place what is attached already, and tells of what is none of the copy’s', async () => {
  const table = dirname(detached);
  part(table, '202601_1_1_0', 'first');
  expect(await place()).toMatchObject({ parts: [P2], waiting: 1, extra: 0 });
  expect(readdirSync(detached)).toEqual([P2]);
  part(table, '202601_2_2_0', 'first');
  expect(await place()).toMatchObject({ parts: [P2], extra: 1 });
});

it('a flipped byte: which file, and nothing is placed', async () => {
  writeFileSync(copied(`${P2}/id.bin`), 'secome');
  await expect(place()).rejects.toMatchObject({
    code: 'COPY_DAMAGED',
    message: expect.stringMatching(/^a: data\/data\/shop\/orders\/202601_2_2_0\/id\.bin: sha256/) as string,
  });
  expect(readdirSync(detached)).toEqual([]);
  expect(leftovers()).toEqual([]);
});

it('cut off in the middle, it goes on where it was', async () => {
  let files = 0;
  const stale = new RecoveryError('STALE_ATTEMPT', 'another worker goes on');
  const cut = {
    ...detachedContext(),
    assertFresh: () => {
      if (++files > 4) throw stale;
    },
  };
  await expect(place({}, cut)).rejects.toMatchObject({ code: 'STALE_ATTEMPT' });
  expect(readdirSync(detached)).toEqual([]);
  expect(leftovers()).not.toEqual([]);
  // What an attempt with another copy left is not gone on with, and does not stay.
  write(join(root, leftovers()[0]!.replace(/-[0-9a-f]+(\.jsonl)?$/, '-another'), 'x'), 'x');
  expect(await place()).toMatchObject({ parts: [P1, P2], waiting: 2 });
  expect(leftovers()).toEqual([]);
});

describe('is refused', () => {
  it.each<[string, Parameters<typeof place>[0], string]>([
    ['another copy under the same name', { manifest: '0'.repeat(64) }, 'MANIFEST_MISMATCH'],
    ['a table that the copy lacks', { table: 'nothing' }, 'BACKUP_UNKNOWN'],
    ['a name that leads elsewhere', { database: '..', table: '../etc' }, 'BACKUP_UNKNOWN'],
    ['a name that deceives', { table: 'a\u202eb' }, 'INPUT_INVALID'],
  ])('%s', async (_, change, code) => {
    await expect(place(change)).rejects.toMatchObject({ code });
  });

  it('where the server keeps its tables elsewhere', async () => {
    rmSync(detached, { recursive: true });
    await expect(place()).rejects.toMatchObject({ code: 'RESTORE_FAILED' });
  });

  it('an altered list', async () => {
    writeFileSync(join(copy.path, 'files.jsonl'), '');
    await expect(new CopyIndexes().of(copy)).rejects.toMatchObject({ code: 'COPY_DAMAGED' });
  });
});
