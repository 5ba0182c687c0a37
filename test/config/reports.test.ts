import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/checks.js';

const SECRET = 'canary-4711';

const config = (reports?: unknown, temporal?: unknown) =>
  parseConfig({
    clusters: {
      prod: {
        keeper: { hosts: ['zk1:2181'] },
        nodes: [{ name: 'a', shard: '01', replica: 'r1', url: 'http://ch-a:8123' }],
      },
    },
    ...(reports === undefined ? {} : { reports }),
    ...(temporal === undefined ? {} : { temporal }),
  });

const env = { env: 'X' };

describe('reports', () => {
  it.each<[string, unknown, unknown]>([
    ['nothing', undefined, { dir: './recovery-reports' }],
    ['an empty part', {}, { dir: './recovery-reports' }],
    ['a folder', { dir: '/srv/reports' }, { dir: '/srv/reports' }],
    ['a bucket', { s3: { bucket: 'dr-reports' } }, { s3: { bucket: 'dr-reports', prefix: '' } }],
    [
      'a prefix gets its slash',
      { s3: { bucket: 'dr-reports', prefix: 'a/b//' } },
      { s3: { bucket: 'dr-reports', prefix: 'a/b/' } },
    ],
    [
      'everything',
      {
        s3: {
          ...{ bucket: 'dr-reports', prefix: 'x', endpoint: 'https://minio:9000', region: 'eu' },
          credentials: { accessKeyId: env, secretAccessKey: { file: '/run/key' }, sessionToken: env },
        },
      },
      {
        s3: {
          ...{ bucket: 'dr-reports', prefix: 'x/', endpoint: 'https://minio:9000', region: 'eu' },
          credentials: { accessKeyId: env, secretAccessKey: { file: '/run/key' }, sessionToken: env },
        },
      },
    ],
  ])('%s', (_name, raw, expected) => expect(config(raw).reports).toEqual(expected));

  it.each<[string, unknown, string]>([
    ['both', { dir: 'x', s3: { bucket: 'dr-reports' } }, 'reports'],
    ['no bucket', { s3: {} }, 'reports.s3.bucket'],
    ['a bucket that is a URL', { s3: { bucket: 's3://dr' } }, 'reports.s3.bucket'],
    ['a prefix that climbs', { s3: { bucket: 'dr-reports', prefix: 'a/../b' } }, 'reports.s3.prefix'],
    ['a prefix with a control character', { s3: { bucket: 'dr-reports', prefix: 'a\nb' } }, 'reports.s3.prefix'],
    ['a prefix that begins with a slash', { s3: { bucket: 'dr-reports', prefix: '/a' } }, 'reports.s3.prefix'],
    [
      'an endpoint with keys',
      { s3: { bucket: 'dr-reports', endpoint: `https://a:${SECRET}@s3` } },
      'reports.s3.endpoint',
    ],
    ['an endpoint that is none', { s3: { bucket: 'dr-reports', endpoint: 'minio:9000' } }, 'reports.s3.endpoint'],
    [
      'a key itself',
      { s3: { bucket: 'dr-reports', credentials: { accessKeyId: env, secretAccessKey: SECRET } } },
      'reports.s3.credentials.secretAccessKey',
    ],
    [
      'half of the keys',
      { s3: { bucket: 'dr-reports', credentials: { accessKeyId: env } } },
      'reports.s3.credentials.secretAccessKey',
    ],
  ])('refuses %s, and quotes nothing', (_name, raw, field) => {
    let refusal: unknown;
    try {
      config(raw);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject({ code: 'CONFIG_INVALID', details: { field } });
    expect((refusal as Error).message).not.toContain(SECRET);
  });
});

it('the address of the UI is an address', () => {
  expect(config(undefined, { ui: 'https://ui.internal' }).temporal).toEqual({ ui: 'https://ui.internal' });
  expect(() => config(undefined, { ui: 'ui.internal' })).toThrow(/temporal.ui/);
});
