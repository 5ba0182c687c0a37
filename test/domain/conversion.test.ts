import { describe, expect, it } from 'vitest';
import { decideAttempt, type Goal, type Observation, type Step } from '../../src/domain/attempt.js';
import { decidePromotion } from '../../src/domain/conversion.js';
import { NO_PARTS, type PartsDigest } from '../../src/domain/inventory.js';

const full: PartsDigest = { parts: 4, rows: 400, digest: '4444' };
/** Merged: other parts, the same rows. */
const merged: PartsDigest = { parts: 1, rows: 400, digest: '1111' };
const half: PartsDigest = { parts: 2, rows: 200, digest: '2222' };

const table: Goal = {
  ...{ replicated: true, source: 'table', method: 'conversion', standing: true, rebuildRefusal: null, closed: true },
  ...{ fetches: null, statementDeadlineSeconds: 60, sessionTimeoutSeconds: 60 },
};
const backup: Goal = { ...table, source: 'backup' };
const lost: Goal = { ...backup, standing: false };
/** A later replica that lost its table. */
const peer: Goal = { ...table, source: 'peer', standing: false, fetches: full };
/** A later replica that stands, with parts of its own. */
const later: Goal = { ...table, fetches: full };

type Next = NonNullable<Observation['next']>;
const next = (parts: PartsDigest, change: Partial<Next> = {}): Next => ({
  ...{ parts, readonly: false, sessionExpired: false, queue: 0 },
  ...change,
});

/** As planned: read-only, its metadata gone, cloned. */
function see(
  change: Partial<Omit<Observation, 'table' | 'keeper'>> & {
    table?: Partial<Observation['table']>;
    keeper?: Partial<NonNullable<Observation['keeper']>>;
  } = {},
): Observation {
  return {
    ...{ running: null, clone: full, making: null, held: null, next: null, blocks: 0, embedded: false },
    ...change,
    table: { state: 'replicated', parts: full, readonly: true, sessionExpired: false, ...change.table },
    keeper: { replicaPathExists: false, heldByOther: false, partsAgree: null, stalePeers: false, ...change.keeper },
  };
}
const gone = { state: 'missing', parts: NO_PARTS, readonly: false } as const;
const plain = { state: 'plain', readonly: false } as const;
const path = { replicaPathExists: true };

