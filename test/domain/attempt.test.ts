import { beforeAll, describe, expect, it } from 'vitest';
import { decideAttempt, type Goal, type Observation, type Step } from '../../src/domain/attempt.js';
import { NO_PARTS, sameParts, type PartsDigest } from '../../src/domain/inventory.js';

const full: PartsDigest = { parts: 4, rows: 400, digest: '4444' };
const half: PartsDigest = { parts: 2, rows: 200, digest: '2222' };
const goal: Goal = {
  ...{
    replicated: true,
    source: 'table',
    method: 'restore-replica',
    standing: true,
    rebuildRefusal: null,
    closed: false,
  },
  ...{ fetches: null, statementDeadlineSeconds: 60, sessionTimeoutSeconds: 60 },
};

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
    held: null,
    next: null,
    blocks: 0,
    embedded: true,
    ...change,
    table: { state: 'replicated', parts: full, readonly: true, sessionExpired: false, ...change.table },
    keeper:
      change.keeper === null
        ? null
        : { replicaPathExists: false, heldByOther: false, partsAgree: null, stalePeers: false, ...change.keeper },
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
    { ...goal, rebuildRefusal: 'EXPLICIT_KEEPER_PATH' },
    { do: 'refuse', code: 'EXPLICIT_KEEPER_PATH' },
  ],
  [
    'a server without ATTACH AS REPLICATED that left it half restored',
    see({ table: { parts: half } }),
    { ...goal, rebuildRefusal: 'UNSUPPORTED_SERVER' },
    { do: 'refuse', code: 'UNSUPPORTED_SERVER' },
  ],
  ['an explicit path, intact', see(), { ...goal, rebuildRefusal: 'EXPLICIT_KEEPER_PATH' }, { do: 'restore-replica' }],
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
  [
    'registered, but the clone has one part more',
    see({
      clone: full,
      table: { parts: { ...full, parts: 3 } },
      keeper: { replicaPathExists: true, partsAgree: true },
    }),
    goal,
    { do: 'detach' },
  ],
  [
    'as many parts and rows as the clone, other hashes',
    see({
      table: { parts: { ...full, digest: '5555' } },
      keeper: { replicaPathExists: true, partsAgree: true },
    }),
    goal,
    { do: 'detach' },
  ],
  [
    'live, writable, empty: a crash in the middle of SYSTEM RESTORE REPLICA (111628)',
    see({
      embedded: false,
      table: { parts: NO_PARTS, readonly: false },
      keeper: { replicaPathExists: true, partsAgree: true },
    }),
    goal,
    { do: 'detach' },
  ],
  [
    'live, OK answered, still read-only (87998)',
    see({ embedded: false, keeper: { replicaPathExists: true, partsAgree: true } }),
    goal,
    { do: 'wait', why: 'becoming-writable' },
  ],
  [
    'the deadline itself is not past it',
    see({ running: { seconds: 60 } }),
    goal,
    { do: 'wait', why: 'statement-running' },
  ],
  [
    'running comes before everything else that is wrong',
    see({ running: { seconds: 1 }, clone: null, keeper: { replicaPathExists: true, heldByOther: true } }),
    goal,
    { do: 'wait', why: 'statement-running' },
  ],
  [
    'another server holds the path, and there is no clone yet',
    see({ clone: null, keeper: { replicaPathExists: true, heldByOther: true } }),
    goal,
    { do: 'refuse', code: 'REPLICA_ACTIVE' },
  ],
  [
    'session expired before the clone is made',
    see({ clone: null, table: { sessionExpired: true } }),
    goal,
    { do: 'wait', why: 'session-expired' },
  ],
  [
    'a table without parts and its clone',
    see({ clone: NO_PARTS, table: { parts: NO_PARTS } }),
    goal,
    { do: 'restore-replica' },
  ],
  [
    'no clone, a table without parts, an empty making',
    see({ clone: null, making: NO_PARTS, table: { parts: NO_PARTS } }),
    goal,
    { do: 'complete-clone' },
  ],
  [
    'no clone and the table is gone',
    see({ clone: null, table: { state: 'missing', parts: NO_PARTS } }),
    goal,
    { do: 'refuse', code: 'HALF_RESTORED_NO_BASELINE' },
  ],
  [
    'from a backup: what the table still holds is never taken for the backup',
    see({ clone: null, making: full }),
    { ...goal, source: 'backup' },
    { do: 'refuse', code: 'VERIFY_FAILED' },
  ],
  [
    'an explicit path, done',
    see({ keeper: { replicaPathExists: true, partsAgree: true } }),
    { ...goal, rebuildRefusal: 'EXPLICIT_KEEPER_PATH' },
    { do: 'done' },
  ],
  [
    'an explicit path, detached by somebody',
    see({ table: { state: 'detached', parts: NO_PARTS }, keeper: { replicaPathExists: true } }),
    { ...goal, rebuildRefusal: 'EXPLICIT_KEEPER_PATH' },
    { do: 'refuse', code: 'EXPLICIT_KEEPER_PATH' },
  ],
  [
    'an explicit path, no clone yet',
    see({ clone: null }),
    { ...goal, rebuildRefusal: 'EXPLICIT_KEEPER_PATH' },
    { do: 'make-clone' },
  ],
  ['other, dead replicas stand on its path', see({ keeper: { stalePeers: true } }), goal, { do: 'drop-peers' }],
  [
    'a later replica, registered, the parts of the first one',
    see({ embedded: false, table: { parts: half, readonly: false }, keeper: { replicaPathExists: true } }),
    { ...goal, fetches: half },
    { do: 'done' },
  ],
  [
    'a later replica that fetches',
    see({ embedded: false, table: { readonly: false }, keeper: { replicaPathExists: true, partsAgree: true } }),
    { ...goal, fetches: half },
    { do: 'wait', why: 'catching-up' },
  ],
  [
    'a later replica of one that may be written to: ZooKeeper tells',
    see({
      ...{ embedded: false, table: { parts: half, readonly: false } },
      keeper: { replicaPathExists: true, partsAgree: true },
    }),
    { ...goal, fetches: 'live' },
    { do: 'done' },
  ],
  [
    'a later replica of one that may be written to, not there yet',
    see({ embedded: false, table: { readonly: false }, keeper: { replicaPathExists: true, partsAgree: false } }),
    { ...goal, fetches: 'live' },
    { do: 'wait', why: 'catching-up' },
  ],
  [
    'a later replica, not registered: by what it held itself',
    see({ embedded: false }),
    { ...goal, fetches: half },
    { do: 'restore-replica' },
  ],
  [
    'its metadata is gone, and the server has not noticed',
    see({ embedded: false, table: { readonly: false } }),
    goal,
    { do: 'wait', why: 'becoming-readonly' },
  ],
  [
    'a plain table, detached',
    see({ keeper: null, table: { state: 'detached', parts: NO_PARTS } }),
    { ...goal, replicated: false, source: 'backup' },
    { do: 'attach-not-replicated' },
  ],
];

