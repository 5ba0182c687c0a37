import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ownFolder, swap } from '../../src/agent/swap.js';
import { scratchDir } from '../support/processes.js';

describe('swap', () => {
  let scratch: ReturnType<typeof scratchDir>;
  let root: string;
  const put = (folder: string, content: Record<string, string>) => {
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of Object.entries(content)) writeFileSync(join(folder, name), text);
  };
  const live = () =>
    Object.fromEntries(
      readdirSync(root)
        .filter((name) => !name.startsWith('.cold-'))
        .map((name) => [name, readFileSync(join(root, name), 'utf8')]),
    );
  let folders: { stage: string; aside: string; rejected: string };

  beforeEach(() => {
    scratch = scratchDir('swap');
    root = join(scratch.path, 'tree');
    folders = {
      stage: ownFolder(root, 'stage', 'r1'),
      aside: ownFolder(root, 'aside', 'r1'),
      rejected: ownFolder(root, 'rejected', 'r1'),
    };
    put(root, { a: 'old', b: 'old' });
    put(folders.stage, { a: 'new', c: 'new' });
  });
  afterEach(() => scratch.remove());

  const NEW = { a: 'new', c: 'new' };
  const OLD = { a: 'old', b: 'old' };

  it('puts the new in place and keeps the old aside, and back', async () => {
    await swap(root, folders.stage, folders.aside);
    expect(live()).toEqual(NEW);
    await swap(root, folders.stage, folders.aside);
    expect(live()).toEqual(NEW);
    await swap(root, folders.aside, folders.rejected);
    expect(live()).toEqual(OLD);
    await swap(root, folders.aside, folders.rejected);
    expect(live()).toEqual(OLD);
  });

  it.each<[string, () => void]>([
    [
      'while the old goes aside',
      () => {
        mkdirSync(folders.aside);
        renameSync(join(root, 'a'), join(folders.aside, 'a'));
      },
    ],
    [
      'between the two',
      () => {
        mkdirSync(folders.aside);
        for (const name of ['a', 'b']) renameSync(join(root, name), join(folders.aside, name));
      },
    ],
    [
      'while the new comes in',
      () => {
        mkdirSync(folders.aside);
        for (const name of ['a', 'b']) renameSync(join(root, name), join(folders.aside, name));
        writeFileSync(join(folders.aside, '.complete'), '');
        renameSync(join(folders.stage, 'a'), join(root, 'a'));
      },
    ],
  ])('goes on after a crash %s', async (_name, crash) => {
    crash();
    await swap(root, folders.stage, folders.aside);
    expect(live()).toEqual(NEW);
    await swap(root, folders.aside, folders.rejected);
    expect(live()).toEqual(OLD);
  });

  it('moves nothing where there is nothing to put in', async () => {
    await expect(swap(root, ownFolder(root, 'stage', 'r2'), ownFolder(root, 'aside', 'r2'))).rejects.toThrow('missing');
    expect(live()).toEqual(OLD);
  });
});
