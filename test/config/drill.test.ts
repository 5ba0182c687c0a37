import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/checks.js';
import { RecoveryError } from '../../src/domain/errors.js';

type Cluster = Record<string, unknown> & { nodes: Record<string, unknown>[]; keeper: Record<string, unknown> };

function example() {
  const node = (name: string, url: string, shard = '01') => ({ name, shard, replica: 'r1', url });
  const prod: Cluster & { drill: Record<string, unknown> } = {
    keeper: { hosts: ['zk1:2181', 'zk2:2181'] },
    nodes: [node('a', 'http://ch-a:8123'), node('b', 'http://ch-b:8123', '02')],
    backups: {
      nightly: { kind: 'native', to: "Disk('backups', '{cluster}/{shard}/{name}')" },
      cb: { kind: 'clickhouse-backup', api: { a: 'http://ch-a:7171', b: 'http://ch-b:7171' } },
    },
    drill: { target: 'scratch', objectives: { rtoSeconds: 3600, rpoSeconds: 86400 } },
  };
  const scratch: Cluster = {
    scratch: true,
    keeper: { hosts: ['zk1:2181'], chroot: '/scratch' },
    nodes: [node('s1', 'http://ch-s:8123'), node('s2', 'http://ch-s:8124', '02')],
  };
  return { clusters: { prod, scratch } };
}

describe('drills in recovery.yaml', () => {
  it('with defaults', () => {
    const { clusters } = parseConfig(example());
    expect(clusters['prod']).toMatchObject({
      scratch: false,
      drill: {
        ...{ target: 'scratch', backup: 'latest', timeoutSeconds: 86_400 },
        objectives: { rtoSeconds: 3_600, rpoSeconds: 86_400 },
      },
    });
    expect(clusters['scratch']).toMatchObject({ scratch: true, drill: null, ownDisks: [] });
  });

  it.each<[name: string, spoil: (config: ReturnType<typeof example>) => void, field: string, says: RegExp]>([
    [
      'no such target',
      ({ clusters }) => (clusters.prod.drill['target'] = 'other'),
      'clusters.prod.drill.target',
      /no cluster/,
    ],
    [
      'a name of the language',
      ({ clusters }) => (clusters.prod.drill['target'] = 'toString'),
      'clusters.prod.drill.target',
      /no cluster/,
    ],
    [
      'disks of its own in production',
      ({ clusters }) => (clusters.prod['ownDisks'] = ['s3']),
      'clusters.prod.ownDisks',
      /scratch: true/,
    ],
    ['itself', ({ clusters }) => (clusters.prod.drill['target'] = 'prod'), 'clusters.prod.drill.target', /itself/],
    [
      'a target that is not marked',
      ({ clusters }) => delete clusters.scratch['scratch'],
      'clusters.prod.drill.target',
      /scratch: true/,
    ],
    [
      'a scratch cluster with drills',
      ({ clusters }) => (clusters.prod['scratch'] = true),
      'clusters.prod.drill',
      /nothing in it/,
    ],
    [
      'a node of production',
      ({ clusters }) => (clusters.scratch.nodes[0]!['url'] = 'http://CH-a:8123/'),
      'clusters.prod.drill.target',
      /"s1" has the URL/,
    ],
    ['a shard too few', ({ clusters }) => clusters.scratch.nodes.pop(), 'clusters.prod.drill.target', /shard "02"/],
    [
      'production’s ZooKeeper',
      ({ clusters }) => delete clusters.scratch.keeper['chroot'],
      'clusters.prod.drill.target',
      /chroot/,
    ],
    [
      'a root above production’s',
      ({ clusters }) => (clusters.prod.keeper['chroot'] = '/scratch/prod'),
      'clusters.prod.drill.target',
      /chroot/,
    ],
    [
      'no objectives',
      ({ clusters }) => delete clusters.prod.drill['objectives'],
      'clusters.prod.drill.objectives',
      /./,
    ],
    [
      'an objective of nothing',
      ({ clusters }) => (clusters.prod.drill['objectives'] = { rtoSeconds: 0, rpoSeconds: 1 }),
      'clusters.prod.drill.objectives.rtoSeconds',
      /./,
    ],
    ['an unknown field', ({ clusters }) => (clusters.prod.drill['keep'] = true), 'clusters.prod.drill.keep', /./],
    [
      'a backup that is no name',
      ({ clusters }) => (clusters.prod.drill['backup'] = '../x'),
      'clusters.prod.drill.backup',
      /./,
    ],
    [
      'an unknown repository',
      ({ clusters }) => (clusters.prod.drill['backup'] = 'weekly'),
      'clusters.prod.drill.backup',
      /no backup repository/,
    ],
    [
      'clickhouse-backup, which is beside production',
      ({ clusters }) => (clusters.prod.drill['backup'] = 'cb'),
      'clusters.prod.drill.backup',
      /native/,
    ],
    [
      'no native backups at all',
      ({ clusters }) => delete (clusters.prod['backups'] as Record<string, unknown>)['nightly'],
      'clusters.prod.drill.backup',
      /native/,
    ],
  ])('refuses %s', (_name, spoil, field, says) => {
    const config = example();
    spoil(config);
    let refused: unknown;
    try {
      parseConfig(config);
    } catch (error) {
      refused = error;
    }
    expect(refused).toBeInstanceOf(RecoveryError);
    expect(refused).toMatchObject({
      code: 'CONFIG_INVALID',
      details: { field },
      message: expect.stringMatching(says) as string,
    });
  });

  it('a chroot that only begins like production’s is another', () => {
    const config = example();
    config.clusters.prod.keeper['chroot'] = '/scratch2';
    expect(parseConfig(config).clusters['prod']?.drill?.target).toBe('scratch');
  });
});
