import { beforeAll, describe, expect, it } from 'vitest';
import { decideAttempt, type Goal, type Observation, type Step } from '../../src/domain/attempt.js';
import { decidePromotion } from '../../src/domain/conversion.js';
import { NO_PARTS, type PartsDigest } from '../../src/domain/inventory.js';

/**
 * A server of the conversion's time as its files and the Keeper make it. Parts are letters, a multiset as a sorted text;
 * a part's partition is its letter.
 */
interface Model {
  /** What the metadata file under the table's own name says. */
  file: 'none' | 'plain' | 'replicated';
  /** Detached until the server restarts: such a server shows nothing of it. */
  attached: boolean;
  parts: string;
  /** The server knows that the metadata is gone; of a promoted table, that it has not started it. */
  readonly: boolean;
  clone: string | null;
  making: string | null;
  held: string | null;
  next: string | null;
  nextReadonly: boolean;
  nextExpired: boolean;
  /** Own registration. `half`: its node, and not all that belongs to it. */
  path: 'none' | 'half' | 'full';
  /** Dead registrations of others, or the path's own node, which the one that goes first has to remove. */
  peers: boolean;
  promoted: boolean;
  /** A RENAME between Ordinary databases moves the folder, writes one metadata file, and removes the other. */
  torn: '' | 'folder' | 'both' | 'promoted';
}

interface Course {
  name: string;
  goal: Goal;
  starts: Model[];
  /** What a promoted table has to hold. */
  truth: string;
  /** What has to be somewhere, always. */
  precious: string[];
}

const untouched: Model = {
  ...{ file: 'replicated', attached: true, parts: 'aabc', readonly: false },
  ...{ clone: null, making: null, held: null, next: null, nextReadonly: false, nextExpired: false },
  ...{ path: 'none', peers: false, promoted: false, torn: '' },
};
const absent: Model = { ...untouched, file: 'none', attached: false, parts: '' };

const digestOf = (parts: string): PartsDigest => ({
  parts: parts.length,
  rows: parts.length * 10,
  digest: parts || '0',
});
const goal: Goal = {
  ...{ replicated: true, source: 'table', method: 'conversion', standing: true, rebuildRefusal: null, closed: true },
  ...{ fetches: null, statementDeadlineSeconds: 60, sessionTimeoutSeconds: 60 },
};
/** With each kind of registration that may be left. */
const registered = (model: Model): Model[] =>
  (['none', 'half', 'full'] as const).flatMap((path) => [false, true].map((peers) => ({ ...model, path, peers })));

const COURSES: Course[] = [
  {
    name: 'the one that goes first, from its own parts',
    goal,
    // A table whose own path is there still is read-only, or it would be healthy.
    starts: registered({ ...untouched, readonly: true }).concat({ ...untouched, readonly: false }),
    ...{ truth: 'aabc', precious: ['aabc'] },
  },
  {
    name: 'a table without parts',
    goal,
    starts: [{ ...untouched, parts: '' }],
    ...{ truth: '', precious: [] },
  },
  {
    name: 'a backup in the place of what stands there',
    goal: { ...goal, source: 'backup' },
    starts: registered({ ...untouched, parts: 'abx', clone: 'aabc' }),
    ...{ truth: 'aabc', precious: ['aabc', 'abx'] },
  },
  {
    name: 'a backup where nothing is',
    goal: { ...goal, source: 'backup', standing: false },
    starts: registered({ ...absent, clone: 'aabc' }),
    ...{ truth: 'aabc', precious: ['aabc'] },
  },
  {
    name: 'a later replica with parts of its own',
    goal: { ...goal, fetches: digestOf('aabc') },
    starts: registered({ ...untouched, parts: 'abx', readonly: true }).filter(({ peers }) => !peers),
    ...{ truth: 'aabc', precious: ['abx'] },
  },
  {
    name: 'a later replica whose shard is restored from a backup',
    goal: { ...goal, source: 'peer', fetches: digestOf('aabc') },
    starts: registered({ ...untouched, parts: 'x', readonly: true }).filter(({ peers }) => !peers),
    ...{ truth: 'aabc', precious: ['x'] },
  },
  {
    name: 'a later replica without its table',
    goal: { ...goal, source: 'peer', standing: false, fetches: digestOf('aabc') },
    starts: [absent, { ...absent, path: 'half' }, { ...absent, path: 'full' }],
    ...{ truth: 'aabc', precious: [] },
  },
  {
    name: 'a later replica of one that may be written to',
    goal: { ...goal, source: 'peer', standing: false, fetches: 'live' },
    starts: [absent, { ...absent, path: 'full' }],
    ...{ truth: 'aabc', precious: [] },
  },
];

