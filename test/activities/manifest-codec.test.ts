import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { encodeManifest, parseManifest } from '../../src/activities/manifest-codec.js';
import { RecoveryError } from '../../src/domain/errors.js';
import type { Manifest, ManifestTable } from '../../src/domain/manifest.js';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

function table(change: Partial<ManifestTable> = {}): ManifestTable {
  return {
    ...{ database: 'db', table: 't', uuid: '3f2504e0-4f89-41d3-9a0c-0305e82c3301', engine: 'ReplicatedMergeTree' },
    engineFull: "ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}') ORDER BY a",
    ...{
      partitionKey: '',
      sortingKey: 'a',
      primaryKey: 'a',
      samplingKey: '',
      createQuery: 'CREATE TABLE db.t (`a` Int32)',
    },
    parts: { parts: 3, rows: 30, digest: '18446744073709551615' },
    partitionIds: ['all'],
    source: { database: 'db', table: 't' },
    ...change,
  };
}

function manifest(change: Partial<Manifest> = {}): Manifest {
  return {
    ...{
      version: 1,
      cluster: 'prod',
      shard: '01',
      replica: 'r1',
      backup: 'nightly-1',
      takenAt: '2026-11-24T10:00:00.000Z',
    },
    ...{ serverVersion: '26.7.1', macros: { shard: '01', replica: 'r1', '7': 'x' } },
    databases: [{ name: 'db', engine: 'Atomic' }],
    tables: [table(), table({ table: 't2', parts: null, partitionIds: [] })],
    unfinishedMutations: [{ database: 'db', table: 't', mutationId: '0000000001', command: 'UPDATE a = 1 WHERE 1' }],
    keeperState: [{ what: 'roles', detail: '3' }],
    ...change,
  };
}

/** Writes any head and tables with a sha256 that fits: what somebody may forge or a defect may write. */
function forge(head: Record<string, unknown> | string, tables: (Record<string, unknown> | string)[]): string[] {
  const lines = tables.map((each) => (typeof each === 'string' ? each : JSON.stringify(each)));
  const text = typeof head === 'string' ? head : JSON.stringify({ ...head, tables: lines.length });
  const unsigned = JSON.stringify(JSON.parse(text));
  return [`${text.slice(0, -1)},"sha256":"${sha256([unsigned, ...lines].join('\n'))}"}`, ...lines];
}

const { tables: _tables, ...head } = manifest();
const one = { ...table() };

function code(lines: string[]): string {
  try {
    parseManifest(lines, sha256);
    return 'accepted';
  } catch (error) {
    return error instanceof RecoveryError ? error.code : `${String(error)}`;
  }
}

