import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { parseConfig } from '../../src/config/checks.js';
import { loadConfig, parseYaml } from '../../src/config/load.js';
import { configJsonSchema } from '../../src/config/schema.js';
import { resolveSecret } from '../../src/config/secrets.js';
import { RecoveryError } from '../../src/domain/errors.js';
import { DEFAULT_POLICY } from '../../src/domain/policy.js';

const CANARY = 'canary-7f3a';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tcr-config-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** recovery.yaml of the README, as data, to be spoilt by a test. */
function example() {
  return {
    clusters: {
      prod: {
        keeper: { hosts: ['127.0.0.1:2181'] },
        nodes: [
          {
            name: 'a',
            shard: '01',
            replica: 'r1',
            url: 'http://127.0.0.1:8123',
            user: 'default',
            password: { env: 'CH_PASSWORD' },
          },
          { name: 'b', shard: '01', replica: 'r2', url: 'http://127.0.0.1:8124' },
        ] as Record<string, unknown>[],
        backups: { nightly: { kind: 'native', to: "Disk('backups', '{cluster}/{shard}/{name}')" } },
      },
    } as Record<string, unknown>,
    policies: { approval: 'required', lanesPerNode: 256 } as Record<string, unknown>,
  };
}
function clickHouseBackup() {
  return {
    kind: 'clickhouse-backup',
    api: { a: 'https://127.0.0.1:7171' } as unknown,
    user: 'ops',
    password: { env: 'CB_PASSWORD' },
    tls: { ca: { file: '/etc/ca.pem' } },
    metadata: { a: '/var/lib/clickhouse/backup' },
  };
}

type Example = ReturnType<typeof example>;
type Prod = {
  keeper: Record<string, unknown>;
  nodes: Record<string, unknown>[];
  backups: Record<string, unknown>;
  policies?: unknown;
};
const prod = (config: Example) => config.clusters['prod'] as Prod;

