import { describe, expect, it } from 'vitest';
import { checkApi, parseAddress } from '../../src/config/api.js';
import { parseConfig } from '../../src/config/checks.js';

const SHA = 'ab'.repeat(32);
const token = (change: object = {}) => ({
  name: 'bot',
  sha256: SHA,
  roles: ['operator'],
  clusters: ['prod'],
  ...change,
});
const parsed = (api: unknown) =>
  parseConfig({
    clusters: {
      prod: {
        keeper: { hosts: ['127.0.0.1:2181'] },
        nodes: [{ name: 'a', shard: '01', replica: 'r1', url: 'http://127.0.0.1:8123' }],
      },
    },
    ...(api === undefined ? {} : { api }),
  }).api;

describe('the part api of recovery.yaml', () => {
  it('is loopback without tokens where nothing is said', () => {
    expect(parsed(undefined)).toEqual({ listen: { host: '127.0.0.1', port: 8080 }, tokens: [], alertmanager: null });
  });

  it('has defaults for alerts', () => {
    const alerts = [{ match: { alertname: 'A' }, backup: 'latest' }];
    expect(parsed({ tokens: [token({ clusters: ['*'] })], alertmanager: { alerts } })).toMatchObject({
      alertmanager: { clusterLabel: 'cluster', clusters: {}, alerts },
    });
  });

  it.each<[name: string, api: unknown, field: string]>([
    ['a token itself', { tokens: [{ ...token(), token: 'canary' }] }, 'api.tokens.0.token'],
    ['a hash that is none', { tokens: [token({ sha256: 'canary' })] }, 'api.tokens.0.sha256'],
    ['the hash of nothing', { tokens: [token({ sha256: sha('') })] }, 'api.tokens.0.sha256'],
    ['an unknown role', { tokens: [token({ roles: ['root'] })] }, 'api.tokens.0.roles.0'],
    ['no role', { tokens: [token({ roles: [] })] }, 'api.tokens.0.roles'],
    ['no cluster', { tokens: [token({ clusters: [] })] }, 'api.tokens.0.clusters'],
    ['an unknown cluster', { tokens: [token({ clusters: ['prod', 'tset'] })] }, 'api.tokens.0.clusters.1'],
    ['two of a name', { tokens: [token(), token({ sha256: 'cd'.repeat(32) })] }, 'api.tokens.1.name'],
    ['two of a hash', { tokens: [token(), token({ name: 'b' })] }, 'api.tokens.1.sha256'],
    ['a name that deceives', { tokens: [token({ name: 'a\u202eb' })] }, 'api.tokens.0.name'],
    ['an address', { listen: ':8080' }, 'api.listen'],
    ['an alert of anything', { alertmanager: { alerts: [{ match: {} }] } }, 'api.alertmanager.alerts.0.match'],
    [
      'a backup that is none',
      { alertmanager: { alerts: [{ match: { a: 'b' }, backup: '../x' }] } },
      'api.alertmanager.alerts.0.backup',
    ],
    [
      'an alert of no cluster',
      { alertmanager: { clusters: { x: 'tset' }, alerts: [{ match: { a: 'b' } }] } },
      'api.alertmanager.clusters.x',
    ],
  ])('%s is refused, and not repeated', (_name, api, field) => {
    expect(() => parsed(api)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', details: { field } }));
    expect(() => parsed(api)).not.toThrow(/canary/);
  });

  it('an empty part is as none', () => {
    expect(checkApi({}, [])).toEqual(checkApi(undefined, []));
  });
});

function sha(_of: '') {
  return 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
}

describe('parseAddress', () => {
  it.each([
    ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
    ['[::1]:0', { host: '::1', port: 0 }],
    ['ch-recover.internal:443', { host: 'ch-recover.internal', port: 443 }],
    ['8080', null],
    ['::1:80', null],
    ['host:65536', null],
    ['http://host:80', null],
  ])('%s', (text, expected) => {
    expect(parseAddress(text)).toEqual(expected);
  });
});
