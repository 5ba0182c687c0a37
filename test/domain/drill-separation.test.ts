import { describe, expect, it } from 'vitest';
import {
  chrootSeenFrom,
  rootSeenBy,
  separation,
  type ClusterIdentity,
  type ObjectDisk,
  type ServerIdentity,
} from '../../src/domain/drill-separation.js';

const server = (change: Partial<ServerIdentity> = {}): ServerIdentity => ({
  ...{ node: 'a', uuid: 'u-prod', host: 'ch-a', tcpPort: '9000', paths: ['/var/lib/clickhouse/'] },
  ...{ home: '', addresses: [], endpoints: [], objectDisks: [] },
  ...change,
});

function cluster(
  name: string,
  server: ServerIdentity,
  keeper: Partial<ClusterIdentity['keeper']> = {},
): ClusterIdentity {
  return {
    cluster: name,
    servers: [server],
    keeper: { chroot: '', stamps: [`[2,"${name}"]`], atOtherChroot: null, root: null, ...keeper },
    tablePaths: ['/clickhouse/tables/u/01'],
    ownDisks: [],
  };
}

const prod = cluster('prod', server());
const scratch = (change: Partial<ServerIdentity> = {}, keeper: Partial<ClusterIdentity['keeper']> = {}) =>
  cluster('scratch', server({ node: 's', uuid: 'u-scratch', host: 'ch-s', ...change }), keeper);