describe('the attempt table', () => {
  it.each(CASES)('%s', (_row, seen, wanted, expected) => {
    expect(decideAttempt(seen, wanted)).toMatchObject(expected);
  });
});

const STATES = ['missing', 'detached', 'plain', 'replicated'] as const;
const BOOLEANS = [false, true] as const;

/** Every observation there is, up to the numbers: what `decideAttempt` may ever be asked. */
function* everyCase(): Generator<[Observation, Goal]> {
  for (const running of [null, { seconds: 60 }, { seconds: 60.1 }])
    for (const state of STATES)
      for (const parts of [full, half, NO_PARTS])
        for (const readonly of BOOLEANS)
          for (const sessionExpired of BOOLEANS)
            for (const keeper of everyKeeper())
              for (const clone of [null, full])
                for (const making of [null, NO_PARTS, half, full])
                  for (const embedded of BOOLEANS)
                    for (const source of ['table', 'backup'] as const)
                      for (const rebuildRefusal of [null, 'EXPLICIT_KEEPER_PATH'] as const)
                        for (const replicated of BOOLEANS) {
                          // A plain item is planned for tables that are not replicated, and without a Keeper.
                          if (!replicated && (keeper !== null || state === 'replicated')) continue;
                          const seen: Observation = {
                            ...{ running, table: { state, parts, readonly, sessionExpired }, keeper },
                            ...{ clone, making, held: null, next: null, blocks: 0, embedded },
                          };
                          // Only a live server fetches, and only what is replicated.
                          const fetching = replicated && !embedded && !running && source === 'table';
                          for (const fetches of fetching ? ([null, half, 'live'] as const) : [null])
                            yield [seen, { ...goal, replicated, source, rebuildRefusal, fetches }];
                        }
}

