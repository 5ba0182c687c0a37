import { describe, expect, it } from 'vitest';
import { namesOf } from '../../src/activities/copies.js';
import type { Capabilities, PartsDigest } from '../../src/domain/inventory.js';

const t = { database: 'db', table: 't' };
const OLD: Capabilities = {
  ...{ restoreReplica: false, dropReplica: false, attachAs: false, cloneAs: false },
  ...{ nativeBackup: false, partHashes: false, lacks: [] },
};
const MODERN: Capabilities = { ...OLD, restoreReplica: true, partHashes: true };
const full: PartsDigest = { parts: 2, rows: 20, digest: '7' };
const other: PartsDigest = { parts: 1, rows: 20, digest: '8' };
const aside = { database: '_recovery', table: 'held db.t' };

type Seen = Parameters<typeof namesOf>[2];
const see = (change: Partial<Seen>): Seen => ({ standing: null, clone: null, held: null, ...change });

describe('by which names the parts of a table compare with those of its peers', () => {
  it.each<[row: string, can: Capabilities, seen: Seen, namedIn: object | null]>([
    ['nothing of a recovery is there', OLD, see({ standing: { parts: full } }), t],
    ['nothing of a recovery is there, modern', MODERN, see({ standing: { parts: full } }), t],
    ['it was cloned, and stands', OLD, see({ standing: { parts: full }, clone: full }), t],
    ['it stands, and is not what was cloned', OLD, see({ standing: { parts: other }, clone: full }), null],
    ['it was attached anew from the clone', MODERN, see({ standing: { parts: full }, clone: full }), null],
    ['it was moved aside', OLD, see({ clone: full, held: { parts: full, identity: '9' } }), aside],
    ['what is aside was merged', OLD, see({ clone: full, held: { parts: other, identity: '9' } }), null],
    [
      'a new one stands',
      OLD,
      see({ standing: { parts: full }, clone: full, held: { parts: full, identity: '9' } }),
      null,
    ],
    ['only the clone is left', OLD, see({ clone: full }), null],
    ['only what was aside is left', OLD, see({ held: { parts: full, identity: '9' } }), null],
  ])('%s', (_row, can, seen, namedIn) => {
    const names = namesOf(t, can, seen);
    expect(names.namedIn).toEqual(namedIn);
    expect(names.identity).toBe(namedIn === aside ? '9' : undefined);
  });
});
