import { createHash, randomBytes } from 'node:crypto';
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { transfer, type Transfer } from '../../src/agent/transfer.js';
import { partsOnDisk, walk } from '../../src/agent/tree.js';
import { scratchDir } from '../support/processes.js';

let scratch: ReturnType<typeof scratchDir>;
let root: string;
const PART = 'data/shop/orders/all_1_1_0';
const large = randomBytes(3_000_000);

beforeEach(() => {
  scratch = scratchDir('transfer');
  root = join(scratch.path, 'tree');
  mkdirSync(join(root, PART), { recursive: true });
  mkdirSync(join(root, 'data/shop/orders/detached'));
  mkdirSync(join(root, 'metadata/shop'), { recursive: true });
  writeFileSync(join(root, PART, 'id.bin'), large);
  writeFileSync(join(root, PART, 'count.txt'), '1000');
  writeFileSync(join(root, PART, 'id.mrk'), 'small');
  writeFileSync(join(root, 'metadata/shop/orders.sql'), 'ATTACH TABLE');
  symlinkSync('shop', join(root, 'data/alias'));
  utimesSync(join(root, PART), 1_000_000, 1_000_000);
});
afterEach(() => scratch.remove());

const order = (change: Partial<Transfer> = {}): Transfer => ({
  ...{ entries: walk({ name: 'data', root }), from: root, to: join(scratch.path, 'copy'), method: 'stream' },
  ...{ progressFile: join(scratch.path, 'progress.jsonl'), check: () => undefined },
  ...change,
});
const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex');
const inode = (path: string) => statSync(path).ino;

it('keeps content, modes and times, and hashes every file', async () => {
  const { entries } = await transfer(order());
  const copied = (path: string) => join(scratch.path, 'copy', path);
  expect(readFileSync(copied(`${PART}/id.bin`)).equals(large)).toBe(true);
  expect(entries.find(({ path }) => path === `${PART}/id.bin`)?.sha256).toBe(sha256(large));
  expect(statSync(copied(PART)).mtimeMs).toBe(1_000_000_000);
  expect(entries.find(({ path }) => path === 'data/alias')?.target).toBe('shop');
});

it('links part files that are written once, and copies the rest', async () => {
  const { methods } = await transfer(order({ method: 'hardlink' }));
  const same = (path: string) => inode(join(root, path)) === inode(join(scratch.path, 'copy', path));
  expect(same(`${PART}/id.bin`)).toBe(true);
  expect(same(`${PART}/count.txt`)).toBe(false);
  expect(same('metadata/shop/orders.sql')).toBe(false);
  expect(methods).toEqual({ reflink: 0, hardlink: 2, stream: 2 });
});

it('goes on after a crash: what was copied is not copied again, half a line is nothing', async () => {
  let left = 2;
  const check = () => {
    if (left-- === 0) throw new Error('killed');
  };
  await expect(transfer(order({ check }))).rejects.toThrow('killed');
  appendFileSync(join(scratch.path, 'progress.jsonl'), '{"path":"data/sh');
  const done = readFileSync(join(scratch.path, 'progress.jsonl'), 'utf8').split('\n').slice(1, -1);
  expect(done.length).toBeGreaterThan(0);
  const first = join(scratch.path, 'copy', (JSON.parse(done[0]!) as { path: string }).path);
  const before = inode(first);
  rmSync(join(scratch.path, 'progress.jsonl.tmp'), { force: true });
  const { entries } = await transfer(order());
  expect(inode(first)).toBe(before);
  expect(entries.filter(({ kind }) => kind === 'file').every((entry) => entry.sha256 !== '')).toBe(true);
});

it('does not trust what was copied before the source changed', async () => {
  await transfer(order());
  writeFileSync(join(root, 'metadata/shop/orders.sql'), 'ATTACH VIEW!');
  utimesSync(join(root, 'metadata/shop/orders.sql'), 5, 5);
  await transfer(order());
  expect(readFileSync(join(scratch.path, 'copy/metadata/shop/orders.sql'), 'utf8')).toBe('ATTACH VIEW!');
});

it('refuses a file that is not what the list says, large or small', async () => {
  const { entries } = await transfer(order());
  const to = join(scratch.path, 'second');
  for (const path of [`${PART}/id.bin`, 'metadata/shop/orders.sql']) {
    const spoilt = entries.map((entry) => (entry.path === path ? { ...entry, sha256: 'f'.repeat(64) } : entry));
    const again = order({ entries: spoilt, from: join(scratch.path, 'copy'), to, progressFile: `${to}.jsonl` });
    await expect(transfer(again)).rejects.toMatchObject({
      code: 'COPY_DAMAGED',
      message: expect.stringContaining(path) as string,
    });
  }
});

it('refuses a link that leads out of its tree', async () => {
  symlinkSync('/mnt/disk2/store', join(root, 'data/moved'));
  await expect(transfer(order())).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});

it('reads parts and their rows off the disk, and leaves out what was dropped', async () => {
  const dropped = join(root, 'data/shop/orders/all_5_5_0');
  mkdirSync(dropped);
  const [table] = await partsOnDisk({ name: 'data', root }, new Set([dropped]));
  expect(table).toEqual({
    ...{ table: 'data/data/shop/orders', active: [{ name: 'all_1_1_0', rows: 1000 }], detached: [] },
    dropped: ['all_5_5_0'],
  });
});
