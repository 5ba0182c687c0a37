import { describe, expect, it } from 'vitest';
import { RecoveryError } from '../../src/domain/errors.js';
import { parseBackupRef, parseBackupRequest, parseRequest } from '../../src/domain/request.js';

const CANARY = 's3cr3t-canary';

function refusal(act: () => unknown): RecoveryError {
  try {
    act();
  } catch (error) {
    if (error instanceof RecoveryError) return error;
    throw error;
  }
  throw new Error('accepted');
}

describe('a request', () => {
  it.each<[row: string, value: Record<string, unknown>]>([
    ['the least', { cluster: 'prod' }],
    [
      'everything',
      {
        cluster: 'prod',
        backup: 'latest',
        tables: ['db1.*'],
        incident: 'INC-1',
        approval: 'auto',
        approve: 'a'.repeat(64),
        adopt: true,
      },
    ],
    ['awkward but legal names', { cluster: 'prod 1.eu', tables: ['my\\.db.t`; DROP', 'д.т', 'a-b.c d'] }],
    ['a repository', { cluster: 'prod', backup: 'nightly' }],
    ['a backup', { cluster: 'prod', backup: 'nightly/2026-11-24T10:00:00' }],
  ])('is taken as it is: %s', (_row, value) => {
    expect(parseRequest(value)).toEqual(value);
  });

  it.each<[row: string, value: unknown, field: string]>([
    ['nothing', undefined, '(input)'],
    ['null', null, '(input)'],
    ['a text', CANARY, '(input)'],
    ['a number', Number.NaN, '(input)'],
    ['a list', [CANARY], '(input)'],
    ['no cluster', {}, 'cluster'],
    ['cluster: empty', { cluster: '' }, 'cluster'],
    ['cluster: a number', { cluster: 5 }, 'cluster'],
    ['cluster: 10 KB', { cluster: CANARY.repeat(800) }, 'cluster'],
    ['cluster: NUL', { cluster: `${CANARY}\0` }, 'cluster'],
    ['cluster: newline', { cluster: `${CANARY}\nx` }, 'cluster'],
    ['cluster: right-to-left override', { cluster: `${CANARY}\u202e` }, 'cluster'],
    ['incident: newline', { cluster: 'prod', incident: `${CANARY}\n` }, 'incident'],
    ['incident: too long', { cluster: 'prod', incident: CANARY.repeat(50) }, 'incident'],
    ['backup: empty', { cluster: 'prod', backup: '' }, 'backup'],
    ['backup: parent folder', { cluster: 'prod', backup: `../${CANARY}` }, 'backup'],
    ['backup: parent folder in the name', { cluster: 'prod', backup: `nightly/../${CANARY}` }, 'backup'],
    ['backup: encoded', { cluster: 'prod', backup: `..%2f..%2f${CANARY}` }, 'backup'],
    ['backup: absolute', { cluster: 'prod', backup: `/etc/${CANARY}` }, 'backup'],
    ['backup: a folder too many', { cluster: 'prod', backup: `nightly/a/${CANARY}` }, 'backup'],
    ['backup: no name', { cluster: 'prod', backup: 'nightly/' }, 'backup'],
    ['backup: quote', { cluster: 'prod', backup: `nightly/'${CANARY}` }, 'backup'],
    ['backup: trailing space', { cluster: 'prod', backup: `nightly/${CANARY} ` }, 'backup'],
    ['backup: credentials in a URL', { cluster: 'prod', backup: `https://user:${CANARY}@host/x` }, 'backup'],
    ['tables: no list', { cluster: 'prod', tables: `${CANARY}.*` }, 'tables'],
    ['tables: none', { cluster: 'prod', tables: [] }, 'tables'],
    ['tables: too many', { cluster: 'prod', tables: Array.from({ length: 1001 }, () => 'a.b') }, 'tables'],
    ['tables: no dot', { cluster: 'prod', tables: ['a.b', CANARY] }, 'tables.1'],
    ['tables: no database', { cluster: 'prod', tables: [`.${CANARY}`] }, 'tables.0'],
    ['tables: no table', { cluster: 'prod', tables: [`${CANARY}.`] }, 'tables.0'],
    ['tables: only an escaped dot', { cluster: 'prod', tables: [`${CANARY}\\.x`] }, 'tables.0'],
    ['tables: newline', { cluster: 'prod', tables: [`a.${CANARY}\n`] }, 'tables.0'],
    ['tables: NUL in the database', { cluster: 'prod', tables: [`${CANARY}\0.b`] }, 'tables.0'],
    ['tables: a table of 10 KB', { cluster: 'prod', tables: [`a.${CANARY.repeat(800)}`] }, 'tables.0'],
    ['tables: a number', { cluster: 'prod', tables: ['a.b', 5] }, 'tables.1'],
    ['approval: another word', { cluster: 'prod', approval: CANARY }, 'approval'],
    ['approve: no hash', { cluster: 'prod', approve: CANARY }, 'approve'],
    ['approve: upper case', { cluster: 'prod', approve: 'A'.repeat(64) }, 'approve'],
    ['approve: a newline after it', { cluster: 'prod', approve: `${'a'.repeat(64)}\n` }, 'approve'],
    ['adopt: a text', { cluster: 'prod', adopt: 'true' }, 'adopt'],
    ['unknown field', { cluster: 'prod', timeout: CANARY }, 'timeout'],
    [
      'unknown field, __proto__',
      JSON.parse(`{"cluster":"prod","__proto__":{"adopt":"${CANARY}"}}`) as unknown,
      '__proto__',
    ],
    [
      'depth bomb',
      { cluster: 'prod', tables: JSON.parse('['.repeat(5_000) + ']'.repeat(5_000)) as unknown },
      'tables.0',
    ],
  ])('is refused with its field, and the value is not echoed: %s', (_row, value, field) => {
    const error = refusal(() => parseRequest(value));
    expect(error.code).toBe('INPUT_INVALID');
    expect(error.details.field).toBe(field);
    expect(JSON.stringify([error.message, error.details])).not.toContain(CANARY);
    expect(error.message.length).toBeLessThan(600);
  });

  it('a field name of 10 KB is cut', () => {
    const error = refusal(() => parseRequest({ cluster: 'prod', ['x'.repeat(10_240)]: 1 }));
    expect(error.code).toBe('INPUT_INVALID');
    expect(error.message.length + (error.details.field ?? '').length).toBeLessThan(1_000);
  });

  it('leaves no trace on prototypes', () => {
    refusal(() => parseRequest(JSON.parse('{"cluster":"prod","__proto__":{"adopt":true}}')));
    expect(({} as Record<string, unknown>)['adopt']).toBeUndefined();
  });
});