function* everyKeeper(): Generator<Observation['keeper']> {
  yield null;
  for (const replicaPathExists of BOOLEANS)
    for (const heldByOther of BOOLEANS)
      for (const partsAgree of [null, false, true])
        for (const stalePeers of replicaPathExists ? [false] : BOOLEANS)
          yield { replicaPathExists, heldByOther, partsAgree, stalePeers };
}

const REBUILDS = ['detach', 'drop-replica', 'attach-not-replicated', 'create-plain', 'replace-partitions', 'convert'];

/** What must hold whatever is observed; each returns true when the step is allowed. */
const RULES: [rule: string, allowed: (step: Step, seen: Observation, goal: Goal) => boolean][] = [
  [
    'while a statement of ours runs, nothing is sent',
    (step, seen) =>
      !seen.running ||
      (seen.running.seconds > 60
        ? step.do === 'refuse' && step.code === 'STATEMENT_HUNG'
        : step.do === 'wait' && step.why === 'statement-running'),
  ],
  [
    'nothing is sent to a table whose path another server holds',
    (step, seen) =>
      !!seen.running || !seen.keeper?.heldByOther || (step.do === 'refuse' && step.code === 'REPLICA_ACTIVE'),
  ],
  [
    'an expired session is not a loss',
    (step, seen) =>
      seen.table.state !== 'replicated' || !seen.table.sessionExpired || step.do === 'wait' || step.do === 'refuse',
  ],
  [
    'nothing destructive without a complete clone',
    (step, seen) => seen.clone !== null || ![...REBUILDS, 'restore-replica'].includes(step.do),
  ],
  [
    'a complete clone is never made again or dropped',
    (step, seen) => seen.clone === null || !['make-clone', 'complete-clone', 'drop-making'].includes(step.do),
  ],
  [
    'a clone counts as complete only where it equals the source',
    (step, seen) => step.do !== 'complete-clone' || (seen.making !== null && sameParts(seen.making, seen.table.parts)),
  ],
  [
    'a sound copy is not thrown away',
    (step, seen) => step.do !== 'drop-making' || (seen.making !== null && !sameParts(seen.making, seen.table.parts)),
  ],
  ['one copy is made at a time', (step, seen) => step.do !== 'make-clone' || seen.making === null],
  [
    'what a table holds never stands in for its backup',
    (step, _seen, wanted) =>
      wanted.source === 'table' || !['make-clone', 'complete-clone', 'drop-making'].includes(step.do),
  ],
  [
    'done: attached as wanted, exactly the clone’s parts, registered, writable where it can be',
    (step, seen, wanted) =>
      step.do !== 'done' ||
      wanted.fetches !== null ||
      (seen.clone !== null &&
        sameParts(seen.clone, seen.table.parts) &&
        (wanted.replicated
          ? seen.table.state === 'replicated' &&
            seen.keeper?.replicaPathExists === true &&
            seen.keeper.partsAgree !== false &&
            (seen.embedded || !seen.table.readonly)
          : seen.table.state === 'plain')),
  ],
  [
    'done, where it fetches: registered, writable, all of what the first one has',
    (step, seen, wanted) =>
      step.do !== 'done' ||
      wanted.fetches === null ||
      (seen.table.state === 'replicated' &&
        seen.keeper?.replicaPathExists === true &&
        !seen.table.readonly &&
        (wanted.fetches === 'live' ? seen.keeper.partsAgree === true : sameParts(seen.table.parts, wanted.fetches))),
  ],
  [
    'stale registrations go before it registers, and only then',
    (step, seen) =>
      (step.do !== 'restore-replica' || !seen.keeper?.stalePeers) &&
      (step.do !== 'drop-peers' ||
        (seen.keeper?.stalePeers === true && !seen.keeper.replicaPathExists && !seen.keeper.heldByOther)),
  ],
  [
    'SYSTEM RESTORE REPLICA: complete, read-only, path absent',
    (step, seen) =>
      step.do !== 'restore-replica' ||
      (seen.table.state === 'replicated' &&
        seen.table.readonly &&
        seen.keeper?.replicaPathExists !== true &&
        seen.clone !== null &&
        sameParts(seen.table.parts, seen.clone)),
  ],
  [
    'a path is dropped only while nothing is attached to it',
    (step, seen) =>
      step.do !== 'drop-replica' ||
      (seen.keeper?.replicaPathExists === true && ['missing', 'detached'].includes(seen.table.state)),
  ],
  [
    'converted only when complete and with the old path gone',
    (step, seen) =>
      step.do !== 'convert' ||
      (seen.table.state === 'plain' &&
        seen.keeper?.replicaPathExists !== true &&
        seen.clone !== null &&
        sameParts(seen.table.parts, seen.clone)),
  ],
  [
    'partitions are replaced in a plain table only',
    (step, seen) => step.do !== 'replace-partitions' || seen.table.state === 'plain',
  ],
  ['created only where it is missing', (step, seen) => step.do !== 'create-plain' || seen.table.state === 'missing'],
  [
    'attached only where it is detached',
    (step, seen) => step.do !== 'attach-not-replicated' || seen.table.state === 'detached',
  ],
  [
    'detached only where it is attached',
    (step, seen) => step.do !== 'detach' || ['plain', 'replicated'].includes(seen.table.state),
  ],
  [
    'a replicated table that cannot be converted is never rebuilt',
    (step, _seen, wanted) => !wanted.replicated || wanted.rebuildRefusal === null || !REBUILDS.includes(step.do),
  ],
];

