import { describe, expect, it } from 'vitest';
import { parseAgentConfig } from '../../src/config/agent.js';
import { checkCold } from '../../src/config/cold.js';

const good = () => ({
  ...{ cluster: 'prod', node: 'a', trees: { data: '/var/lib/clickhouse/' }, copies: '/backups/cold' },
  addresses: ['127.0.0.1:9000'],
  commands: {
    stop: ['systemctl', 'stop', 'clickhouse-server'],
    start: ['systemctl', 'start', 'clickhouse-server'],
    probe: ['systemctl', 'is-active', '--quiet', 'clickhouse-server'],
  },
});

describe('agent.yaml', () => {
  it('has defaults', () =>
    expect(parseAgentConfig(good())).toMatchObject({
      ...{ name: 'a', role: 'clickhouse', trees: [{ name: 'data', root: '/var/lib/clickhouse' }], links: true },
      ...{ stoppedCodes: [3], timeoutSeconds: 300, addresses: [{ host: '127.0.0.1', port: 9000 }] },
    }));
  it.each<[string, object, string]>([
    ['neither node nor keeper', { node: undefined }, 'node'],
    ['both', { keeper: 'zk1' }, 'node'],
    ['a relative tree', { trees: { data: 'clickhouse' } }, 'trees.data'],
    ['a tree with ..', { trees: { data: '/var/../etc' } }, 'trees.data'],
    ['copies in a tree', { copies: '/var/lib/clickhouse/copies' }, 'copies'],
    ['a tree in the copies', { copies: '/var' }, 'trees.data'],
    ['two trees, one in the other', { trees: { data: '/a/b', all: '/a' } }, 'trees.data'],
    ['a name that is no folder', { node: '../a' }, 'node'],
    ['a shell command', { commands: { ...good().commands, stop: 'systemctl stop x' } }, 'commands.stop'],
    ['an unknown field', { password: 'x' }, 'password'],
  ])('refuses %s', (_name, change, field) => {
    try {
      parseAgentConfig({ ...good(), ...change });
    } catch (error) {
      expect(error).toMatchObject({ code: 'CONFIG_INVALID', details: { field } });
      return;
    }
    expect.unreachable();
  });
});

describe('cold in recovery.yaml', () => {
  const check = (keepers: Record<string, string>) => checkCold({ keepers }, ['h1:2181', 'h2:2181'], ['a'], 'cold');
  it('is not there, or names every server of the ensemble once', () => {
    expect(checkCold(undefined, [], [], 'cold')).toBeNull();
    expect(check({ zk1: 'h1:2181', zk2: 'h2:2181' })).toMatchObject({ agentTimeoutSeconds: 60 });
  });
  it.each<[Record<string, string>, RegExp]>([
    [{ zk1: 'h1:2181' }, /h2:2181 of keeper\.hosts has no name/],
    [{ zk1: 'h1:2181', zk2: 'h3:2181' }, /not in keeper\.hosts/],
    [{ a: 'h1:2181', zk2: 'h2:2181' }, /a node has this name/],
    [{ zk1: 'h1:2181', zk2: 'h1:2181' }, /stands for this server too/],
    [{ 'z/1': 'h1:2181', zk2: 'h2:2181' }, /letters, digits/],
  ])('refuses %j', (keepers, complaint) => expect(() => check(keepers)).toThrow(complaint));
});
