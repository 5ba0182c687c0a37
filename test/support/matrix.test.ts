import { expect, it } from 'vitest';
import { matrix, type Run } from './matrix-reporter.js';

const run = (fullName: string, state: Run['state'] = 'passed', durationMs = 1_400): Run => ({
  fullName,
  state,
  durationMs,
});

it('says of every scenario where it ran, where it failed, and what the others lack', () => {
  expect(
    matrix([
      run('situations > healthy [embedded]'),
      run('situations > healthy [servers]', 'failed'),
      run('situations > diverged [embedded: lacks liveReplication]', 'skipped'),
      run('situations > diverged [servers]'),
      run('with native backups [embedded] [servers: lacks nativeBackup, restoreReplica] > swapped'),
      run('what is no scenario'),
    ]),
  ).toEqual([
    'scenario  embedded               servers',
    'healthy   ran 1 s                FAILED',
    'diverged  lacks liveReplication  ran 1 s',
    'swapped   ran 1 s                lacks nativeBackup, restoreReplica',
    '–: written for the other',
    'external: not chosen',
  ]);
});

it('leaves out what the run did not select', () => {
  const lines = matrix([
    run('healthy [servers]', 'skipped'),
    run('diverged [embedded: lacks liveReplication]', 'skipped'),
    run('diverged [servers]'),
    run('lost [embedded: lacks liveReplication]', 'skipped'),
  ]);
  expect(lines.map((line) => line.split('  ')[0])).toEqual([
    'scenario',
    'diverged',
    '–: written for the other',
    'external: not chosen',
  ]);
});

it('prints nothing where there are no scenarios', () => {
  expect(matrix([run('a unit test'), run('another', 'skipped')])).toEqual([]);
});
