import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/domain/errors.js';
import {
  checkName,
  checkPathSegment,
  cloneName,
  compilePattern,
  literal,
  MAX_NAME_LENGTH,
  quote,
  quoteTable,
  tableKey,
  unitLabel,
  type CloneRole,
  type TableName,
} from '../../src/domain/names.js';
import { asideName } from '../../src/domain/statements.js';

const AWKWARD = [
  'plain',
  'with space',
  'a.b',
  '50%',
  'a-b',
  'back`tick',
  'back\\slash',
  '\\',
  '`',
  '\\`',
  '`\\',
  "it's",
  '"double"',
  'таблица',
  '表',
  '🦆',
  '`; DROP TABLE x; --',
  '\\`; DROP TABLE x; --',
  '.inner_id.3f2504e0-4f89-41d3-9a0c-0305e82c3301',
];

/** Reads a quoted text the way ClickHouse's lexer does; null when it ends early or late. */
function decode(quoted: string, mark: string): string | null {
  if (!quoted.startsWith(mark)) return null;
  let text = '';
  for (let i = 1; i < quoted.length; i++) {
    if (quoted[i] === '\\') text += quoted[++i] ?? '';
    else if (quoted[i] === mark) return i === quoted.length - 1 ? text : null;
    else text += quoted[i] ?? '';
  }
  return null;
}

const code = (act: () => unknown): string => {
  try {
    act();
    return 'accepted';
  } catch (error) {
    return error instanceof RecoveryError ? error.code : String(error);
  }
};

describe('quoting', () => {
  it.each(AWKWARD)('an identifier comes back as it was: %s', (name) => {
    expect(decode(quote(name), '`')).toBe(name);
    expect(quoteTable({ database: name, table: name })).toBe(`${quote(name)}.${quote(name)}`);
  });

  it.each(AWKWARD)('a literal comes back as it was: %s', (text) => {
    expect(decode(literal(text), "'")).toBe(text);
  });
});

describe('table keys', () => {
  it('are different for different tables', () => {
    const pieces = ['a', 'b', '.', '\\', 'a.b', 'a\\', '\\.', 'a\\.b', '..', '\\\\'];
    const keys = new Map<string, string>();
    for (const database of pieces)
      for (const table of pieces) {
        const key = tableKey({ database, table });
        expect(keys.get(key), `${key} is taken`).toBeUndefined();
        keys.set(key, JSON.stringify([database, table]));
      }
  });

  it('are what a person would write', () => {
    expect(tableKey({ database: 'db', table: 'events' })).toBe('db.events');
    expect(tableKey({ database: 'my.db', table: 'e.v' })).toBe('my\\.db.e.v');
  });
});

describe('names that are refused', () => {
  it.each<[row: string, name: string]>([
    ['empty', ''],
    ['10 KB', 'x'.repeat(10_240)],
    ['one character too long', 'x'.repeat(MAX_NAME_LENGTH + 1)],
    ['NUL', 'a\0b'],
    ['newline', 'a\nb'],
    ['trailing newline', 'a\n'],
    ['carriage return', 'a\rb'],
    ['escape', 'a\u001b[31mb'],
    ['DEL', 'a\u007fb'],
    ['C1 control', 'a\u0085b'],
    ['right-to-left override', 'a\u202eb'],
    ['left-to-right mark', 'a\u200eb'],
    ['isolate', 'a\u2066b'],
    ['Arabic letter mark', 'a\u061cb'],
    ['zero-width space', 'a\u200bb'],
    ['word joiner', 'a\u2060b'],
    ['byte order mark', '\ufeffa'],
    ['line separator', 'a\u2028b'],
    ['paragraph separator', 'a\u2029b'],
  ])('%s', (_row, name) => {
    expect(code(() => checkName(name, 'cluster'))).toBe('INPUT_INVALID');
    try {
      checkName(name, 'cluster');
    } catch (error) {
      expect(error).toMatchObject({ details: { field: 'cluster' } });
      if (name.length > 1) expect((error as Error).message).not.toContain(name);
    }
  });

  it.each([...AWKWARD, 'x'.repeat(MAX_NAME_LENGTH)])('is accepted and not cleaned: %s', (name) => {
    expect(checkName(name, 'cluster')).toBe(name);
  });

  it.each<[row: string, name: string]>([
    ['parent folder', '..'],
    ['parent folder inside', '../../etc'],
    ['encoded parent folder', '..%2f..'],
    ['dots inside', 'a..b'],
    ['absolute', '/etc/passwd'],
    ['separator', 'a/b'],
    ['Windows separator', 'a\\b'],
    ['hidden', '.ssh'],
    ['leading minus', '-rf'],
    ['space', 'a b'],
    ['trailing space', 'a '],
    ['trailing newline', 'a\n'],
    ['trailing dot', 'a.'],
    ['quote', "a'b"],
    ['not ASCII', 'é'],
    ['empty', ''],
  ])('no path segment: %s', (_row, name) => {
    expect(code(() => checkPathSegment(name, 'backup'))).toBe('INPUT_INVALID');
  });

  it.each(['nightly-1', '2026-11-24T10:00:00', 'v1.2+3', 'A_b'])('a path segment: %s', (name) => {
    expect(checkPathSegment(name, 'backup')).toBe(name);
  });
});

