import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readPiece, withoutItems } from '../../src/activities/stored-plan.js';
import { fileDocuments } from '../../src/adapters/reports/file-documents.js';
import { createPieceStore } from '../../src/adapters/reports/piece-store.js';
import { scratchDir } from '../support/processes.js';
import { planOf, table } from '../workflow/fakes.js';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
const plan = planOf(Array.from({ length: 220 }, (_, index) => table(`t${index}`)));

describe('a plan in the report store', () => {
  let dir: ReturnType<typeof scratchDir>;
  beforeEach(() => {
    dir = scratchDir('piece-store');
  });
  afterEach(() => dir.remove());
  const store = () => ({ pieces: createPieceStore(fileDocuments(dir.path)), sha256 });
  const folder = () => join(dir.path, 'plans', plan.hash);

  it('is read back piece by piece, as it was', async () => {
    const { stored, items } = await withoutItems(store(), plan);
    expect(items).toEqual([]);
    expect(readdirSync(folder()).sort()).toEqual(['0.json', '1.json', '2.json', '3.json', '4.json', 'index.json']);
    const read = [];
    for (let piece = 0; piece < 5; piece++) read.push(...(await readPiece(store(), stored!, piece)));
    expect(read).toEqual(plan.items);
    expect(await withoutItems(store(), planOf([table('a')]))).toEqual(planOf([table('a')]));
  });

  it('is refused where it is not what was approved, or is gone', async () => {
    const { stored } = await withoutItems(store(), plan);
    writeFileSync(join(folder(), '1.json'), JSON.stringify({ items: [table('other')] }));
    rmSync(join(folder(), '2.json'));
    await expect(readPiece(store(), stored!, 1)).rejects.toMatchObject({ code: 'PLAN_UNAVAILABLE' });
    await expect(readPiece(store(), stored!, 2)).rejects.toMatchObject({ code: 'PLAN_UNAVAILABLE' });
    await expect(readPiece(store(), { ...stored!, index: '0'.repeat(64) }, 0)).rejects.toMatchObject({
      code: 'PLAN_UNAVAILABLE',
    });
    expect(await readPiece(store(), stored!, 0)).toHaveLength(50);
  });

  it('makes every trouble with its place one that is waited for', async () => {
    writeFileSync(join(dir.path, 'plans'), 'a file in the way');
    await expect(withoutItems(store(), plan)).rejects.toMatchObject({ code: 'PLAN_UNAVAILABLE' });
    const broken = {
      put: () => Promise.reject(new Error('x'.repeat(9_000))),
      get: () => Promise.resolve(null),
      list: async () => [],
    };
    await expect(createPieceStore(broken).put('a', 'b')).rejects.toMatchObject({
      code: 'PLAN_UNAVAILABLE',
      message: 'the report store (error)',
    });
  });
});