const CASES: [row: string, seen: Observation, goal: Goal, expected: Partial<Step>][] = [
  // the clone
  ['untouched', see({ clone: null }), table, { do: 'make-clone' }],
  ['died once the twin was there', see({ clone: null, making: NO_PARTS }), table, { do: 'drop-making' }],
  ['died in the middle of filling it', see({ clone: null, making: half }), table, { do: 'drop-making' }],
  ['died before the clone was called complete', see({ clone: null, making: full }), table, { do: 'complete-clone' }],
  [
    'a table without parts',
    see({ clone: null, making: NO_PARTS, table: { parts: NO_PARTS } }),
    table,
    { do: 'complete-clone' },
  ],
  [
    'no clone, and no table that it could be made of',
    see({ clone: null, table: gone }),
    table,
    { do: 'refuse', code: 'HALF_RESTORED_NO_BASELINE' },
  ],
  [
    'no clone, and somebody made it plain',
    see({ clone: null, table: plain }),
    table,
    { do: 'refuse', code: 'HALF_RESTORED_NO_BASELINE' },
  ],
  ['no verified backup', see({ clone: null }), backup, { do: 'refuse', code: 'VERIFY_FAILED' }],
  [
    'no verified backup: what the table holds does not stand in for it',
    see({ clone: null, making: full }),
    backup,
    { do: 'refuse', code: 'VERIFY_FAILED' },
  ],

  // out of the way
  ['cloned', see(), table, { do: 'take-out' }],
  [
    'cloned, and the server has not noticed the loss',
    see({ table: { readonly: false } }),
    table,
    { do: 'wait', why: 'becoming-readonly' },
  ],
  [
    'written to after it was cloned',
    see({ table: { parts: { ...full, parts: 5, rows: 500 }, readonly: false } }),
    table,
    { do: 'refuse', code: 'FENCE_BYPASSED' },
  ],
  [
    'written to after it was cloned, and read-only again',
    see({ table: { parts: { ...full, parts: 5, rows: 500 } }, keeper: path }),
    table,
    { do: 'refuse', code: 'FENCE_BYPASSED' },
  ],
  [
    'cloned, and its server has parts back that were undone when ZooKeeper was lost',
    see({ table: { parts: { ...full, parts: 5, rows: 500 } } }),
    table,
    { do: 'take-out' },
  ],
  [
    'cloned, and its server has a merge back that was undone when ZooKeeper was lost',
    see({ table: { parts: merged } }),
    table,
    { do: 'take-out' },
  ],
  [
    'cloned, and it lacks parts since',
    see({ table: { parts: half } }),
    table,
    { do: 'refuse', code: 'FENCE_BYPASSED' },
  ],
  [
    'a backup replaces what is writable',
    see({ table: { readonly: false, parts: half }, keeper: path }),
    backup,
    { do: 'take-out' },
  ],
  ['a later replica with parts of its own', see({ clone: half, table: { parts: half } }), later, { do: 'take-out' }],
  ['died after DETACH', see({ table: gone }), table, { do: 'attach-plain' }],
  [
    'died after DETACH, on a server that knows what it detached',
    see({ table: { ...gone, state: 'detached' } }),
    table,
    { do: 'attach-plain' },
  ],
  [
    'died after DETACH, and the server attached it again as it was',
    see({ table: { readonly: true } }),
    table,
    { do: 'take-out' },
  ],
  ['died after ATTACH as a plain table', see({ table: plain }), table, { do: 'move-aside' }],
  ['plain, merged meanwhile', see({ table: { ...plain, parts: merged } }), table, { do: 'move-aside' }],
  [
    'plain, with parts that were undone when ZooKeeper was lost',
    see({ clone: half, table: plain }),
    table,
    { do: 'move-aside' },
  ],
  [
    'plain with more rows, and open to inserts',
    see({ clone: half, table: plain }),
    { ...table, closed: false },
    { do: 'refuse', code: 'VERIFY_FAILED' },
  ],
  [
    'plain, without all rows',
    see({ table: { ...plain, parts: half } }),
    table,
    { do: 'refuse', code: 'VERIFY_FAILED' },
  ],
  [
    'what a backup replaces goes aside whatever it holds',
    see({ table: { ...plain, parts: half } }),
    backup,
    { do: 'move-aside' },
  ],
  [
    'moved aside, and somebody made one of the name',
    see({ held: full, table: plain }),
    table,
    { do: 'refuse', code: 'FENCE_BYPASSED' },
  ],

  // the new one beside it
  ['died after the rename', see({ held: full, table: gone }), table, { do: 'create-next' }],
  ['nothing stood there', see({ table: gone }), lost, { do: 'create-next' }],
  ['nothing stood there, all comes from a peer', see({ clone: null, table: gone }), peer, { do: 'create-next' }],
  [
    'its own registration from before',
    see({ held: full, table: gone, keeper: { ...path, stalePeers: true } }),
    table,
    { do: 'drop-replica' },
  ],
  [
    'died in the middle of CREATE: registered, no table',
    see({ table: gone, keeper: path }),
    lost,
    { do: 'drop-replica' },
  ],
  [
    'dead registrations of others',
    see({ held: full, table: gone, keeper: { stalePeers: true } }),
    table,
    { do: 'drop-peers' },
  ],
  ['made, empty', see({ held: full, table: gone, next: next(NO_PARTS), keeper: path }), table, { do: 'fill-next' }],
  [
    'made, and the server has not started it',
    see({ held: full, table: gone, next: next(NO_PARTS, { readonly: true }), keeper: path }),
    table,
    { do: 'wait', why: 'becoming-writable' },
  ],
  [
    'made, and its session expired',
    see({ held: full, table: gone, next: next(NO_PARTS, { readonly: true, sessionExpired: true }), keeper: path }),
    table,
    { do: 'wait', why: 'session-expired' },
  ],
  ['partly filled', see({ held: full, table: gone, next: next(half), keeper: path }), table, { do: 'fill-next' }],
  ['merged before it was validated', see({ held: full, table: gone, next: next(merged) }), table, { do: 'fill-next' }],
  ['filled', see({ held: full, table: gone, next: next(full), keeper: path }), table, { do: 'done' }],
  ['filled with nothing', see({ clone: NO_PARTS, table: gone, next: next(NO_PARTS) }), lost, { do: 'done' }],
  [
    'filled, and somebody made one of the name: the promotion finds that',
    see({ held: full, next: next(full), keeper: path }),
    table,
    { do: 'done' },
  ],

  // that fetches
  [
    'fetches',
    see({ clone: null, table: gone, next: next(half, { queue: 2 }) }),
    peer,
    { do: 'wait', why: 'catching-up' },
  ],
  [
    'has fetched what it held itself, not what the first one has',
    see({ clone: half, held: half, table: gone, next: next(half) }),
    later,
    { do: 'wait', why: 'catching-up' },
  ],
  ['has fetched', see({ clone: null, table: gone, next: next(full) }), peer, { do: 'done' }],
  [
    'has fetched what the first one merged since, when it was restarted: all is covered',
    see({ clone: null, table: gone, next: next(merged), blocks: full.parts }),
    peer,
    { do: 'done' },
  ],
  [
    'has fetched a part of what was merged',
    see({ clone: null, table: gone, next: next({ ...merged, rows: half.rows }), blocks: half.parts }),
    peer,
    { do: 'wait', why: 'catching-up' },
  ],
  [
    'has other rows, in as many blocks',
    see({ clone: null, table: gone, next: next({ ...merged, rows: full.rows + 1 }), blocks: full.parts }),
    peer,
    { do: 'wait', why: 'catching-up' },
  ],
  [
    'covers all blocks, but a part between merged ones was lost: its rows are not there',
    see({ clone: null, table: gone, next: next({ ...merged, rows: full.rows - 1 }), blocks: full.parts }),
    peer,
    { do: 'wait', why: 'catching-up' },
  ],
  [
    'the first one itself fills it again where a restart had it merged',
    see({ held: full, table: gone, next: next(merged), blocks: full.parts, keeper: path }),
    table,
    { do: 'fill-next' },
  ],
  [
    'has fetched from one that may be written to',
    see({ clone: null, table: gone, next: next(half), keeper: { ...path, partsAgree: true } }),
    { ...peer, fetches: 'live' },
    { do: 'done' },
  ],
  [
    'knows of parts that it has to fetch',
    see({ clone: null, table: gone, next: next(half, { queue: 1 }), keeper: { ...path, partsAgree: true } }),
    { ...peer, fetches: 'live' },
    { do: 'wait', why: 'catching-up' },
  ],
  [
    'has fetched, and what is written meanwhile is in one list and not in the other yet',
    see({ clone: null, table: gone, next: next(half), keeper: { ...path, partsAgree: false } }),
    { ...peer, fetches: 'live' },
    { do: 'done' },
  ],

  // in its place
  ['promoted', see({ held: full, table: { readonly: false }, keeper: path }), table, { do: 'done' }],
  [
    'promoted, and written to since',
    see({ held: full, table: { readonly: false, parts: { ...full, rows: 401 } }, keeper: path }),
    table,
    { do: 'done' },
  ],
  ['promoted, nothing stood there', see({ table: { readonly: false }, keeper: path }), lost, { do: 'done' }],
  [
    'promoted, and the server restarted',
    see({ held: full, keeper: path }),
    table,
    { do: 'wait', why: 'becoming-writable' },
  ],

  // before anything else
  ['our statement runs', see({ running: { seconds: 60 } }), table, { do: 'wait', why: 'statement-running' }],
  ['our statement hangs', see({ running: { seconds: 61 } }), table, { do: 'refuse', code: 'STATEMENT_HUNG' }],
  [
    'another server holds its path',
    see({ held: full, table: gone, keeper: { ...path, heldByOther: true } }),
    table,
    { do: 'refuse', code: 'REPLICA_ACTIVE' },
  ],
];