describe('a backup request', () => {
  it.each<[row: string, value: unknown, field: string | null]>([
    ['the least', { cluster: 'prod', to: 'nightly' }, null],
    ['with a name', { cluster: 'prod', to: 'nightly', name: '2026-11-24' }, null],
    ['no repository', { cluster: 'prod' }, 'to'],
    ['repository: a path', { cluster: 'prod', to: 'a/b' }, 'to'],
    ['name: parent folder', { cluster: 'prod', to: 'a', name: '../x' }, 'name'],
    ['name: dots', { cluster: 'prod', to: 'a', name: 'a..b' }, 'name'],
    ['name: quote', { cluster: 'prod', to: 'a', name: "a'" }, 'name'],
    ['name: backslash', { cluster: 'prod', to: 'a', name: 'a\\b' }, 'name'],
    ['name: too long', { cluster: 'prod', to: 'a', name: 'x'.repeat(121) }, 'name'],
    ['unknown field', { cluster: 'prod', to: 'a', password: 'x' }, 'password'],
  ])('%s', (_row, value, field) => {
    if (field === null) expect(parseBackupRequest(value)).toEqual(value);
    else expect(refusal(() => parseBackupRequest(value))).toMatchObject({ code: 'INPUT_INVALID', details: { field } });
  });
});

it.each<[ref: string, repository: string | null, name: string | null]>([
  ['latest', null, null],
  ['nightly', 'nightly', null],
  ['nightly/1', 'nightly', '1'],
  ['latest/latest', 'latest', 'latest'],
])('a backup reference: %s', (ref, repository, name) => {
  expect(parseBackupRef(ref)).toEqual({ repository, name });
});
