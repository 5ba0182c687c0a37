import { describe, expect, it } from 'vitest';
import { decideAttempt, type Goal, type Observation, type Step } from '../../src/domain/attempt.js';
import { NO_PARTS, type PartsDigest } from '../../src/domain/inventory.js';

const full: PartsDigest = { parts: 4, rows: 400, digest: '4444' };
const half: PartsDigest = { parts: 2, rows: 200, digest: '2222' };
const goal: Goal = { replicated: true, source: 'table', convertible: true, statementDeadlineSeconds: 60 };

function see(
  change: Partial<Omit<Observation, 'table' | 'keeper'>> & {
    table?: Partial<Observation['table']>;
    keeper?: Partial<NonNullable<Observation['keeper']>> | null;
  } = {},
): Observation {
  return {
    running: null,
    clone: full,
    making: null,
    embedded: true,
    ...change,
    table: { state: 'replicated', parts: full, readonly: true, sessionExpired: false, ...change.table },
    keeper:
      change.keeper === null
        ? null
        : { replicaPathExists: false, heldByOther: false, partsAgree: null, ...change.keeper },
  };
}

const CASES: [row: string, seen: Observation, goal: Goal, expected: Partial<Step>][] = [
  [
    'registered, parts as in the clone',
    see({ keeper: { replicaPathExists: true, partsAgree: true } }),
    goal,
    { do: 'done' },
  ],
  [
    'registered on a live server, still read-only',
    see({ embedded: false, keeper: { replicaPathExists: true, partsAgree: true } }),
    goal,
    { do: 'wait', why: 'becoming-writable' },
  ],
  [
    'registered on a live server, writable',
    see({ embedded: false, table: { readonly: false }, keeper: { replicaPathExists: true, partsAgree: true } }),
    goal,
    { do: 'done' },
  ],
  ['no clone, source untouched', see({ clone: null }), goal, { do: 'make-clone' }],
  ['a clone under way that equals the source', see({ clone: null, making: full }), goal, { do: 'complete-clone' }],
  ['a torn clone', see({ clone: null, making: half }), goal, { do: 'drop-making' }],
  [
    'no clone and the table is not attached',
    see({ clone: null, table: { state: 'detached' } }),
    goal,
    { do: 'refuse', code: 'HALF_RESTORED_NO_BASELINE' },
  ],
  [
    'from a backup, without a verified staging table',
    see({ clone: null }),
    { ...goal, source: 'backup' },
    { do: 'refuse', code: 'VERIFY_FAILED' },
  ],
  ['clone complete, read-only, path absent, parts intact', see(), goal, { do: 'restore-replica' }],
  [
    'half restored: path there, parts missing',
    see({ table: { parts: half }, keeper: { replicaPathExists: true, partsAgree: true } }),
    goal,
    { do: 'detach' },
  ],
  ['half restored: path absent, parts missing', see({ table: { parts: half } }), goal, { do: 'detach' }],
  ['Keeper lists other parts', see({ keeper: { replicaPathExists: true, partsAgree: false } }), goal, { do: 'detach' }],
  [
    'detached, path there',
    see({ table: { state: 'detached' }, keeper: { replicaPathExists: true } }),
    goal,
    { do: 'drop-replica' },
  ],
  ['detached, path gone', see({ table: { state: 'detached' } }), goal, { do: 'attach-not-replicated' }],
  ['plain, parts missing', see({ table: { state: 'plain', parts: half } }), goal, { do: 'replace-partitions' }],
  ['plain, complete', see({ table: { state: 'plain' } }), goal, { do: 'convert' }],
  [
    'plain, complete, an old path of ours',
    see({ table: { state: 'plain' }, keeper: { replicaPathExists: true } }),
    goal,
    { do: 'detach' },
  ],
  [
    'the table is gone, its path is not',
    see({ table: { state: 'missing', parts: NO_PARTS }, keeper: { replicaPathExists: true } }),
    goal,
    { do: 'drop-replica' },
  ],
  ['the table is gone', see({ table: { state: 'missing', parts: NO_PARTS } }), goal, { do: 'create-plain' }],
  ['our statement still runs', see({ running: { seconds: 5 } }), goal, { do: 'wait', why: 'statement-running' }],
  ['our statement hangs', see({ running: { seconds: 61 } }), goal, { do: 'refuse', code: 'STATEMENT_HUNG' }],
  ['session expired', see({ table: { sessionExpired: true } }), goal, { do: 'wait', why: 'session-expired' }],
  [
    'another server holds the path',
    see({ keeper: { replicaPathExists: true, heldByOther: true } }),
    goal,
    { do: 'refuse', code: 'REPLICA_ACTIVE' },
  ],
  [
    'an explicit path that would have to be rebuilt',
    see({ table: { parts: half } }),
    { ...goal, convertible: false },
    { do: 'refuse', code: 'EXPLICIT_KEEPER_PATH' },
  ],
  ['an explicit path, intact', see(), { ...goal, convertible: false }, { do: 'restore-replica' }],
  [
    'a plain table, lost',
    see({ keeper: null, table: { state: 'missing', parts: NO_PARTS } }),
    { ...goal, replicated: false, source: 'backup' },
    { do: 'create-plain' },
  ],
  [
    'a plain table, partly filled',
    see({ keeper: null, table: { state: 'plain', parts: half } }),
    { ...goal, replicated: false, source: 'backup' },
    { do: 'replace-partitions' },
  ],
  [
    'a plain table, complete',
    see({ keeper: null, table: { state: 'plain' } }),
    { ...goal, replicated: false, source: 'backup' },
    { do: 'done' },
  ],
];