describe('a manifest', () => {
  it.each<[row: string, written: Manifest]>([
    ['two tables', manifest()],
    ['no tables', manifest({ tables: [] })],
    [
      'awkward names',
      manifest({ tables: [table({ database: 'a.b', table: '`; DROP\n\u2028"\\ 🦆', createQuery: 'x\ny' })] }),
    ],
    [
      'names that collide when joined',
      manifest({ tables: [table({ database: 'a.b', table: 'c' }), table({ database: 'a', table: 'b.c' })] }),
    ],
    [
      'the largest count',
      manifest({ tables: [table({ parts: { parts: 1, rows: Number.MAX_SAFE_INTEGER, digest: '0' } })] }),
    ],
    ['a thousand tables', manifest({ tables: Array.from({ length: 1000 }, (_, i) => table({ table: `t${i}` })) })],
  ])('comes back as it was written: %s', (_row, written) => {
    const lines = encodeManifest(written, sha256);
    expect(lines).toHaveLength(written.tables.length + 1);
    expect(lines.every((line) => !line.includes('\n'))).toBe(true);
    expect(parseManifest(lines, sha256)).toEqual(written);
  });

  it('the forge of these tests writes what is accepted', () => {
    expect(code(forge(head, [one]))).toBe('accepted');
  });

  it('is refused wherever it is cut off', () => {
    const lines = encodeManifest(manifest(), sha256);
    const text = lines.join('\n');
    for (let end = 0; end < text.length; end++)
      expect(code(text.slice(0, end).split('\n')), `after ${end} characters`).toBe('MANIFEST_INVALID');
    for (let count = 0; count < lines.length; count++)
      expect(code(lines.slice(0, count)), `after ${count} lines`).toBe('MANIFEST_INVALID');
  });

  it('is refused wherever one byte is altered, unless it says the same all the same', () => {
    const text = encodeManifest(manifest(), sha256).join('\n');
    for (let at = 0; at < text.length; at++)
      for (const flip of [1, 32]) {
        const byte = String.fromCharCode(text.charCodeAt(at) ^ flip);
        const lines = (text.slice(0, at) + byte + text.slice(at + 1)).split('\n');
        const answer = code(lines);
        if (answer === 'accepted') expect(parseManifest(lines, sha256)).toEqual(manifest());
        else expect(answer, `byte ${at}`).toMatch(/^MANIFEST_(INVALID|NEWER)$/);
      }
  });

  it.each<[row: string, lines: string[], expected?: string]>([
    ['no lines', []],
    ['an empty line', ['']],
    ['null', ['null']],
    ['a list', ['[]']],
    ['a text', ['"x"']],
    ['a depth bomb', ['['.repeat(200_000) + ']'.repeat(200_000)]],
    [
      'a depth bomb in a known field',
      [
        JSON.stringify({ ...head, macros: 0 }).replace(
          '"macros":0',
          `"macros":${'['.repeat(9_000)}${']'.repeat(9_000)}`,
        ),
      ],
    ],
    ['version 2', forge({ ...head, version: 2 }, [one]), 'MANIFEST_NEWER'],
    ['version 2, of another shape', ['{"version":2,"new":true}'], 'MANIFEST_NEWER'],
    ['version 0', forge({ ...head, version: 0 }, [one])],
    ['version -1', forge({ ...head, version: -1 }, [one])],
    ['version as a text', forge({ ...head, version: '1' }, [one])],
    ['no version', forge({ ...head, version: undefined }, [one])],
    ['an unknown field in the head', forge({ ...head, extra: 1 }, [one])],
    ['an unknown field in a table', forge(head, [{ ...one, extra: 1 }])],
    ['negative rows', forge(head, [{ ...one, parts: { parts: 1, rows: -1, digest: '1' } }])],
    ['negative parts', forge(head, [{ ...one, parts: { parts: -1, rows: 1, digest: '1' } }])],
    ['half a row', forge(head, [{ ...one, parts: { parts: 1, rows: 0.5, digest: '1' } }])],
    ['rows over 2^53', forge(head, [{ ...one, parts: { parts: 1, rows: 2 ** 53, digest: '1' } }])],
    ['rows as a text', forge(head, [{ ...one, parts: { parts: 1, rows: '1', digest: '1' } }])],
    ['a negative digest', forge(head, [{ ...one, parts: { parts: 1, rows: 1, digest: '-1' } }])],
    ['a digest of letters', forge(head, [{ ...one, parts: { parts: 1, rows: 1, digest: 'abc' } }])],
    ['a digest that is no UInt64', forge(head, [{ ...one, parts: { parts: 1, rows: 1, digest: '9'.repeat(21) } }])],
    ['a table twice', forge(head, [one, one])],
    ['a table twice, with other contents', forge(head, [one, { ...one, parts: null }])],
    ['a partition id with a quote', forge(head, [{ ...one, partitionIds: ["all' FROM x"] }])],
    ['a partition id with a path', forge(head, [{ ...one, partitionIds: ['../all'] }])],
    ['an empty partition id', forge(head, [{ ...one, partitionIds: [''] }])],
    ['a partition id with a newline', forge(head, [{ ...one, partitionIds: ['all\n'] }])],
    ['a UUID that is none', forge(head, [{ ...one, uuid: "'; DROP" }])],
    ['an empty table name', forge(head, [{ ...one, table: '' }])],
    ['a table name of 10 KB', forge(head, [{ ...one, table: 'x'.repeat(10_240) }])],
    ['no source', forge(head, [{ ...one, source: undefined }])],
    [
      '__proto__ in the head',
      forge(JSON.stringify({ ...head, tables: 1 }).replace('{', '{"__proto__":{"x":1},'), [one]),
    ],
    ['__proto__ in a table', forge(head, [JSON.stringify(one).replace('{', '{"__proto__":{"parts":null},')])],
    [
      '__proto__ instead of a field',
      forge(head, [JSON.stringify({ ...one, source: undefined }).replace('{', '{"__proto__":{"source":{}},')]),
    ],
    [
      'a macro __proto__ that is no text',
      forge(JSON.stringify({ ...head, tables: 1 }).replace('"macros":{', '"macros":{"__proto__":{"x":1},'), [one]),
    ],
    [
      'a key twice in the head',
      forge(JSON.stringify({ ...head, tables: 1 }).replace('{', '{"cluster":"other",'), [one]),
    ],
    ['a key twice in a table', forge(head, [JSON.stringify(one).replace('{', '{"table":"other",')])],
    ['a line too many', [...encodeManifest(manifest(), sha256), JSON.stringify(table({ table: 'extra' }))]],
    [
      'lines in another order',
      encodeManifest(manifest(), sha256).map((line, i, all) => (i === 0 ? line : (all[3 - i] as string))),
    ],
    ['no sha256', [JSON.stringify({ ...head, tables: 0 })]],
    ['a short sha256', [JSON.stringify({ ...head, tables: 0, sha256: 'abc' })]],
    ['the sha256 of something else', [JSON.stringify({ ...head, tables: 0, sha256: sha256('') })]],
    ['a table that is not JSON', forge(head, ['{"database":']), 'MANIFEST_INVALID'],
  ])('is refused: %s', (_row, lines, expected = 'MANIFEST_INVALID') => {
    expect(code(lines)).toBe(expected);
  });

  it('says that it is truncated where whole lines are missing', () => {
    expect(() => parseManifest(encodeManifest(manifest(), sha256).slice(0, -1), sha256)).toThrow(/truncated/);
  });

  it('does not echo what may be long', () => {
    try {
      parseManifest(forge(head, [{ ...one, table: 'x'.repeat(10_240) }]), sha256);
      expect.unreachable();
    } catch (error) {
      expect((error as Error).message.length).toBeLessThan(400);
    }
  });
});
