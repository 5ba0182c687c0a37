import { describe, expect, it } from 'vitest';
import type { ColdHost, ColdManifest, FoundCopy, HostFacts, NodeState } from '../../src/domain/cold.js';
import { hostTaskQueue, parseColdBackup, parseColdRestore } from '../../src/domain/cold.js';
import { coldPlanIdentity, newestCommon, planColdBackup, planColdRestore } from '../../src/domain/cold-plan.js';

const GB = 1_000_000_000;
const hosts: ColdHost[] = [
  { name: 'a', role: 'clickhouse' },
  { name: 'b', role: 'clickhouse' },
  { name: 'zk1', role: 'keeper' },
];
const topology = [
  { name: 'a', shard: '01', replica: 'r1' },
  { name: 'b', shard: '01', replica: 'r2' },
];
const fact = (name: string, change: Partial<HostFacts> = {}): HostFacts => ({
  ...{ name, role: name.startsWith('zk') ? 'keeper' : 'clickhouse', running: true, files: 5, bytes: GB, copyBytes: GB },
  ...{ commands: { stop: `stop ${name}`, start: `start ${name}`, probe: `probe ${name}` }, method: 'stream' },
  ...{ trees: [{ name: 'data', device: '1', free: 10 * GB }], freeForCopies: 10 * GB, generations: ['g0', 'g1'] },
  ...(name.startsWith('zk')
    ? { mode: 'standalone', version: '3.8', zxid: '0x1' }
    : { mode: null, version: null, zxid: null }),
  ...change,
});
const facts = () => hosts.map(({ name }) => fact(name));
const replica = { table: 'shop.t', path: '/p', replica: 'r1', readonly: false, sessionExpired: false };
const node = (name: string, change: Partial<NodeState['replicas'][number]> = {}): NodeState => ({
  ...{ node: name, version: '18.16.1', macros: { shard: '01', replica: name === 'a' ? 'r1' : 'r2' } },
  replicas: [{ ...replica, queue: 0, oldestSeconds: 0, active: 2, total: 2, ...change }],
});
const nodes = () => [node('a'), node('b')];

const backup = (change: Partial<Parameters<typeof planColdBackup>[0]> = {}) =>
  planColdBackup({
    ...{ cluster: 'prod', generation: 'g2', hosts, facts: facts(), nodes: nodes(), topology, chroot: false },
    ...change,
  });
const refused = ({ refusals }: { refusals: { code: string; message: string }[] }) =>
  refusals.map(({ code, message }) => `${code} ${message}`);

describe('a backup', () => {
  it('of a healthy cluster is not refused, and says what is run', () => {
    expect(backup().refusals).toEqual([]);
    expect(backup().hosts.map(({ commands }) => commands.stop)).toEqual(['stop a', 'stop b', 'stop zk1']);
  });
  it.each<[string, Parameters<typeof backup>[0], RegExp]>([
    ['an agent is away', { facts: facts().slice(1) }, /^AGENT_UNAVAILABLE .*`ch-recover agent --node a`/],
    [
      'an agent of the other kind',
      { facts: [fact('a', { role: 'keeper', mode: 'follower' }), ...facts().slice(1)] },
      /^MANIFEST_MISMATCH the agent of a/,
    ],
    [
      'a service is down',
      { facts: [fact('a', { running: false }), ...facts().slice(1)] },
      /^CLUSTER_UNHEALTHY not running/,
    ],
    [
      'a probe that does not know',
      { facts: [fact('a', { running: null }), ...facts().slice(1)] },
      /^CLUSTER_UNHEALTHY not running/,
    ],
    [
      'ZooKeeper without a quorum',
      { facts: [...facts().slice(0, 2), fact('zk1', { mode: null })] },
      /^CLUSTER_UNHEALTHY the ZooKeeper ensemble.*zk1 serves nobody/,
    ],
    ['ZooKeeper without a leader', { facts: [...facts().slice(0, 2), fact('zk1', { mode: 'follower' })] }, /0 leaders/],
    ['a node that does not answer', { nodes: [node('a')] }, /^CLUSTER_UNHEALTHY these nodes do not answer: b/],
    ['read-only', { nodes: [node('a', { readonly: true }), node('b')] }, /a: shop\.t is read-only/],
    ['without session', { nodes: [node('a', { sessionExpired: true }), node('b')] }, /session/],
    ['a replica away', { nodes: [node('a', { active: 1 }), node('b')] }, /1 of 2 replicas active/],
    ['behind', { nodes: [node('a', { queue: 3, oldestSeconds: 61 }), node('b')] }, /3 entries in its queue/],
    [
      'other macros',
      { nodes: [{ ...node('a'), macros: { shard: '02' } }, node('b')] },
      /^WRONG_MACROS a says shard 02/,
    ],
    ['no space', { facts: [fact('a', { freeForCopies: GB }), ...facts().slice(1)] }, /^COPY_NO_SPACE a: .* too few/],
    ['a name that is taken', { generation: 'g1' }, /^INPUT_INVALID there is a copy g1/],
  ])('is refused: %s', (_name, change, message) => expect(refused(backup(change)).join('\n')).toMatch(message));
  it('a queue that moves is no reason', () =>
    expect(backup({ nodes: [node('a', { queue: 3, oldestSeconds: 2 }), node('b')] }).refusals).toEqual([]));
  it('warns where others use the ensemble, and where the copy is on the same disk', () => {
    const { warnings } = backup({ chroot: true, facts: [fact('a', { method: 'hardlink' }), ...facts().slice(1)] });
    expect(warnings.join()).toMatch(/chroot.*does not outlive it/s);
  });
});