describe('the attempt table', () => {
  it.each(CASES)('%s', (_row, seen, wanted, expected) => {
    expect(decideAttempt(seen, wanted)).toMatchObject(expected);
  });
});

/** A node as far as the decision sees it; parts are counted, 4 make a whole. */
interface Model {
  table: 'missing' | 'detached-plain' | 'detached-replicated' | 'plain' | 'replicated';
  parts: number;
  path: boolean;
  agree: boolean;
  clone: boolean;
  making: number | null;
}

const digestOf = (parts: number): PartsDigest => ({ parts, rows: parts * 100, digest: String(parts).repeat(4) });

function observe(model: Model): Observation {
  const attached = model.table === 'plain' || model.table === 'replicated';
  return see({
    clone: model.clone ? digestOf(4) : null,
    making: model.making === null ? null : digestOf(model.making),
    table: {
      state: model.table.startsWith('detached') ? 'detached' : (model.table as 'plain'),
      parts: attached ? digestOf(model.parts) : NO_PARTS,
    },
    keeper: {
      replicaPathExists: model.path,
      partsAgree: model.table === 'replicated' && model.path ? model.agree : null,
    },
  });
}

/** Every state that a step can leave behind: a crash before, at each point within, or after it. */
function outcomes(model: Model, step: Step): Model[] {
  switch (step.do) {
    case 'make-clone':
      return [
        { ...model, making: 0 },
        { ...model, making: 2 },
        { ...model, making: model.parts },
      ];
    case 'drop-making':
      return [{ ...model, making: null }];
    case 'complete-clone':
      return [{ ...model, making: null, clone: true }];
    case 'restore-replica':
      // All parts go to detached/, then the path is made, then they come back one by one.
      return [
        { ...model, parts: 0 },
        { ...model, parts: 0, path: true, agree: true },
        { ...model, parts: 2, path: true, agree: true },
        { ...model, parts: 2, path: true, agree: false },
        { ...model, parts: 4, path: true, agree: true },
      ];
    case 'detach':
      return [{ ...model, table: model.table === 'plain' ? 'detached-plain' : 'detached-replicated' }];
    case 'drop-replica':
      return [{ ...model, path: false }];
    case 'attach-not-replicated':
      return [{ ...model, table: 'plain' }];
    case 'create-plain':
      return [{ ...model, table: 'plain', parts: 0 }];
    case 'replace-partitions':
      return [0, 1, 2, 3, 4].map((parts) => ({ ...model, parts }));
    case 'convert':
      return [
        { ...model, table: 'detached-plain' },
        { ...model, table: 'replicated' },
      ];
    case 'done':
    case 'wait':
    case 'refuse':
      return [];
  }
}

describe('the attempt table under crashes', () => {
  it('ends with exactly the clone’s parts from every state that a crash can leave', () => {
    const start: Model[] = [
      { table: 'replicated', parts: 4, path: false, agree: true, clone: false, making: null },
      { table: 'missing', parts: 0, path: false, agree: true, clone: true, making: null },
      { table: 'missing', parts: 0, path: true, agree: true, clone: true, making: null },
      { table: 'replicated', parts: 2, path: true, agree: false, clone: true, making: null },
    ];
    const seen = new Map<string, Model>();
    const queue = [...start];
    while (queue.length > 0) {
      const model = queue.pop() as Model;
      const key = JSON.stringify(model);
      if (seen.has(key)) continue;
      seen.set(key, model);
      const step = decideAttempt(observe(model), goal);
      expect(step.do, key).not.toBe('refuse');
      if (step.do === 'done')
        expect(model, key).toMatchObject({ table: 'replicated', parts: 4, path: true, clone: true });
      queue.push(...outcomes(model, step));
    }
    expect(seen.size).toBeGreaterThan(25);
    // Without further crashes (each step has its last outcome) every one of these states reaches the end.
    for (const [key, from] of seen) {
      let model = from;
      let steps = 0;
      for (
        let step = decideAttempt(observe(model), goal);
        step.do !== 'done';
        step = decideAttempt(observe(model), goal)
      ) {
        model = outcomes(model, step).at(-1) as Model;
        expect(++steps, `${key} does not converge`).toBeLessThan(15);
        expect(model.clone || from.clone === model.clone, 'a clone is never lost').toBe(true);
      }
      expect(model).toMatchObject({ table: 'replicated', parts: 4, path: true });
    }
  });
});
