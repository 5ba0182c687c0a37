import { describe, expect, it } from 'vitest';
import { complaintAbout, isImmutable, leadsOut, type TreeEntry } from '../../src/domain/cold-files.js';

describe('only files that are written once may be linked', () => {
  it.each([
    'data/shop/orders/202601_1_1_0/id.bin',
    'data/shop/orders/202601_1_1_0/id.mrk',
    'data/shop/orders/202601_1_1_0_7/data.mrk3',
    'data/shop/orders/all_1_2_1/primary.idx',
    'store/abc/abcdef01-0000-0000-0000-000000000000/all_1_2_1/data.cmrk3',
    'store/abc/uuid/all_1_2_1/by_day.proj/data.bin',
  ])('yes: %s', (path) => expect(isImmutable(path)).toBe(true));
  it.each([
    'metadata/shop/orders.sql',
    'data/shop/orders/format_version.txt',
    'data/shop/orders/mutation_3.txt',
    'data/shop/orders/increment.txt',
    'data/shop/orders/all_1_1_0/txn_version.txt',
    'data/shop/orders/all_1_1_0/checksums.txt',
    'data/shop/orders/detached/all_1_1_0/id.bin',
    'data/shop/orders/tmp_insert_all_1_1_0/id.bin',
    'data/shop/orders/delete_tmp_all_1_1_0/id.bin',
    'data/shop/log/id.bin',
    'data/shop/log_2026_11_24/id.bin',
    'store/abc/log_2026_11_24/id.bin',
    'version-2/log.100000001',
    'version-2/snapshot.100000001',
    'uuid',
    'status',
  ])('no: %s', (path) => expect(isImmutable(path)).toBe(false));
});

describe('links', () => {
  it.each([
    ['data/shop', '/var/lib/clickhouse/store/abc/x', false],
    ['data/shop', '../store/abc', false],
    ['data/shop', '/mnt/disk2/store', true],
    ['data/shop', '../../../elsewhere', true],
    ['data/shop', '/var/lib/clickhouse2', true],
  ])('%s → %s', (path, target, out) => expect(leadsOut(path, target, '/var/lib/clickhouse')).toBe(out));
});

describe('a list of files is refused when it could write elsewhere', () => {
  const entry = (path: string, kind: TreeEntry['kind'] = 'file'): TreeEntry => ({
    ...{ tree: 'data', path, kind, mode: 0o644, uid: 0, gid: 0, mtimeMs: 0, size: 0, sha256: '', target: '' },
  });
  const root = entry('', 'dir');
  it.each<[string, TreeEntry[], RegExp | null]>([
    ['what a walk gives', [root, entry('a', 'dir'), entry('a/b'), entry('c', 'link')], null],
    ['..', [root, entry('../x')], /no path in its tree/],
    ['absolute', [root, entry('/etc/passwd')], /no path in its tree/],
    ['through a link', [root, entry('c', 'link'), entry('c/x')], /its folder is not in the list/],
    ['twice', [root, entry('x'), entry('x')], /is there twice/],
    ['another tree', [{ ...root, tree: 'other' }], /no such tree/],
  ])('%s', (_name, entries, complaint) => {
    const found = complaintAbout(entries, ['data']);
    if (complaint === null) expect(found).toBeNull();
    else expect(found).toMatch(complaint);
  });
});