describe('the attempt table of the conversion', () => {
  it.each(CASES)('%s', (_row, seen, goal, expected) => {
    expect(decideAttempt(seen, goal)).toMatchObject(expected);
  });
});

describe('the promotion', () => {
  it.each<[row: string, seen: Observation, expected: Partial<Step>]>([
    ['validated', see({ held: full, table: gone, next: next(full) }), { do: 'promote' }],
    ['validated, nothing stood there', see({ table: gone, next: next(full) }), { do: 'promote' }],
    [
      'the rename runs still',
      see({ running: { seconds: 1 }, table: gone, next: next(full) }),
      { do: 'wait', why: 'statement-running' },
    ],
    ['died after the rename', see({ held: full, table: { readonly: false }, keeper: path }), { do: 'done' }],
    ['died after the rename, written to since', see({ table: { parts: merged, readonly: false } }), { do: 'done' }],
    ['somebody made a replicated one of the name', see({ next: next(full) }), { do: 'refuse', code: 'FENCE_BYPASSED' }],
    [
      'somebody made a plain one of the name',
      see({ table: plain, next: next(full) }),
      { do: 'refuse', code: 'FENCE_BYPASSED' },
    ],
    [
      'somebody detached one of the name',
      see({ table: { ...gone, state: 'detached' }, next: next(full) }),
      { do: 'refuse', code: 'FENCE_BYPASSED' },
    ],
    [
      'there is nothing to promote, nor is it promoted',
      see({ held: full, table: gone }),
      { do: 'refuse', code: 'VALIDATION_FAILED' },
    ],
    [
      'somebody made a plain one instead of it',
      see({ held: full, table: plain }),
      { do: 'refuse', code: 'VALIDATION_FAILED' },
    ],
  ])('%s', (_row, seen, expected) => {
    expect(decidePromotion(seen)).toMatchObject(expected);
  });
});