function refusal(action: () => unknown): RecoveryError {
  try {
    action();
  } catch (error) {
    if (error instanceof RecoveryError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

async function refusalOf(path: string): Promise<RecoveryError> {
  const error: unknown = await loadConfig(path).catch((cause: unknown) => cause);
  if (error instanceof RecoveryError) return error;
  throw new Error('it was not refused', { cause: error });
}

function file(name: string, content: string | Uint8Array): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}

describe('a good configuration', () => {
  it('is read from YAML, with defaults and the destination taken apart', async () => {
    const config = await loadConfig(file('good.yaml', stringify(example())));
    const cluster = config.clusters['prod']!;
    expect(cluster.policy).toEqual(DEFAULT_POLICY);
    expect(cluster.nodes.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(cluster.backups['nightly']).toEqual({
      kind: 'native',
      to: { engine: 'Disk', disk: 'backups', path: '{cluster}/{shard}/{name}' },
    });
    expect(config.reports).toEqual({ dir: './recovery-reports' });
  });

  it("lets a cluster's policies override those at the top, which override the defaults", () => {
    const config = example();
    config.policies = { lanesPerNode: 8, approval: 'auto' };
    prod(config).policies = { lanesPerNode: 2 };
    expect(parseConfig(config).clusters['prod']!.policy).toEqual({
      ...DEFAULT_POLICY,
      approval: 'auto',
      lanesPerNode: 2,
    });
  });

  it.each([
    ["File('/backups/{name}')", { engine: 'File', path: '/backups/{name}' }],
    [
      "S3('https://s3.example.com/b/{cluster}/{name}')",
      { engine: 'S3', path: 'https://s3.example.com/b/{cluster}/{name}' },
    ],
    ["S3(backups_s3, '{name}')", { engine: 'S3', collection: 'backups_s3', path: '{name}' }],
    [" Disk( 'it\\'s' ,'{name}') ", { engine: 'Disk', disk: "it's", path: '{name}' }],
  ])('takes the destination %s', (to, expected) => {
    const config = example();
    prod(config).backups = { nightly: { kind: 'native', to } };
    expect(parseConfig(config).clusters['prod']!.backups['nightly']).toEqual({ kind: 'native', to: expected });
  });

  it('takes a clickhouse-backup with one API for each shard', () => {
    const config = example();
    const backup = clickHouseBackup();
    prod(config).backups = { cb: backup };
    expect(parseConfig(config).clusters['prod']!.backups['cb']).toEqual(backup);
    prod(config).backups = { cb: { kind: 'clickhouse-backup', api: { b: 'http://127.0.0.1:7171/proxy' } } };
    expect(parseConfig(config).clusters['prod']!.backups['cb']).toMatchObject({ kind: 'clickhouse-backup' });
  });

  it('takes cold copies, where the cluster has agents', () => {
    const config = example();
    Object.assign(prod(config), { backups: { copies: { kind: 'cold' } }, cold: { keepers: { zk: '127.0.0.1:2181' } } });
    expect(parseConfig(config).clusters['prod']!.backups['copies']).toEqual({ kind: 'cold' });
  });

  it('has a JSON Schema', () => {
    const schema = configJsonSchema();
    expect(schema).toMatchObject({ type: 'object', required: ['clusters'], additionalProperties: false });
  });
});

describe('a bad configuration is refused as CONFIG_INVALID, with its field', () => {
  const node = (change: Record<string, unknown>) => (config: Example) => Object.assign(prod(config).nodes[0]!, change);
  const to = (text: unknown) => (config: Example) => {
    prod(config).backups = { nightly: { kind: 'native', to: text } };
  };
  const twoShards = (text: string) => (config: Example) => {
    to(text)(config);
    prod(config).nodes[1]!['shard'] = '02';
  };
  const policy = (key: string, value: unknown) => (config: Example) => {
    config.policies = { [key]: value };
  };
  const NODE = 'clusters.prod.nodes.0';
  const TO = 'clusters.prod.backups.nightly.to';
  const cb = (fields: object) => (config: Example) => {
    prod(config).backups = { cb: { ...clickHouseBackup(), ...fields } };
  };
  const CB = 'clusters.prod.backups.cb';

  it.each<[string, (config: Example) => unknown, string]>([
    ['an unknown field at the top', (c) => Object.assign(c, { extra: 1 }), 'extra'],
    ['an unknown field of a node', node({ pasword: 'x' }), `${NODE}.pasword`],
    ['no cluster', (c) => (c.clusters = {}), 'clusters'],
    ['no node', (c) => (prod(c).nodes = []), 'clusters.prod.nodes'],
    ['a cluster name with a slash', (c) => Object.assign(c.clusters, { 'a/b': prod(c) }), 'clusters.<name>'],
    ['a cluster called ..', (c) => Object.assign(c.clusters, { '..': prod(c) }), 'clusters.<name>'],
    [
      'a backup called latest',
      (c) => (prod(c).backups = { latest: prod(c).backups['nightly'] }),
      'clusters.prod.backups.latest',
    ],
    [
      'a backup with a space',
      (c) => (prod(c).backups = { 'a b': prod(c).backups['nightly'] }),
      'clusters.prod.backups.<name>',
    ],
    ['a node name with a direction override', node({ name: 'a\u202eb' }), `${NODE}.name`],
    ['a node name of 10 KB', node({ name: 'a'.repeat(10_240) }), `${NODE}.name`],
    ['an empty node name', node({ name: '' }), `${NODE}.name`],
    ['a shard that is a number', node({ shard: 1 }), `${NODE}.shard`],
    ['a shard that is a path', node({ shard: '../01' }), `${NODE}.shard`],
    ['a replica with a line break', node({ replica: 'r\n1' }), `${NODE}.replica`],
    ['two nodes with one name', node({ name: 'b' }), 'clusters.prod.nodes.1.name'],
    ['two nodes that are one replica', node({ replica: 'r2' }), 'clusters.prod.nodes.1.replica'],
    ['another protocol', node({ url: 'ftp://127.0.0.1' }), `${NODE}.url`],
    ['no URL', node({ url: '127.0.0.1:8123' }), `${NODE}.url`],
    ['credentials in a URL', node({ url: `http://u:${CANARY}@127.0.0.1:8123` }), `${NODE}.url`],
    ['an empty user in a URL', node({ url: 'http://@127.0.0.1:8123' }), `${NODE}.url`],
    ['a URL with a query', node({ url: `http://127.0.0.1:8123/?password=${CANARY}` }), `${NODE}.url`],
    ['a URL with an empty query', node({ url: 'http://127.0.0.1:8123/?' }), `${NODE}.url`],
    ['a URL with a fragment', node({ url: 'http://127.0.0.1:8123/#a' }), `${NODE}.url`],
    ['tls for http', node({ tls: { insecure: true } }), `${NODE}.tls`],
    ['a literal password', node({ password: CANARY }), `${NODE}.password`],
    ['a password of two kinds', node({ password: { env: 'A', file: CANARY } }), `${NODE}.password`],
    ['no keeper', (c) => delete (prod(c) as Partial<Prod>).keeper, 'clusters.prod.keeper'],
    ['no keeper host', (c) => (prod(c).keeper['hosts'] = []), 'clusters.prod.keeper.hosts'],
    ['a keeper without port', (c) => (prod(c).keeper['hosts'] = ['zk1']), 'clusters.prod.keeper.hosts.0'],
    ['a keeper with port 0', (c) => (prod(c).keeper['hosts'] = ['zk1:0']), 'clusters.prod.keeper.hosts.0'],
    ['a keeper with port 65536', (c) => (prod(c).keeper['hosts'] = ['zk1:65536']), 'clusters.prod.keeper.hosts.0'],
    ['two keepers in one text', (c) => (prod(c).keeper['hosts'] = ['a:1,b:2']), 'clusters.prod.keeper.hosts.0'],
    ['a keeper twice', (c) => (prod(c).keeper['hosts'] = ['a:1', 'a:1']), 'clusters.prod.keeper.hosts.1'],
    ['a chroot without slash', (c) => (prod(c).keeper['chroot'] = 'ch'), 'clusters.prod.keeper.chroot'],
    ['a chroot of another server list', (c) => (prod(c).keeper['chroot'] = '/a,b:1'), 'clusters.prod.keeper.chroot'],
    [
      'an unknown kind of backup',
      (c) => (prod(c).backups = { nightly: { kind: 'tape' } }),
      'clusters.prod.backups.nightly.kind',
    ],
    [
      'cold copies without agents',
      (c) => (prod(c).backups = { copies: { kind: 'cold' } }),
      'clusters.prod.backups.copies',
    ],
    ['no kind of backup', (c) => (prod(c).backups = { nightly: {} }), 'clusters.prod.backups.nightly.kind'],
    ['a destination that is a number', to(5), TO],
    ['a destination of another engine', to("Null('{name}')"), TO],
    ['a destination and more SQL', to("File('{name}') SETTINGS id = 'x'"), TO],
    ['a destination with an open quote', to("File('{name})"), TO],
    ['a destination without {name}', to("Disk('b', '{cluster}')"), TO],
    ['an unknown placeholder', to("Disk('b', '{name}/{host}')"), TO],
    ['an open placeholder', to("Disk('b', '{name}/{')"), TO],
    ['placeholders that run into each other', to("Disk('b', '{shard}-{name}')"), TO],
    ['a parent folder', to("Disk('b', '../{name}')"), TO],
    ['a placeholder for the disk', to("Disk('{cluster}', '{name}')"), TO],
    ['keys of S3', to(`S3('https://s3/b/{name}', 'key', '${CANARY}')`), TO],
    ['credentials in a URL of S3', to(`S3('https://u:${CANARY}@s3/{name}')`), TO],
    ['a signed URL of S3', to(`S3('https://s3/{name}?sig=${CANARY}')`), TO],
    ['S3 without http', to("S3('s3/{name}')"), TO],
    ['several shards without {shard}', twoShards("Disk('b', '{name}')"), TO],
    ['a literal password of an API', cb({ password: CANARY }), `${CB}.password`],
    ['credentials in the URL of an API', cb({ api: { a: `https://u:${CANARY}@127.0.0.1` } }), `${CB}.api.a`],
    ['a password in the query of an API', cb({ api: { a: `https://127.0.0.1?pass=${CANARY}` } }), `${CB}.api.a`],
    ['an API without protocol', cb({ api: { a: '127.0.0.1:7171' } }), `${CB}.api.a`],
    ['an API of a node that is not there', cb({ api: { c: 'https://127.0.0.1' } }), `${CB}.api`],
    ['no API', cb({ api: {} }), `${CB}.api`],
    ['an API that is a list', cb({ api: ['https://127.0.0.1'] }), `${CB}.api`],
    ['tls for an API with http', cb({ api: { a: 'http://127.0.0.1' } }), `${CB}.tls`],
    ['a password without a user', cb({ user: undefined }), `${CB}.user`],
    ['metadata of a node without API', cb({ metadata: { b: '/backup' } }), `${CB}.metadata`],
    ['metadata in a relative folder', cb({ metadata: { a: 'backup' } }), `${CB}.metadata.a`],
    ['metadata in a parent folder', cb({ metadata: { a: '/x/../backup' } }), `${CB}.metadata.a`],
    ['a destination of clickhouse-backup', cb({ to: "Disk('b', '{name}')" }), `${CB}.to`],
    [
      'a shard that no API reaches',
      (c) => {
        prod(c).nodes[1]!['shard'] = '02';
        cb({})(c);
      },
      `${CB}.api`,
    ],
    ['a negative number', policy('lanesPerNode', -1), 'policies.lanesPerNode'],
    ['zero', policy('lanesPerNode', 0), 'policies.lanesPerNode'],
    ['a number as text', policy('statementDeadlineSeconds', '5'), 'policies.statementDeadlineSeconds'],
    ['NaN', policy('statementDeadlineSeconds', Number.NaN), 'policies.statementDeadlineSeconds'],
    ['infinity', policy('approvalTimeoutSeconds', Number.POSITIVE_INFINITY), 'policies.approvalTimeoutSeconds'],
    ['half a second', policy('heartbeatTimeoutSeconds', 0.5), 'policies.heartbeatTimeoutSeconds'],
    ['2^53', policy('approvalTimeoutSeconds', 2 ** 53), 'policies.approvalTimeoutSeconds'],
    ['an unknown choice', policy('approval', 'maybe'), 'policies.approval'],
    ['an unknown policy', policy('lanes', 1), 'policies.lanes'],
    ['a policy of a cluster', (c) => (prod(c).policies = { lanesPerNode: '5' }), 'clusters.prod.policies.lanesPerNode'],
    ['an empty folder of reports', (c) => Object.assign(c, { reports: { dir: '' } }), 'reports.dir'],
  ])('%s', (_, spoil, field) => {
    const config = example();
    spoil(config);
    const error = refusal(() => parseConfig(config));
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', details: { field } });
    expect(error.message).not.toContain(CANARY);
    expect(error.message.length).toBeLessThan(700);
  });

  it.each([null, undefined, [], 'text', 5])('%j instead of a mapping', (value) => {
    expect(refusal(() => parseConfig(value))).toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('says what to do about a literal password and an unquoted shard', () => {
    const literal = example();
    node({ password: 'x' })(literal);
    expect(refusal(() => parseConfig(literal)).message).toContain('{ env: NAME } or { file: PATH }');
    const shard = example();
    node({ shard: 1 })(shard);
    expect(refusal(() => parseConfig(shard)).message).toContain('write it in quotes');
  });
});

describe('a bad file', () => {
  it('that is absent, or a folder, is CONFIG_NOT_FOUND', async () => {
    expect(await refusalOf(join(dir, 'absent.yaml'))).toMatchObject({ code: 'CONFIG_NOT_FOUND' });
    expect(await refusalOf(dir)).toMatchObject({ code: 'CONFIG_NOT_FOUND' });
  });

  it('that is too big or not UTF-8 is CONFIG_INVALID', async () => {
    expect(await refusalOf(file('big.yaml', `# ${'x'.repeat(1_048_576)}`))).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(await refusalOf(file('latin.yaml', Uint8Array.from([0x61, 0x3a, 0xe4])))).toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });

  it.each([
    ['duplicate keys', `a: 1\nb: 2\na: ${CANARY}\n`, 'line 3'],
    ['a bad indent', `clusters:\n  prod: 1\n bad: ${CANARY}\n`, 'line 3'],
    ['an open quote', `a: 1\nb: "${CANARY}\n`, 'line'],
    ['__proto__', 'a: 1\n__proto__:\n  b: 1\n', 'line 2'],
    ['a deep __proto__', 'a:\n  b:\n    "__proto__": 1\n', 'line 3'],
    ['constructor', 'clusters:\n  constructor: {}\n', 'line 2'],
    ['two documents', 'a: 1\n---\na: 2\n', ''],
    ['an unknown tag', `a: !!js/function "${CANARY}"\n`, 'line 1'],
    ['a key that is a list', '[a, b]: 1\n', 'line 1'],
    ['an unknown alias', 'a: *b\n', ''],
    [
      'many aliases',
      `a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [${'*a,'.repeat(20)}]\nc: &c [${'*b,'.repeat(20)}]\nd: [${'*c,'.repeat(20)}]\n`,
      '',
    ],
    ['nesting', `a: ${'['.repeat(2_000)}${']'.repeat(2_000)}\n`, 'nested too deep'],
    // Without a check before it, the parser ends the process: V8 does not throw when it is out of stack in a RegExp.
    ['an open list of lists', '['.repeat(200_000), 'nested too deep'],
    ['a list of lists', '- '.repeat(200_000), 'nested too deep'],
  ])('with %s is CONFIG_INVALID', (_, text, where) => {
    const error = refusal(() => parseYaml(text));
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(where);
    expect(error.message).not.toContain(CANARY);
  });

  it('that is empty is CONFIG_INVALID', async () => {
    expect(await refusalOf(file('empty.yaml', ''))).toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

describe('a secret', () => {
  it('is read from the environment or a file, without the line break at its end', () => {
    process.env['TCR_TEST_SECRET'] = CANARY;
    expect(resolveSecret({ env: 'TCR_TEST_SECRET' })).toBe(CANARY);
    expect(resolveSecret({ file: file('secret', `${CANARY}\n`) })).toBe(CANARY);
    delete process.env['TCR_TEST_SECRET'];
  });

  it.each([{ env: 'TCR_TEST_ABSENT' }, { file: '/nonexistent/secret' }, { file: '/tmp' }, { file: '/dev/null' }])(
    'that is not there is SECRET_MISSING: %j',
    (ref) => {
      expect(refusal(() => resolveSecret(ref))).toMatchObject({ code: 'SECRET_MISSING' });
    },
  );

  it('that is empty or too big is SECRET_MISSING', () => {
    expect(refusal(() => resolveSecret({ file: file('none', '\n') }))).toMatchObject({ code: 'SECRET_MISSING' });
    const big = refusal(() => resolveSecret({ file: file('huge', CANARY.repeat(10_000)) }));
    expect(big).toMatchObject({ code: 'SECRET_MISSING' });
    expect(big.message).not.toContain(CANARY);
  });
});