describe('a drill’s target is apart from production', () => {
  it.each<[name: string, target: ClusterIdentity, source?: ClusterIdentity]>([
    ['another machine', scratch()],
    ['the same image on another machine: same paths, same port', scratch({ paths: ['/var/lib/clickhouse/'] })],
    [
      'the same machine, other folders and ports',
      scratch({ host: 'ch-a', tcpPort: '9001', paths: ['/data/scratch/'] }),
    ],
    ['a folder that begins like production’s', scratch({ host: 'ch-a', paths: ['/var/lib/clickhouse-scratch/'] })],
    ['embedded nodes of one machine', scratch({ host: 'ch-a', uuid: '', tcpPort: '', paths: ['/tmp/s/'] })],
    ['an empty ZooKeeper of its own', scratch({}, { stamps: [] })],
    [
      'a chroot in production’s ensemble',
      scratch({}, { chroot: '/scratch', root: '[9,"r"]' }),
      { ...prod, keeper: { ...prod.keeper, atOtherChroot: '[9,"r"]' } },
    ],
    [
      'a chroot beside production’s',
      scratch({}, { chroot: '/scratch', root: '[9,"r"]' }),
      { ...prod, keeper: { ...prod.keeper, chroot: '/prod', root: '[3,"p"]' } },
    ],
  ])('%s', (_name, target, source = prod) => {
    expect(separation(source, target)).toBe(null);
  });

  const nested = { ...prod, keeper: { ...prod.keeper, atOtherChroot: '[9,"r"]' } };
  it.each<[name: string, target: ClusterIdentity, says: RegExp, source?: ClusterIdentity]>([
    ['the same server by another name', scratch({ uuid: 'u-prod' }), /is the server of node a of prod/],
    ['the same server, which has no UUID', scratch({ uuid: '', host: 'ch-a' }), /is the server of/],
    ['a folder of production', scratch({ host: 'ch-a', tcpPort: '1' }), /keep tables in \/var\/lib\/clickhouse\//],
    [
      'a folder in one of production’s',
      scratch({ host: 'ch-a', tcpPort: '1', paths: ['/x/', '/var/lib/clickhouse/s/'] }),
      /\/s\//,
    ],
    [
      'a folder around production’s',
      scratch({ host: 'ch-a', tcpPort: '1', paths: ['/var/'] }),
      /keep tables in \/var\//,
    ],
    [
      'the ZooKeeper paths of production',
      scratch({}, { stamps: ['[7,"x"]', '[2,"prod"]'] }),
      /has the ZooKeeper paths of prod/,
    ],
    [
      'a root above production’s',
      scratch({}, { atOtherChroot: '[3,"p"]' }),
      /below its own root/,
      { ...prod, keeper: { ...prod.keeper, chroot: '/prod', root: '[3,"p"]' } },
    ],
    [
      'a chroot that a table of production is in',
      scratch({}, { chroot: '/clickhouse', root: '[9,"r"]' }),
      /ZooKeeper path \/clickhouse\/tables\/u\/01/,
      nested,
    ],
  ])('refused: %s', (_name, target, says, source = prod) => {
    expect(separation(source, target)).toMatchObject({
      code: 'DRILL_TARGET_UNSAFE',
      message: expect.stringMatching(says) as string,
    });
  });

  describe('by what names resolve to', () => {
    const at = (change: Partial<ServerIdentity>) => server({ addresses: ['10.0.0.1'], ...change });
    const from = (change: Partial<ServerIdentity>) => ({
      ...scratch({ host: 'ch-a.internal', addresses: ['10.0.0.1', '10.9.9.9'], ...change }),
    });
    const home = '/var/lib/clickhouse/';
    it.each<[name: string, source: Partial<ServerIdentity>, target: Partial<ServerIdentity>, says: RegExp | null]>([
      [
        'one address and port by two names, whatever answers there',
        { endpoints: ['10.0.0.1 8123'] },
        { endpoints: ['10.9.9.9 8123', '10.0.0.1 8123'], paths: ['/x/'] },
        /lead to one address, 10\.0\.0\.1 8123/,
      ],
      [
        'two ports of one address',
        { endpoints: ['10.0.0.1 8123'] },
        { endpoints: ['10.0.0.1 8124'], paths: ['/x/'] },
        null,
      ],
      ['one machine, no UUIDs, one port', { uuid: '' }, { uuid: '', paths: ['/x/'] }, /is the server of node a/],
      ['one machine, no UUIDs, two ports', { uuid: '' }, { uuid: '', paths: ['/x/'], tcpPort: '9001' }, null],
      ['a folder of one machine', {}, { paths: [`${home}disk2/`], home: '/s/' }, /keep tables in .*disk2/],
      ['two containers behind one address: one path, two UUIDs', { home }, { home }, null],
      ['… of which one has none', { home }, { home, uuid: '', tcpPort: '' }, /keep tables in/],
      [
        'a disk beside two data folders',
        { home, paths: [home, '/d/'] },
        { home: '/s/', paths: ['/s/', '/d/'] },
        /in \/d\//,
      ],
      ['other addresses', {}, { addresses: ['10.9.9.9'] }, null],
    ])('%s', (_name, source, target, says) => {
      const found = separation({ ...prod, servers: [at(source)] }, from(target));
      if (says === null) expect(found).toBe(null);
      else expect(found).toMatchObject({ code: 'DRILL_TARGET_UNSAFE', message: expect.stringMatching(says) as string });
    });
  });

  describe('by its object storage', () => {
    const disk = (change: Partial<ObjectDisk> = {}): ObjectDisk => ({
      ...{ name: 's3', kind: 's3', prefix: 'data/', bucket: 'b' },
      ...change,
    });
    it.each<[name: string, source: ObjectDisk[], target: ObjectDisk[], own: string[], says: RegExp | null]>([
      [
        'one bucket and prefix',
        [disk()],
        [disk({ name: 'cold' })],
        [],
        /the disk cold and the disk s3 are at b\/data\//,
      ],
      ['… whatever recovery.yaml says', [disk()], [disk()], ['s3'], /are at b\/data\//],
      ['a prefix in one of production’s', [disk()], [disk({ prefix: 'data/scratch/' })], [], /are at b\/data\/scratch/],
      ['a whole bucket', [disk()], [disk({ prefix: '' })], [], /are at b\//],
      ['another bucket', [disk()], [disk({ bucket: 'scratch' })], [], null],
      ['another prefix', [disk()], [disk({ prefix: 'scratch/' })], [], null],
      [
        'another prefix, in no bucket that anybody knows',
        [disk({ bucket: null })],
        [disk({ prefix: 'scratch/' })],
        [],
        null,
      ],
      [
        'one prefix, in no bucket that anybody knows',
        [disk()],
        [disk({ bucket: null })],
        [],
        /nobody can tell .* both s3/,
      ],
      ['a server that does not tell', [disk()], [disk({ prefix: null, bucket: null })], [], /nobody can tell/],
      ['… for which recovery.yaml speaks', [disk()], [disk({ prefix: null, bucket: null })], ['s3'], null],
      ['… but for another disk', [disk()], [disk({ prefix: null, bucket: null })], ['gcs'], /nobody can tell/],
      ['two kinds', [disk()], [disk({ kind: 'azure', prefix: null })], [], null],
      ['none in production', [], [disk({ prefix: null })], [], null],
      ['none in the target', [disk({ prefix: null })], [], [], null],
      [
        'objects in folders of two machines',
        [disk({ kind: 'local', prefix: null })],
        [disk({ kind: 'local' })],
        [],
        null,
      ],
    ])('%s', (_name, source, target, own, says) => {
      const found = separation(
        { ...prod, servers: [server({ objectDisks: source })] },
        { ...scratch({ objectDisks: target }), ownDisks: own },
      );
      if (says === null) expect(found).toBe(null);
      else expect(found).toMatchObject({ code: 'DRILL_TARGET_UNSAFE', message: expect.stringMatching(says) as string });
    });
  });

  it.each([
    ['', '/scratch', '/scratch'],
    ['/prod', '/prod/scratch', '/scratch'],
    ['/prod', '/prod', ''],
    ['/prod', '/prod-scratch', null],
    ['/prod', '', null],
  ])('from the chroot "%s", "%s" is at %s', (own, other, expected) => {
    expect(chrootSeenFrom(own, other)).toBe(expected);
  });

  it('a chroot in production’s chroot is refused where production has a table in it, at the path that it has there', () => {
    const source = {
      ...cluster('prod', server(), { chroot: '/prod', root: '[3,"p"]', atOtherChroot: '[9,"r"]' }),
      tablePaths: ['/scratch/t'],
    };
    const target = scratch({}, { chroot: '/prod/scratch', root: '[9,"r"]' });
    expect(rootSeenBy(source.keeper, target.keeper)).toBe('/scratch');
    expect(separation(source, target)?.message).toMatch(/ZooKeeper path \/scratch\/t/);
    expect(separation({ ...source, tablePaths: ['/tables/t'] }, target)).toBe(null);
  });

  it('any pair of nodes is enough', () => {
    const two = {
      ...scratch(),
      servers: [...scratch().servers, server({ node: 's2', uuid: 'u-prod-2', host: 'ch-x' })],
    };
    const many = { ...prod, servers: [...prod.servers, server({ node: 'b', uuid: 'u-prod-2', host: 'ch-b' })] };
    expect(separation(many, two)?.objects).toEqual(['s2', 'b']);
  });
});