function observe(model: Model, { truth }: Course, more: { running?: boolean; other?: boolean } = {}): Observation {
  const here = model.attached && model.file !== 'none';
  const fetched = model.next === truth;
  return {
    running: more.running ? { seconds: 1 } : null,
    table: {
      state: here && model.file !== 'none' ? model.file : 'missing',
      parts: here ? digestOf(model.parts) : NO_PARTS,
      readonly: here && model.file === 'replicated' && model.readonly,
      sessionExpired: false,
    },
    keeper: {
      replicaPathExists: model.path !== 'none',
      heldByOther: model.path !== 'none' && more.other === true,
      partsAgree: model.next === null ? null : fetched,
      stalePeers: model.path === 'none' && model.peers,
    },
    clone: model.clone === null ? null : digestOf(model.clone),
    making: model.making === null ? null : digestOf(model.making),
    held: model.held === null || model.torn === 'folder' ? null : digestOf(model.held),
    next:
      model.next === null
        ? null
        : {
            ...{ parts: digestOf(model.next), readonly: model.nextReadonly, sessionExpired: model.nextExpired },
            queue: fetched ? 0 : 1,
          },
    blocks: 0,
    embedded: false,
  };
}

function must(holds: boolean, why: string): void {
  if (!holds) throw new Error(`a real server would refuse: ${why}`);
}

const sorted = (parts: string) => [...parts].sort().join('');

/** The states that `to` passes through while its partitions become those of `from`, in both orders. */
function filling(to: string, from: string): string[][] {
  const partitions = [...new Set(to + from)].sort();
  return [partitions, partitions.toReversed()].map((order) => {
    let parts = to;
    return order.map((partition) => {
      const of = (all: string) => [...all].filter((part) => part === partition).join('');
      parts = sorted(parts.replaceAll(partition, '') + of(from));
      return parts;
    });
  });
}

/** What a step does, as the states that it passes through; more than one where the order is free. */
function effects(model: Model, step: Step, { goal: { fetches }, truth }: Course): Model[][] {
  const standing = model.attached && model.file !== 'none';
  const outOfTheWay: Model = { ...model, file: 'none', attached: false, parts: '', readonly: false };
  switch (step.do) {
    case 'make-clone':
      must(standing && model.making === null, 'CREATE over a table');
      return filling('', model.parts).map((states) => ['', ...states].map((making) => ({ ...model, making })));
    case 'drop-making':
      must(model.making !== null, 'none: DROP IF EXISTS');
      return [[{ ...model, making: null }]];
    case 'complete-clone':
      must(model.making !== null && model.clone === null, 'RENAME');
      return [[{ ...model, making: null, clone: model.making }]];
    case 'take-out':
      must(standing && model.file === 'replicated', 'DETACH');
      return [
        [
          { ...model, attached: false },
          { ...model, file: 'plain', readonly: false },
        ],
      ];
    case 'attach-plain':
      must(!model.attached && model.file !== 'none', 'ATTACH of a table that is attached, or has no folder');
      return [[{ ...model, file: 'plain', attached: true, readonly: false }]];
    case 'move-aside':
      // Refused time and again, since the folder is there: the error ends it.
      if (model.torn === 'folder') return [];
      must(standing && model.held === null, 'RENAME over a table');
      return [
        [
          { ...model, torn: 'folder', held: model.parts, parts: '' },
          { ...model, torn: 'both', held: model.parts, parts: '' },
          { ...outOfTheWay, held: model.parts },
        ],
      ];
    case 'drop-replica':
      must(!(standing && model.file === 'replicated') && model.next === null, 'to drop what a table here uses');
      must(model.path !== 'none', 'none');
      return [
        [
          { ...model, path: 'half' },
          // The path's own node stays, and who is registered there next is not its first.
          { ...model, path: 'none', peers: fetches === null },
        ],
      ];
    case 'drop-peers':
      must(model.path === 'none', 'none: it would drop the peers of a replica that is registered');
      return [[{ ...model, peers: false }]];
    case 'create-next': {
      must(model.next === null, 'CREATE over a table');
      must(model.path === 'none', 'CREATE of a replica that exists (253)');
      must(!model.peers, 'to attach anything beside other registrations');
      const made: Model = { ...model, path: 'full', next: '', nextReadonly: true };
      return [[{ ...model, path: 'half' }, { ...model, path: 'full' }, made, { ...made, nextReadonly: false }]];
    }
    case 'fill-next':
      must(model.next !== null && !model.nextReadonly && model.clone !== null, 'REPLACE PARTITION (242)');
      must(fetches === null, 'none: a later replica would replace what the first one has');
      return filling(model.next ?? '', model.clone ?? '').map((states) => states.map((next) => ({ ...model, next })));
    case 'promote': {
      must(!standing && model.next !== null, 'RENAME over a table');
      const there: Model = {
        ...{ ...model, file: 'replicated', attached: true, promoted: true },
        ...{ parts: model.next ?? '', readonly: model.nextReadonly },
      };
      return [
        [
          { ...there, torn: 'promoted' },
          { ...there, next: null, nextReadonly: false },
        ],
      ];
    }
    case 'wait':
      switch (step.why) {
        case 'catching-up':
          return filling(model.next ?? '', truth).map((states) => states.map((next) => ({ ...model, next })));
        case 'becoming-readonly':
          must(model.path !== 'full', 'none: it stays writable where its metadata is');
          return [[{ ...model, readonly: true }]];
        case 'session-expired':
          return [[{ ...model, nextExpired: false }]];
        default:
          return [[model.next === null ? { ...model, readonly: false } : { ...model, nextReadonly: false }]];
      }
    case 'done':
    case 'refuse':
      return [];
    default:
      throw new Error(`${step.do} is of the other method`);
  }
}

