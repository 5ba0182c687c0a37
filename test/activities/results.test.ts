import { describe, expect, it } from 'vitest';
import { findRecords, readRecords, recordOf, tallyRecords, writeRecords } from '../../src/activities/results.js';
import { unitKey } from '../../src/domain/build-report.js';
import { beside, table } from '../workflow/fakes.js';

function store() {
  const texts = new Map<string, string>();
  const put = async (name: string, text: string) => void texts.set(name, text);
  return { pieces: { put, get: async (name: string) => texts.get(name) ?? null } };
}

const run = { recovery: 'r', plan: 'p' };
const item = beside('a');
const done = { ...recordOf({}, item), state: 'done' as const };

describe('the records of a batch', () => {
  it('that was begun are there, or the worker has another store', async () => {
    const ports = store();
    await writeRecords(ports, run, 3, { [unitKey(item)]: done });
    expect(await readRecords(ports, run, 3)).toEqual({ [unitKey(item)]: done });
    for (const [other, piece] of [[run, 4] as const, [{ ...run, plan: 'q' }, 3] as const]) {
      expect(await findRecords(ports, other, piece)).toBeNull();
      await expect(readRecords(ports, other, piece)).rejects.toMatchObject({ code: 'PLAN_UNAVAILABLE' });
    }
  });

  it('count a table that was made beside its place as done once it is in its place', () => {
    const tally = (promoted: boolean) => tallyRecords([item], { [unitKey(item)]: { ...done, promoted } });
    expect([tally(false), tally(true)]).toMatchObject([
      { work: 1, done: 0 },
      { work: 1, done: 1 },
    ]);
    expect(tallyRecords([table('b')], { [unitKey(table('b'))]: done })).toMatchObject({ work: 1, done: 1 });
  });
});
