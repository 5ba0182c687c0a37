import { describe, expect, it } from 'vitest';
import {
  chrootSeenFrom,
  rootSeenBy,
  separation,
  type ClusterIdentity,
  type ServerIdentity,
} from '../../src/domain/drill-separation.js';

const server = (change: Partial<ServerIdentity> = {}): ServerIdentity => ({
  ...{ node: 'a', uuid: 'u-prod', host: 'ch-a', tcpPort: '9000', paths: ['/var/lib/clickhouse/'] },
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