describe('whatever is observed', () => {
  const broken = new Map<string, string[]>(RULES.map(([rule]) => [rule, []]));
  let asked = 0;
  beforeAll(() => {
    for (const [seen, wanted] of everyCase()) {
      asked++;
      const step = decideAttempt(seen, wanted);
      for (const [rule, allowed] of RULES)
        if (!allowed(step, seen, wanted)) broken.get(rule)?.push(JSON.stringify({ step, seen, wanted }));
    }
  });
  it.each(RULES)('%s', (rule) => {
    expect(asked).toBeGreaterThan(10_000);
    expect(broken.get(rule)?.slice(0, 3)).toEqual([]);
  });
});

/**
 * A node as its files and the Keeper make it. Parts are letters, a multiset as a sorted text: `aabc` has twins. A part's
 * partition is its letter; `m` is the merge of the twins, in theirs. `x` is of a partition that the clone lacks.
 */
interface Model {
  table: 'missing' | 'detached' | 'plain' | 'replicated';
  active: string;
  /** `table-only`: the table's node is there, the replica's is not. */
  path: 'none' | 'table-only' | 'full';
  agree: boolean;
  clone: string | null;
  making: string | null;
  live: boolean;
  /** A live server that has found out that its path is there. */
  writable: boolean;
  expired: boolean;
  /** Dead registrations of others, on the path that this one goes first on. */
  peers: boolean;
  /** What must be there in the end. */
  truth: string;
}

const sorted = (parts: string) => [...parts].sort().join('');
const partitionOf = (part: string) => (part === 'm' ? 'a' : part);
const digestOf = (parts: string): PartsDigest => ({
  parts: parts.length,
  rows: [...parts].reduce((rows, part) => rows + (part === 'm' ? 20 : 10), 0),
  digest: parts || '0',
});

function observe(model: Model, running: Observation['running'] = null): Observation {
  const attached = model.table === 'plain' || model.table === 'replicated';
  const replicated = model.table === 'replicated';
  return {
    running,
    table: {
      state: model.table,
      parts: attached ? digestOf(model.active) : NO_PARTS,
      readonly: replicated && !(model.live && model.writable),
      sessionExpired: replicated && model.expired,
    },
    keeper: {
      replicaPathExists: model.path === 'full',
      heldByOther: false,
      partsAgree: replicated && model.path === 'full' ? model.agree : null,
      stalePeers: model.path !== 'full' && model.peers,
    },
    clone: model.clone === null ? null : digestOf(model.clone),
    making: model.making === null ? null : digestOf(model.making),
    held: null,
    next: null,
    blocks: 0,
    embedded: !model.live,
  };
}

function permutations(parts: string): string[] {
  if (parts.length < 2) return [parts];
  return [
    ...new Set(
      [...parts].flatMap((part, i) => permutations(parts.slice(0, i) + parts.slice(i + 1)).map((rest) => part + rest)),
    ),
  ];
}

function must(holds: boolean, why: string): void {
  if (!holds) throw new Error(`a real server would refuse: ${why}`);
}

/**
 * What a step does to the node, as the states that it passes through in order; more than one where the order is the
 * server's choice. A crash may leave any of them behind.
 */
