import { expect, it } from 'vitest';
import { storedRows } from '../../src/activities/drills.js';
import { tableReports } from '../../src/domain/build-report.js';
import { RecoveryError } from '../../src/domain/errors.js';
import type { Report } from '../../src/domain/report.js';
import { table } from '../workflow/fakes.js';

it('what a large recovery counted is in its stored report; where that cannot be read, nobody knows', async () => {
  const times = { startedAt: 0, finishedAt: 0, stages: [] };
  const [counted] = tableReports([table('a', undefined, { action: 'none' })], { results: new Map(), ...times });
  const load = async (id: string) => {
    if (id === 'away') throw new RecoveryError('REPORTS_UNAVAILABLE', 'no');
    return id === 'r' ? ({ tables: [counted] } as Report) : null;
  };
  const ports = { reports: { load }, log: { warn: () => undefined } } as unknown as Parameters<typeof storedRows>[0];
  expect(await storedRows(ports, 'r')).toEqual([{ database: 'db', table: 'a', shard: '01', rows: 10 }]);
  expect(await storedRows(ports, 'gone')).toBeNull();
  expect(await storedRows(ports, 'away')).toBeNull();
});