const MACROS: Record<string, Record<string, string>> = {
  a: { shard: '01', replica: 'r1' },
  b: { shard: '01', replica: 'r2' },
};
const manifest = (change: Partial<ColdManifest> = {}): ColdManifest => ({
  ...{ version: 1, cluster: 'prod', generation: 'g1', takenAt: '2026-11-24T10:00:00.000Z' },
  hosts: hosts.map(({ name, role }) => ({
    ...{ name, role, version: role === 'keeper' ? '3.8' : '18.16.1', zxid: role === 'keeper' ? '0x5' : null },
    macros: MACROS[name] ?? {},
    ...{ trees: ['data'], files: 5, bytes: GB, parts: 1, rows: 1, list: 'a'.repeat(64), evidence: 'b'.repeat(64) },
  })),
  ...change,
});
const copy = (host: string, change: Partial<FoundCopy> = {}): FoundCopy => ({
  ...{ host, manifest: manifest(), problem: null, stageBytes: { data: GB }, keeperParts: '' },
  ...change,
});
const found = () => hosts.map(({ name }) => copy(name));
const restore = (change: Partial<Parameters<typeof planColdRestore>[0]> = {}) =>
  planColdRestore({
    ...{ cluster: 'prod', generation: 'g1', hosts, facts: facts(), nodes: nodes(), topology, found: found() },
    recovery: null,
    ...change,
  });