function effects(model: Model, step: Step): Model[][] {
  const attached = model.table === 'plain' || model.table === 'replicated';
  switch (step.do) {
    case 'make-clone': {
      must(attached && model.making === null, 'make-clone');
      const grown = [...model.active].map((_part, i) => model.active.slice(0, i + 1));
      return [['', ...grown].map((making) => ({ ...model, making }))];
    }
    case 'drop-making':
      return [[{ ...model, making: null }]];
    case 'complete-clone':
      must(model.making !== null && model.clone === null, 'complete-clone');
      return [[{ ...model, making: null, clone: model.making }]];
    case 'restore-replica':
      must(model.table === 'replicated' && model.path !== 'full' && !(model.live && model.writable), 'RESTORE (36)');
      must(!model.peers, 'to attach anything beside other registrations');
      // Every part goes to detached/, the path is made, then they come back one by one, on the disk first.
      return permutations(model.active).map((order) => {
        const empty: Model = { ...model, active: '', agree: true };
        const attachedBack = [...order].flatMap((_part, i): Model[] => {
          const active = sorted(order.slice(0, i + 1));
          return [
            { ...empty, path: 'full', active, agree: false },
            { ...empty, path: 'full', active },
          ];
        });
        return [empty, { ...empty, path: 'table-only' }, { ...empty, path: 'full' }, ...attachedBack];
      });
    case 'detach':
      must(attached, 'DETACH');
      return [[{ ...model, table: 'detached', writable: false, expired: false }]];
    case 'drop-replica':
      must(!attached && model.path === 'full', 'DROP REPLICA');
      return [
        [
          { ...model, agree: false },
          { ...model, path: 'table-only' },
          { ...model, path: 'none' },
        ],
      ];
    case 'attach-not-replicated':
      must(model.table === 'detached', 'ATTACH');
      return [[{ ...model, table: 'plain' }]];
    case 'create-plain':
      must(model.table === 'missing', 'CREATE');
      return [[{ ...model, table: 'plain', active: '' }]];
    case 'replace-partitions': {
      must(model.table === 'plain' && model.clone !== null, 'REPLACE PARTITION');
      const clone = model.clone ?? '';
      const partitions = [...new Set([...model.active, ...clone].map(partitionOf))].sort();
      return [partitions, partitions.toReversed()].map((order) => {
        let active = model.active;
        return order.map((partition) => {
          const others = [...active].filter((part) => partitionOf(part) !== partition).join('');
          active = sorted(others + [...clone].filter((part) => partitionOf(part) === partition).join(''));
          return { ...model, active };
        });
      });
    }
    case 'convert':
      must(model.table === 'plain', 'DETACH');
      must(model.path !== 'full', 'ATTACH AS REPLICATED on top of an old path');
      return [
        [
          { ...model, table: 'detached' },
          { ...model, table: 'replicated', writable: false },
        ],
      ];
    case 'wait':
      if (step.why === 'session-expired') return [[{ ...model, expired: false }]];
      return [[{ ...model, writable: step.why !== 'becoming-readonly' }]];
    case 'drop-peers':
      must(model.path !== 'full', 'none: it would drop the peers of a replica that is registered');
      return [[{ ...model, peers: false }]];
    case 'done':
    case 'refuse':
      return [];
    default:
      throw new Error(`${step.do} is of the other method`);
  }
}

/** One statement each: the server goes on with these after the worker that sent them is gone. */
const SINGLE = ['make-clone', 'restore-replica', 'drop-replica'];

function subsets(parts: string): string[] {
  return [...new Set([...parts].reduce<string[]>((all, part) => [...all, ...all.map((each) => each + part)], ['']))];
}

/** Every state that somebody may find: interrupted anywhere, by us or not, by a crash of any server. */
function* startStates(): Generator<Model> {
  for (const truth of ['aabc', ''])
    for (const table of STATES)
      for (const active of truth === '' ? ['', 'x'] : [...subsets(truth), 'aabcx', 'bcm', 'ax'])
        for (const path of ['none', 'table-only', 'full'] as const)
          for (const agree of BOOLEANS)
            for (const live of BOOLEANS)
              for (const writable of live && table === 'replicated' ? BOOLEANS : [false])
                for (const expired of table === 'replicated' ? BOOLEANS : [false]) {
                  const node = {
                    ...{ table, active: table === 'missing' ? '' : active, path, agree },
                    ...{ live, writable, expired, peers: false },
                  };
                  yield { ...node, truth, clone: truth, making: null, peers: true };
                  for (const making of [null, '', 'ab']) yield { ...node, truth, clone: truth, making };
                  // Without a clone, the table is what there is: it must come through as it stands.
                  for (const making of [null, '', active, 'ab'])
                    if (table === 'plain' || table === 'replicated')
                      yield { ...node, truth: active, clone: null, making: making === null ? null : sorted(making) };
                }
}

