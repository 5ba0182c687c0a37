import { expect, it } from 'vitest';
import { tablePathOf } from '../../src/domain/table-path.js';

it.each<[string, string[] | null, boolean, string[]]>([
  ['nothing', null, false, []],
  ['a table', ['metadata', 'replicas', 'log'], true, []],
  ['what a delete that was cut off left', ['temp'], true, []],
  ['an empty node', [], true, []],
  ['only an ancestor of other tables', ['b', 'c'], false, ['b', 'c']],
  ['a table, and another below it', ['metadata', 'b'], true, ['b']],
])('at a table’s path: %s', (_, children, isThere, foreign) => {
  expect(tablePathOf(children)).toEqual({ isThere, foreign });
});