describe('a restore', () => {
  it('of a whole copy is not refused, also of nodes that are gone', () => {
    expect(restore().refusals).toEqual([]);
    expect(restore({ nodes: [] }).refusals).toEqual([]);
    expect(restore().warnings[0]).toContain('since 2026-11-24T10:00:00.000Z is lost');
  });
  const last = (change: Partial<FoundCopy>) => ({ found: [...found().slice(0, 2), copy('zk1', change)] });
  it.each<[string, Parameters<typeof restore>[0], RegExp]>([
    ['half a copy', last({ manifest: null }), /^COPY_UNKNOWN there is no copy g1 on zk1/],
    ['an altered list', last({ problem: 'files.jsonl is missing or altered' }), /^COPY_DAMAGED zk1: files.jsonl/],
    [
      'another moment',
      last({ manifest: manifest({ takenAt: '2026-11-23T10:00:00.000Z' }) }),
      /^MANIFEST_MISMATCH mixed generations: zk1/,
    ],
    ['another generation', last({ manifest: manifest({ generation: 'g0' }) }), /^MANIFEST_MISMATCH mixed generations/],
    [
      'a folder that was renamed',
      { found: hosts.map(({ name }) => copy(name, { manifest: manifest({ generation: 'g0' }) })) },
      /^MANIFEST_MISMATCH mixed generations/,
    ],
    [
      'another cluster',
      { found: hosts.map(({ name }) => copy(name, { manifest: manifest({ cluster: 'test' }) })) },
      /cluster test, not of prod/,
    ],
    [
      'a host that the copy lacks',
      { hosts: [...hosts, { name: 'zk2', role: 'keeper' as const }] },
      /nothing of zk2 \(keeper\)/,
    ],
    [
      'other trees',
      { facts: [fact('a', { trees: [{ name: 'disk1', device: '1', free: 10 * GB }] }), ...facts().slice(1)] },
      /a has the trees disk1, its copy data/,
    ],
    [
      'other macros in recovery.yaml',
      { topology: [{ name: 'a', shard: '02', replica: 'r1' }, topology[1]!], nodes: [] },
      /^WRONG_MACROS the copy of a is of shard 01/,
    ],
    [
      'no space',
      { facts: [fact('a', { trees: [{ name: 'data', device: '1', free: GB }] }), ...facts().slice(1)] },
      /^COPY_NO_SPACE a: .*beside the live trees/,
    ],
    ['an agent is away', { facts: facts().slice(0, 2) }, /^AGENT_UNAVAILABLE .*--keeper zk1/],
  ])('is refused: %s', (_name, change, message) => expect(refused(restore(change)).join('\n')).toMatch(message));
  it('two trees on one disk need the space of both', () => {
    const trees = ['data', 'log'].map((name) => ({ name, device: '1', free: 1.5 * GB }));
    const two = manifest({
      hosts: manifest().hosts.map((host) => (host.name === 'a' ? { ...host, trees: ['data', 'log'] } : host)),
    });
    const plan = restore({
      facts: [fact('a', { trees }), ...facts().slice(1)],
      found: hosts.map(({ name }) =>
        copy(name, { manifest: two, stageBytes: { data: GB, log: name === 'a' ? GB : 0 } }),
      ),
    });
    expect(refused(plan).join()).toMatch(/^COPY_NO_SPACE a/);
  });
  it('offers what loses less', () => {
    const recovery = { command: 'ch-recover start --cluster prod', situations: { 'keeper-metadata-lost': 3 } };
    expect(restore({ recovery }).instead).toMatchObject({
      command: recovery.command,
      why: expect.stringContaining('3 keeper-metadata-lost') as string,
    });
  });
});

describe('what is approved', () => {
  it('does not depend on sizes, which change meanwhile', () =>
    expect(coldPlanIdentity(backup({ facts: hosts.map(({ name }) => fact(name, { bytes: 5 })) }), null)).toBe(
      coldPlanIdentity(backup(), null),
    ));
  it('depends on commands and on the copy', () => {
    const other = fact('a', { commands: { stop: 'rm', start: '', probe: '' } });
    expect(coldPlanIdentity(backup({ facts: [other, ...facts().slice(1)] }), null)).not.toBe(
      coldPlanIdentity(backup(), null),
    );
    expect(coldPlanIdentity(restore(), manifest())).not.toBe(coldPlanIdentity(restore(), manifest({ takenAt: 'x' })));
  });
});

it('the newest copy is the newest that all have', () => {
  expect(newestCommon([fact('a', { generations: ['g0', 'g1', 'g2'] }), fact('b')])).toBe('g1');
  expect(newestCommon([fact('a', { generations: ['g2'] }), fact('b')])).toBeNull();
  expect(newestCommon([])).toBeNull();
});

it.each(['../x', 'a/b', '', '.hidden', 'x'.repeat(300)])('refuses the name %s, which becomes a folder', (name) => {
  expect(() => parseColdBackup({ cluster: 'prod', name })).toThrow();
  expect(() => parseColdRestore({ cluster: 'prod', copy: name })).toThrow();
});

it('every host has its own task queue', () =>
  expect(hostTaskQueue('prod', 'a')).toBe('clickhouse-recovery/host/prod/a'));