describe('names of clones', () => {
  const roles: CloneRole[] = ['making', 'clone', 'staging', 'held'];
  const long = (tail: string): TableName => ({ database: 'd', table: 'long '.repeat(38) + tail });
  /** What a name is as a file name: ClickHouse writes all bytes but letters, digits and _ as %XX. */
  const fileBytes = (name: string) =>
    [...Buffer.from(name)].reduce((sum, byte) => sum + (/\w/.test(String.fromCharCode(byte)) ? 1 : 3), 0);

  it('are readable where they fit', () => {
    expect(cloneName('clone', { database: 'db', table: 'events' })).toEqual({
      database: '_recovery',
      table: 'clone db.events',
    });
  });

  it.each([
    ...AWKWARD.map((table) => ({ database: table, table })),
    long(''),
    { database: '表'.repeat(60), table: '🦆'.repeat(100) },
  ])('fit in a file name, and so does what DROP keeps: $database.$table', (name) => {
    for (const role of roles) {
      const { table } = cloneName(role, name);
      // metadata_dropped/_recovery.<table>.<36 characters of UUID>.sql
      expect('_recovery.'.length + fileBytes(table) + '..sql'.length + 36).toBeLessThanOrEqual(255);
    }
  });

  it('still fit when they are set aside', () => {
    for (let length = 1; length <= MAX_NAME_LENGTH; length++) {
      const { table } = cloneName('clone', { database: 'd', table: 'x'.repeat(length) });
      const aside = asideName(table, '3f2504e0-4f89-41d3-9a0c-0305e82c3301');
      expect('_recovery.'.length + fileBytes(aside) + '..sql'.length + 36, `${length}`).toBeLessThanOrEqual(255);
    }
  });

  it('are set aside under different names by different recoveries', () => {
    expect(asideName('clone d.t', 'recovery-prod-1')).not.toBe(asideName('clone d.t', 'recovery-prod-2'));
  });

  it('are shortened with a hash where they do not fit', () => {
    const { table } = cloneName('staging', long(''));
    expect(table).toMatch(/^staging [0-9a-f]{16}$/);
    expect(cloneName('staging', long('')).table).toBe(table);
  });

  it('never collide, shortened or not', () => {
    const seen = new Map<string, string>();
    const add = (role: CloneRole, name: TableName) => {
      const key = cloneName(role, name).table;
      const whose = JSON.stringify([role, name]);
      if (seen.has(key)) expect.unreachable(`${whose} and ${seen.get(key)} share ${key}`);
      seen.set(key, whose);
    };
    for (const role of roles) {
      for (const database of AWKWARD) for (const table of AWKWARD) add(role, { database, table });
      add(role, long(''));
    }
    const alphabet = [...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.`表🦆'];
    for (const one of alphabet)
      for (const two of alphabet) for (const three of ['', 'x', 'y']) add('clone', long(one + two + three));
  });

  it('label for people stays short', () => {
    expect(unitLabel({ database: 'd', table: 't' }, '01', 'r1')).toBe('d.t @ 01/r1');
    expect(unitLabel(long('x'), '01', 'r1').length).toBeLessThanOrEqual(120);
  });
});

describe('table patterns', () => {
  it.each<[pattern: string, database: string, table: string, matches: boolean]>([
    ['db.t', 'db', 't', true],
    ['db.t', 'db', 'tt', false],
    ['db.t', 'xdb', 't', false],
    ['db.t', 'DB', 't', false],
    ['db.*', 'db', 'anything at all', true],
    ['db.*', 'db2', 't', false],
    ['*.*', 'db', 't', true],
    ['*.events', 'db', 'events', true],
    ['*.events', 'db', 'my_events', false],
    ['db.e*s', 'db', 'events', true],
    ['db.e*s', 'db', 'es', true],
    ['db.*', 'db', 'new\nline', true],
    ['db.t?', 'db', 't', false],
    ['db.t?', 'db', 't?', true],
    ['db.(a|b)', 'db', 'a', false],
    ['db.(a|b)', 'db', '(a|b)', true],
    ['db.[ab]', 'db', 'a', false],
    ['db.t+$^{2}', 'db', 't+$^{2}', true],
    ['db.表*', 'db', '表1', true],
    ['dbxt', 'db', 't', false],
    ['my\\.db.t', 'my.db', 't', true],
    ['my\\.db.t', 'myxdb', 't', false],
    ['my\\.db.*', 'my.db', 'a.b', true],
    ['db.my\\.table', 'db', 'my.table', true],
    ['db.my.table', 'db', 'my.table', true],
    ['db.*', 'db.archive', 't', false],
    ['db.archive.t', 'db.archive', 't', false],
    ['*.t', 'db', 'x.t', false],
  ])('%s and %s / %s: %s', (pattern, database, table, matches) => {
    expect(compilePattern(pattern)({ database, table })).toBe(matches);
  });

  it.each<[row: string, pattern: string]>([
    ['stars in a row', `db.${'*'.repeat(400)}b`],
    ['stars and letters', `db.${'*a'.repeat(200)}b`],
    ['stars and dots', `${'*.'.repeat(100)}b`],
  ])('answer at once: %s', (_row, pattern) => {
    const name = { database: 'db', table: 'a.'.repeat(100) };
    const ask = () => compilePattern(pattern)(name);
    // The limit of the vm stops a regular expression that backtracks for years.
    expect(runInNewContext('ask()', { ask }, { timeout: 500 })).toBe(false);
  });
});