/** What the server, and not the worker, may do at any moment: restart, or lose its session. */
function accidents(model: Model): Model[] {
  const restarted: Model = {
    ...{ ...model, attached: model.file !== 'none', readonly: model.file === 'replicated' },
    nextReadonly: model.next !== null,
  };
  const expired: Model = { ...model, nextReadonly: true, nextExpired: true };
  return model.next === null ? [restarted] : [restarted, expired];
}

/** What comes next in a recovery: the table's own steps, then, once they are done and validated, its promotion. */
function decide(model: Model, course: Course): Step {
  const step = decideAttempt(observe(model, course), course.goal);
  return step.do === 'done' && !(model.promoted && model.next === null)
    ? decidePromotion(observe(model, course))
    : step;
}

const DESTRUCTIVE = ['take-out', 'move-aside', 'drop-replica', 'drop-peers', 'create-next', 'fill-next'];

describe.each(COURSES)('the conversion under crashes: $name', (course) => {
  const reached = new Map<string, Model>();
  const problems: string[] = [];

  /** Everything that is precious is in one piece somewhere, and no later than the last copy that was complete. */
  const kept = ({ parts, clone, making, held, next }: Model) =>
    course.precious.every((all) => [parts, clone, making, held, next].includes(all));

  /** Closes the start states over every step, every point at which its effect may stop, and every accident. */
  beforeAll(() => {
    const queue = [...course.starts];
    while (queue.length > 0 && problems.length < 5) {
      const model = queue.pop() as Model;
      const key = JSON.stringify(model);
      if (reached.has(key)) continue;
      reached.set(key, model);
      try {
        const step = decide(model, course);
        if (step.do === 'refuse' && model.torn === '') problems.push(`refused: ${key} ${step.code}`);
        if (step.do === 'done' && (model.parts !== course.truth || model.path !== 'full' || model.readonly))
          problems.push(`false success: ${key}`);
        if (step.do === 'promote' && model.next !== course.truth) problems.push(`promoted too early: ${key}`);
        for (const states of effects(model, step, course))
          for (const state of states) {
            if (!kept(state)) problems.push(`rows lost: ${key} ${step.do} ${JSON.stringify(state)}`);
            queue.push(state, ...accidents(state));
          }
      } catch (error) {
        problems.push(`${String(error)}: ${key}`);
      }
    }
  });

  it('loses no row, promotes nothing too early, sends nothing that the server would refuse', () => {
    expect(problems).toEqual([]);
    expect(reached.size).toBeGreaterThan(10);
  });

  it('ends from each of those states, done, or refused where a RENAME was torn', () => {
    const left = new Map<string, number>();
    const stepsLeft = (model: Model, depth = 0): number => {
      const key = JSON.stringify(model);
      const known = left.get(key);
      if (known !== undefined) return known;
      if (depth > 16) throw new Error(`does not converge: ${key}`);
      const step = decide(model, course);
      if (step.do === 'done' || step.do === 'refuse') return 0;
      const after = effects(model, step, course).map((states) => states.at(-1) as Model);
      if (after.some((state) => JSON.stringify(state) === key)) throw new Error(`${step.do} changes nothing: ${key}`);
      const steps = 1 + Math.max(0, ...after.map((state) => stepsLeft(state, depth + 1)));
      left.set(key, steps);
      return steps;
    };
    for (const model of reached.values()) stepsLeft(model);
    const ends = [...reached.values()].filter((model) => ['done', 'refuse'].includes(decide(model, course).do));
    expect(ends.some((model) => model.promoted && model.torn === '')).toBe(true);
  });

  it('sends nothing while a statement runs, or while another server is active on its path', () => {
    for (const model of reached.values()) {
      for (const decided of [
        decideAttempt(observe(model, course, { running: true }), course.goal),
        decidePromotion(observe(model, course, { running: true })),
      ])
        expect(decided).toEqual({ do: 'wait', why: 'statement-running' });
      if (model.path === 'none') continue;
      const step = decideAttempt(observe(model, course, { other: true }), course.goal);
      expect(step).toMatchObject({ do: 'refuse', code: 'REPLICA_ACTIVE' });
    }
  });

  it('changes nothing before there is a complete clone', () => {
    for (const model of reached.values())
      if (model.clone === null && course.goal.source !== 'peer')
        expect(DESTRUCTIVE).not.toContain(decideAttempt(observe(model, course), course.goal).do);
  });

  it('keeps what stood there aside', () => {
    for (const model of reached.values())
      if (model.promoted && model.torn === '')
        expect(model.held).toBe(course.goal.standing ? (course.starts[0]?.parts ?? null) : null);
  });
});