describe('the attempt table under crashes', () => {
  const reached = new Map<string, Model>();
  const problems: string[] = [];

  /** Closes the start states over every step and every point at which its effect may stop. */
  function explore(): void {
    const queue = [...startStates()];
    while (queue.length > 0 && problems.length < 5) {
      const model = queue.pop() as Model;
      const key = JSON.stringify(model);
      if (reached.has(key)) continue;
      reached.set(key, model);
      try {
        const step = decideAttempt(observe(model), goal);
        // A writable table with more than its clone was inserted into: only then it is left to a person.
        const isGrown = model.live && model.writable && model.active.length > (model.clone ?? '').length;
        if (step.do === 'refuse' && !(step.code === 'FENCE_BYPASSED' && isGrown))
          problems.push(`refused: ${key} ${step.code}`);
        if (step.do === 'done' && !finished(model)) problems.push(`false success: ${key}`);
        for (const states of effects(model, step))
          for (const [index, state] of states.entries()) {
            if (state.clone !== model.clone && model.clone !== null) problems.push(`clone lost: ${key} ${step.do}`);
            const safe = state.clone === model.truth || (state.clone === null && state.active === model.truth);
            if (!safe) problems.push(`neither clone nor table has it all: ${key} ${step.do}`);
            if (SINGLE.includes(step.do) && index < states.length - 1)
              if (decideAttempt(observe(state, { seconds: 1 }), goal).do !== 'wait')
                problems.push(`sent while it runs: ${key} ${step.do}`);
            queue.push(state);
            // A live server comes back from a crash with a path of its own: it may or may not have become writable.
            if (state.live && state.table === 'replicated' && state.path === 'full')
              queue.push({ ...state, writable: true }, { ...state, writable: false, expired: true });
          }
      } catch (error) {
        problems.push(`${String(error)}: ${key}`);
      }
    }
  }

  function finished(model: Model): boolean {
    return (
      model.table === 'replicated' &&
      model.path === 'full' &&
      model.agree &&
      model.active === model.truth &&
      model.clone === model.truth &&
      (!model.live || model.writable)
    );
  }

  it('never loses the clone, never says done too early, never sends what the server would refuse', () => {
    explore();
    expect(problems).toEqual([]);
    expect(reached.size).toBeGreaterThan(3_000);
  });

  it('comes to the end from each of those states within 12 steps', () => {
    const left = new Map<string, number>();
    const stepsLeft = (model: Model, depth = 0): number => {
      const key = JSON.stringify(model);
      const known = left.get(key);
      if (known !== undefined) return known;
      if (depth > 12) throw new Error(`does not converge: ${key}`);
      const step = decideAttempt(observe(model), goal);
      if (step.do === 'done') return 0;
      const next = effects(model, step).map((states) => states.at(-1) as Model);
      // A step without any effect would be sent for ever.
      if (next.some((state) => JSON.stringify(state) === key)) throw new Error(`${step.do} changes nothing: ${key}`);
      const steps = 1 + Math.max(...next.map((state) => stepsLeft(state, depth + 1)));
      left.set(key, steps);
      return steps;
    };
    let worst = 0;
    for (const model of reached.values()) worst = Math.max(worst, stepsLeft(model));
    expect(worst).toBeGreaterThanOrEqual(7);
    expect(worst).toBeLessThanOrEqual(12);
  });

  it.each(['missing', 'detached'] as const)('refuses a table that is %s and has no clone', (table) => {
    for (const path of ['none', 'table-only', 'full'] as const)
      for (const making of [null, '', 'aabc']) {
        const model: Model = {
          ...{ table, active: '', path, agree: true, clone: null, making, truth: 'aabc' },
          ...{ live: false, writable: false, expired: false, peers: false },
        };
        expect(decideAttempt(observe(model), goal)).toMatchObject({ do: 'refuse', code: 'HALF_RESTORED_NO_BASELINE' });
      }
  });

  it('with an explicit path: done, restored or refused, never rebuilt', () => {
    for (const model of reached.values()) {
      const { do: step } = decideAttempt(observe(model), { ...goal, rebuildRefusal: 'EXPLICIT_KEEPER_PATH' });
      expect(REBUILDS).not.toContain(step);
    }
  });
});
