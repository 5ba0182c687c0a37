import { describe, expect, it } from 'vitest';
import {
  LATE_READS,
  NO_PARTS,
  type Capabilities,
  type KeeperReplicaFacts,
  type NodeFacts,
  type TableDefinition,
  type TableFacts,
} from '../../src/domain/inventory.js';
import type { TableName } from '../../src/domain/names.js';
import type { PlanItem } from '../../src/domain/plan.js';
import type { PlanInput } from '../../src/domain/plan-input.js';
import { scopedKey } from '../../src/domain/plan-input.js';
import { ACTIVE, contents, definition, facts, full, GONE, less, live, node, planOf, saved } from './planner-facts.js';

/** 18.16.1 */
const OLD: Capabilities = {
  ...{ restoreReplica: false, dropReplica: false, attachAs: false, cloneAs: false },
  ...{ nativeBackup: false, partHashes: false, lacks: LATE_READS },
};
const PATH = '/clickhouse/tables/01/t';
const ordinary = (name = 't'): TableDefinition => ({
  ...definition('db', name, `ReplicatedMergeTree('/clickhouse/tables/{shard}/${name}', '{replica}') ORDER BY a`),
  uuid: '',
});
const t = ordinary();
const modern = definition('db', 't');

/** One of an old server: `keeper` as it is asked for, on the table's path. */
const onPath = (replicaName: string, change: Partial<KeeperReplicaFacts> = {}) => ({
  tablePath: PATH,
  replicaName,
  ...change,
});
const old = (name: string, replica: string, tables: TableFacts[], change: Partial<NodeFacts> = {}) =>
  live(name, replica, tables, {
    ...{ version: '18.16.1', capabilities: OLD, databases: [{ name: 'db', engine: 'Ordinary' }] },
    ...change,
  });
const steps = (item: PlanItem | undefined) => item?.statements.map(({ step }) => step) ?? [];
const sqlOf = (item: PlanItem | undefined, step: RegExp) =>
  item?.statements.filter((statement) => step.test(statement.step)).map(({ step, sql }) => `${step}: ${sql}`) ?? [];
const part = (name: string, hash: string) => ({
  ...{ name, partitionId: 'all', level: 0, rows: 10, hash },
  ...{ minBlock: Number(name.split('_')[1]), maxBlock: Number(name.split('_')[2]) },
});

describe('the method of a node', () => {
  it.each<[row: string, capabilities: Capabilities, strategy: RegExp]>([
    ['old', OLD, /^conversion: the server does not know SYSTEM RESTORE REPLICA, SYSTEM DROP REPLICA, /],
    [
      'of the first Atomic databases',
      { ...OLD, dropReplica: true, partHashes: true },
      /^conversion: the server does not know SYSTEM RESTORE REPLICA, ATTACH … AS REPLICATED, CLONE AS$/,
    ],
  ])('%s: conversion, and why', (_row, capabilities, strategy) => {
    const plan = planOf([old('a', 'r1', [facts(t, { keeper: onPath('r1', GONE) })], { capabilities })]);
    expect(plan.nodes[0]).toMatchObject({ method: 'conversion', strategy: expect.stringMatching(strategy) as string });
    expect(plan.items[0]).toMatchObject({ method: 'conversion', action: 'restore-replica' });
  });
  it('all statements there: in place, and why', () => {
    const plan = planOf([live('a', 'r1', [facts(modern)])]);
    expect(plan.nodes[0]).toMatchObject({
      method: 'restore-replica',
      strategy: 'SYSTEM RESTORE REPLICA: the server knows the statement',
    });
  });
  it('an explicit path is no reason for a refusal; a restart would be', () => {
    const plan = planOf([old('a', 'r1', [facts(t, { keeper: onPath('r1', GONE) })])]);
    expect(plan.warnings).toEqual([expect.stringMatching(/^do not restart ClickHouse on a before/)]);
    expect(plan.items[0]?.problem).toBeUndefined();
  });
  it('fences with what the server knows', () => {
    const plan = planOf([old('a', 'r1', [facts(t), facts({ ...definition('db', 'k', 'Kafka'), uuid: '' })])]);
    expect(plan.nodes[0]?.fence).toContain('DETACH TABLE `db`.`k`');
    expect(plan.nodes[0]?.fence.join()).not.toMatch(/TTL|MOVES|PERMANENTLY/);
  });
});

describe('what the conversion sends', () => {
  const takeOut = ['detach', 'attach-plain', 'move-aside'];
  it.each<[row: string, nodes: NodeFacts[], change: Partial<PlanInput>, at: number, expected: string[]]>([
    [
      'Keeper lost: a clone, out of the way, a new one beside, its name last',
      [old('a', 'r1', [facts(t, { keeper: onPath('r1', GONE) })])],
      {},
      0,
      [
        ...['create-making', 'fill-making', 'complete-clone', ...takeOut],
        ...['create-next', 'fill-next', 'empty-next', 'promote'],
        ...['delete-replica-path', 'delete-peer-path', 'drop-making'],
      ],
    ],
    [
      'a replica lost its table: nothing of its own is filled in',
      [old('a', 'r1', [facts(t, { ...ACTIVE, keeper: onPath('r1', { activeReplicas: ['r1'] }) })]), old('b', 'r2', [])],
      {},
      1,
      ['delete-replica-path', 'create-next', 'promote'],
    ],
    [
      'a shard lost its data: the second one fetches, and what stands there goes aside',
      ['a', 'b'].map((name, i) =>
        old(name, `r${i + 1}`, [
          facts(t, { parts: { parts: 0, rows: 0, digest: '0' }, keeper: onPath(`r${i + 1}`, GONE) }),
        ]),
      ),
      { backups: new Map([['01', contents([saved(t)], { node: 'a' })]]) },
      1,
      [...takeOut, 'delete-replica-path', 'create-next', 'promote'],
    ],
  ])('%s', (_row, nodes, change, at, expected) => {
    const item = planOf(nodes, change).items[at];
    expect(steps(item)).toEqual(expected);
    expect(item?.statements.map(({ sql }) => sql).join('\n')).not.toMatch(/ SYNC| UUID | CLONE AS|RESTORE| COMMENT /);
  });
});

describe('where the conversion cannot go', () => {
  it.each<[row: string, item: () => PlanItem | undefined]>([
    ['Keeper lost', () => planOf([live('a', 'r1', [facts(modern, { keeper: GONE })], { capabilities: OLD })]).items[0]],
    [
      'a replica lost',
      () =>
        planOf([live('a', 'r1', [facts(modern, ACTIVE)]), live('b', 'r2', [], { capabilities: OLD })]).items.find(
          (item) => item.node.name === 'b',
        ),
    ],
    [
      'the data lost',
      () =>
        planOf([live('a', 'r1', [], { capabilities: OLD })], { backups: new Map([['01', contents([saved(modern)])]]) })
          .items[0],
    ],
  ])('a table of an Atomic database: %s', (_row, item) => {
    expect(item()).toMatchObject({
      action: 'needs-operator',
      problem: { code: 'UNSUPPORTED_SERVER', objects: ['db.t'] },
      statements: [],
    });
  });
  it('a healthy table of an Atomic database is left alone', () => {
    const [item] = planOf([live('a', 'r1', [facts(modern, ACTIVE)], { capabilities: OLD })]).items;
    expect(item).toMatchObject({ action: 'none', statements: [] });
    expect(item?.problem).toBeUndefined();
  });
});

describe('a server that knows SYSTEM RESTORE REPLICA, and not all around it', () => {
  /** Of the years from 21.9 to 24.9. */
  const BETWEEN: Capabilities = { ...OLD, restoreReplica: true, dropReplica: true, partHashes: true };
  const between = (tables: TableFacts[], can: Partial<Capabilities> = {}, change: Partial<NodeFacts> = {}) =>
    live('a', 'r1', tables, { capabilities: { ...BETWEEN, ...can }, ...change });
  const lost = facts(modern, { keeper: GONE });

  it('says so in the plan', () => {
    const plan = planOf([between([lost])]);
    expect(plan.nodes[0]).toMatchObject({
      method: 'restore-replica',
      strategy: 'SYSTEM RESTORE REPLICA: the server knows the statement, and not ATTACH … AS REPLICATED, CLONE AS',
    });
    expect(plan.warnings).toEqual([
      expect.stringMatching(/^do not restart ClickHouse on a before .* stay in _recovery$/),
    ]);
  });
  it.each<[row: string, can: Partial<Capabilities>, steps: string[]]>([
    [
      'nothing of it: a clone partition by partition, then in place',
      {},
      ['create-making', 'fill-making', 'complete-clone', 'drop-making', 'restart-replica', 'restore-replica'],
    ],
    [
      'CLONE AS',
      { cloneAs: true },
      ['make-clone', 'complete-clone', 'drop-making', 'restart-replica', 'restore-replica'],
    ],
    [
      'ATTACH AS REPLICATED, and does not show what is detached',
      { cloneAs: true, attachAs: true },
      ['make-clone', 'complete-clone', 'drop-making', 'restart-replica', 'restore-replica'],
    ],
    [
      'all but SYSTEM DROP REPLICA',
      { cloneAs: true, attachAs: true, dropReplica: false, lacks: [] },
      [
        ...['make-clone', 'complete-clone', 'drop-making', 'restart-replica', 'restore-replica', 'detach'],
        ...['delete-replica-path', 'attach-not-replicated', 'attach', 'replace-partition', 'drop-partition'],
        ...['attach-as-replicated', 'delete-peer-path'],
      ],
    ],
  ])('knows %s', (_row, can, expected) => {
    const [item] = planOf([between([lost], can)]).items;
    expect(item).toMatchObject({ action: 'restore-replica', method: 'restore-replica' });
    expect(steps(item)).toEqual(expected);
  });
  it('clones with what keeps the clone as it is', () => {
    const [item] = planOf([between([lost])]).items;
    expect(sqlOf(item, /making$/)).toEqual([
      expect.stringMatching(
        /^create-making: CREATE TABLE `_recovery`\.`making [^`]+` \(.*ENGINE = MergeTree .*max_number_of_merges_with_ttl_in_pool = 0 COMMENT /,
      ),
      expect.stringMatching(
        /^fill-making: ALTER TABLE `_recovery`\.`making [^`]+` REPLACE PARTITION ID '\{partition\}' FROM `db`\.`t`$/,
      ),
      expect.stringMatching(/^drop-making: DROP TABLE IF EXISTS .* SYNC$/),
    ]);
  });
  it.each<[row: string, nodes: NodeFacts[], change: Partial<PlanInput>]>([
    ['half restored', [between([facts(modern, { clone: less })])], {}],
    ['lost', [between([])], { backups: new Map([['01', contents([saved(modern)])]]) }],
  ])('rebuilds no replicated table: %s', (_row, nodes, change) => {
    expect(planOf(nodes, change).items[0]).toMatchObject({
      action: 'needs-operator',
      problem: { code: 'UNSUPPORTED_SERVER', objects: ['db.t'] },
      statements: [],
    });
  });
  it('restores a table that is not replicated, and creates one that a peer has', () => {
    const plain = definition('db', 'p', 'MergeTree ORDER BY a');
    const backups = new Map([['01', contents([saved(plain)])]]);
    expect(planOf([between([])], { backups }).items[0]).toMatchObject({ action: 'restore-from-backup' });
    const peer = live('b', 'r2', [facts(modern, { ...ACTIVE, keeper: { replicaName: 'r2', activeReplicas: ['r2'] } })]);
    const fetching = planOf([between([]), peer]).items.find(({ node }) => node.name === 'a');
    expect(steps(fetching)).toEqual(['drop-replica', 'create-replicated']);
  });
});

describe('what a later replica fetches', () => {
  const lists = {
    partLists: new Map([
      [
        scopedKey('01', t),
        new Map([
          ['a', [part('all_0_0_0', 'a'), part('all_1_1_0', 'b')]],
          ['b', [part('all_0_0_0', 'a')]],
        ]),
      ],
    ]),
  };
  const gone = (replicaName: string, change: Parameters<typeof facts>[1] = {}) => [
    facts(t, { ...change, keeper: onPath(replicaName, GONE) }),
  ];
  const lost = [facts(modern, { keeper: GONE })];
  const fewer = [facts(modern, { keeper: { ...GONE, replicaName: 'r2' }, parts: less })];
  it.each<[row: string, nodes: NodeFacts[], change: Partial<PlanInput>, expected: Partial<PlanItem>[]]>([
    [
      'conversion: what the first one has, not what it held',
      [old('a', 'r1', gone('r1')), old('b', 'r2', gone('r2', { parts: less }))],
      lists,
      [
        { authority: true, fetches: null, expected: full },
        { authority: false, fetches: full, expected: full },
      ],
    ],
    [
      'in place: the same',
      [live('a', 'r1', lost), live('b', 'r2', fewer)],
      lists,
      [
        { authority: true, fetches: null, expected: full },
        { authority: false, fetches: full, expected: full },
      ],
    ],
    [
      'an embedded node fetches nothing: its own parts',
      [node('a', '01', 'r1', lost), node('b', '01', 'r2', fewer)],
      lists,
      [
        { authority: true, fetches: null, expected: full },
        { authority: false, fetches: null, expected: less },
      ],
    ],
    [
      'lost its disk: what the backup has, restored on the first',
      [old('a', 'r1', []), old('b', 'r2', [])],
      { backups: new Map([['01', contents([saved(t)], { node: 'a' })]]) },
      [
        { action: 'restore-from-backup', fetches: null, expected: full },
        { action: 'recreate-and-fetch', fetches: full, expected: full },
      ],
    ],
    [
      'lost its disk, the backup does not tell its parts',
      [live('a', 'r1', []), live('b', 'r2', [])],
      { backups: new Map([['01', contents([saved(modern, null)])]]) },
      [
        { fetches: null, expected: null },
        { fetches: 'live', expected: null },
      ],
    ],
    [
      'from a live peer: nothing is known in advance',
      [live('a', 'r1', [facts(modern, ACTIVE)]), live('b', 'r2', [])],
      {},
      [
        { action: 'none', fetches: null },
        { action: 'recreate-and-fetch', fetches: 'live', expected: null },
      ],
    ],
    [
      'from a live peer, its own metadata lost',
      [
        old('a', 'r1', [facts(t, { ...ACTIVE, keeper: onPath('r1', { activeReplicas: ['r1'] }) })]),
        old('b', 'r2', [
          facts(t, {
            keeper: onPath('r2', { ...GONE, tablePathExists: true, replicas: ['r1'], activeReplicas: ['r1'] }),
          }),
        ]),
      ],
      {},
      [
        { action: 'none', authority: true },
        { action: 'restore-replica', authority: false, fetches: 'live', expected: null },
      ],
    ],
  ])('%s', (_row, nodes, change, expected) => {
    expect(planOf(nodes, change).items).toMatchObject(expected);
  });
});

describe('registrations that are left on a path', () => {
  const left = (replicaName: string, change: Partial<KeeperReplicaFacts> = {}) =>
    onPath(replicaName, {
      ...{ replicaPathExists: false, partsAgree: null, replicas: ['r2', 'r9'], activeReplicas: [] },
      ...change,
    });
  const cleared = /^(drop-replica|drop-peer|delete-)/;

  it('old server: the one that goes first deletes them, then the path; the later one its own', () => {
    const plan = planOf([
      old('a', 'r1', [facts(t, { keeper: left('r1') })]),
      old('b', 'r2', [facts(t, { keeper: left('r2', { replicaPathExists: true, partsAgree: false }) })]),
    ]);
    expect(plan.items.map(({ authority }) => authority)).toEqual([true, false]);
    expect(sqlOf(plan.items[0], cleared)).toEqual([
      `delete-replica-path: ${PATH}/replicas/r1`,
      `delete-peer-path: ${PATH}/replicas/r2`,
      `delete-peer-path: ${PATH}/replicas/r9`,
      `delete-peer-path: ${PATH}`,
    ]);
    expect(sqlOf(plan.items[1], cleared)).toEqual([`delete-replica-path: ${PATH}/replicas/r2`]);
  });

  it.each<[row: string, capabilities: Capabilities]>([
    ['that knows SYSTEM DROP REPLICA', { ...OLD, dropReplica: true }],
    ['of the years between', { ...OLD, restoreReplica: true, dropReplica: true, partHashes: true }],
    ['of today', { ...OLD, restoreReplica: true, dropReplica: true, attachAs: true, cloneAs: true, partHashes: true }],
  ])('a server %s: by statement, the one that goes first only', (_row, capabilities) => {
    const plan = planOf([
      old('a', 'r1', [facts(t, { keeper: left('r1') })], { capabilities }),
      old('b', 'r2', [facts(t, { keeper: left('r2') })], { capabilities }),
    ]);
    expect(sqlOf(plan.items[0], /peer/)).toEqual([
      `drop-peer-replica: SYSTEM DROP REPLICA 'r2' FROM ZKPATH '${PATH}'`,
      `drop-peer-replica: SYSTEM DROP REPLICA 'r9' FROM ZKPATH '${PATH}'`,
    ]);
    expect(sqlOf(plan.items[1], /peer/)).toEqual([]);
  });

  it('old server: the one that goes first deletes the path also where none is: a server that dies in the middle of CREATE leaves it', () => {
    const plan = planOf([old('a', 'r1', [facts(t, { keeper: left('r1', GONE) })])]);
    expect(sqlOf(plan.items[0], cleared)).toEqual([
      `delete-replica-path: ${PATH}/replicas/r1`,
      `delete-peer-path: ${PATH}`,
    ]);
  });

  it.each<[row: string, keeper: Partial<KeeperReplicaFacts>]>([
    ['somebody is active', { activeReplicas: ['r9'] }],
    ['somebody is active, and it is registered itself', { replicaPathExists: true, activeReplicas: ['r9'] }],
  ])('none where %s', (_row, keeper) => {
    for (const capabilities of [OLD, { ...OLD, dropReplica: true }]) {
      const plan = planOf([old('a', 'r1', [facts(t, { keeper: left('r1', keeper) })], { capabilities })]);
      expect(sqlOf(plan.items[0], /peer/)).toEqual([]);
    }
  });

  it('none where nothing is to be done', () => {
    const healthy = onPath('r1', { replicas: ['r1', 'r9'], activeReplicas: ['r1'] });
    const plan = planOf([old('a', 'r1', [facts(t, { ...ACTIVE, keeper: healthy })])]);
    expect(plan.items[0]).toMatchObject({ action: 'none', statements: [] });
  });

  it('a lost table, the only one of its shard: what ZooKeeper has of its path counts', () => {
    const absentPaths = new Map([
      [
        scopedKey('a', t),
        {
          ...{ tablePath: PATH, replicaName: 'r1', tablePathExists: true, replicaPathExists: true },
          ...{
            replicas: ['r1', 'r2'],
            activeReplicas: [],
            partsInKeeper: 2,
            partsAgree: false,
            missingLocally: 2,
            notListed: 0,
          },
        },
      ],
    ]);
    const backups = new Map([['01', contents([saved(t)], { node: 'a' })]]);
    expect(sqlOf(planOf([old('a', 'r1', [])], { absentPaths, backups }).items[0], cleared)).toEqual([
      `delete-replica-path: ${PATH}/replicas/r1`,
      `delete-peer-path: ${PATH}/replicas/r2`,
      `delete-peer-path: ${PATH}`,
    ]);
  });
});

describe('who goes first, where somebody is alive or has begun', () => {
  const lost = (replica: string, change: Partial<TableFacts> = {}) =>
    facts(t, { readonly: true, keeper: onPath(replica, { ...GONE, tablePathExists: true }), ...change });
  const well = (replica: string) =>
    facts(t, { readonly: false, keeper: onPath(replica, { ...ACTIVE, activeReplicas: [replica] }) });

  it.each([
    [old('a', 'r1', [lost('r1')]), old('b', 'r2', [well('r2')]), 'b'],
    [old('a', 'r1', [well('r1')]), old('b', 'r2', [lost('r2')]), 'a'],
  ])('a living peer, whatever it is called', (a, b, first) => {
    const { items } = planOf([a, b]);
    expect(items.find((item) => item.authority)?.node.name).toBe(first);
    expect(items.find((item) => !item.authority)).toMatchObject({ action: 'restore-replica', fetches: 'live' });
    expect(items.flatMap((item) => sqlOf(item, /peer/))).toEqual([]);
  });

  it('who lost its metadata and has more than its living peer: a person decides', () => {
    const parts = { parts: 4, rows: 40, digest: '44' };
    const { items } = planOf([old('a', 'r1', [lost('r1', { parts, identity: '44' })]), old('b', 'r2', [well('r2')])]);
    expect(items[0]).toMatchObject({ action: 'needs-operator', problem: { code: 'REPLICAS_DIVERGED' } });
  });

  it('who lost its metadata, and is not covered by a living peer that may have numbered its parts anew since', () => {
    const merged = { ...part('all_0_9_1', 'a9'), rows: 90, level: 1 };
    const lists = { a: [merged], b: [part('all_8_8_0', 'b8')] };
    const alive = { ...well('r1'), parts: { parts: 1, rows: 90, digest: '90' }, identity: '90' };
    const partLists = new Map([[scopedKey('01', t), new Map(Object.entries(lists))]]);
    for (const of of [old, live]) {
      const { items } = planOf([of('a', 'r1', [alive]), of('b', 'r2', [lost('r2')])], { partLists });
      expect(items[1]).toMatchObject({ action: 'needs-operator', problem: { code: 'REPLICAS_DIVERGED' } });
    }
  });

  it('who lost its metadata, and whose parts a living peer has byte for byte', () => {
    const lists = { a: [part('all_0_0_0', 'b8'), part('all_1_1_0', 'x')], b: [part('all_8_8_0', 'b8')] };
    const alive = { ...well('r1'), parts: { parts: 2, rows: 20, digest: '90' }, identity: '90' };
    const partLists = new Map([[scopedKey('01', t), new Map(Object.entries(lists))]]);
    const { items } = planOf([live('a', 'r1', [alive]), live('b', 'r2', [lost('r2')])], { partLists });
    expect(items[1]).toMatchObject({ action: 'restore-replica', fetches: 'live' });
  });

  it('the one that an unfinished recovery has registered beside its table', () => {
    const beside = [`${PATH}/replicas/r2`];
    const registered = { ...GONE, tablePathExists: true, replicas: ['r2'] };
    const table = (replica: string) =>
      facts(t, { readonly: true, clone: full, parts: full, keeper: onPath(replica, registered) });
    const { items } = planOf([old('a', 'r1', [table('r1')]), old('b', 'r2', [table('r2')], { beside })], {
      request: { cluster: 'prod', adopt: true },
    });
    expect(items.find((item) => item.authority)?.node.name).toBe('b');
    expect(items.flatMap((item) => sqlOf(item, /peer/))).toEqual([`delete-peer-path: ${PATH}`]);
  });
});

describe('replicas that an unfinished recovery cloned, one of which had merged', () => {
  const merged = { parts: 1, rows: 20, digest: '41' };
  const plan = (held: TableName | null) => {
    const aside = facts(t, {
      ...{ parts: NO_PARTS, clone: merged, namedIn: held, identity: held ? 'merged' : '41' },
      keeper: onPath('r1', GONE),
    });
    const standing = facts(t, { clone: full, namedIn: t, identity: 'both', keeper: onPath('r2', GONE) });
    const rows = (name: string, n: number) => ({ ...part(name, name), rows: n, level: Number(name.split('_')[3]) });
    const named = new Map([['b', [rows('all_0_0_0', 10), rows('all_1_1_0', 10)]]]);
    if (held) named.set('a', [rows('all_0_1_1', 20)]);
    return planOf([old('a', 'r1', [aside], { unfinishedRecovery: 'x' }), old('b', 'r2', [standing])], {
      request: { cluster: 'prod', adopt: true },
      partLists: new Map([[scopedKey('01', t), named]]),
    });
  };

  it('compare by the parts that were moved aside: who merged has what the other has', () => {
    const { items } = plan({ database: '_recovery', table: 'held db.t' });
    expect(items.find((item) => item.authority)?.node.name).toBe('a');
    expect(items.map((item) => item.problem?.code)).toEqual([undefined, undefined]);
  });

  it('are left to a person where only clones are left, whose parts have other names', () => {
    expect(plan(null).items.map((item) => item.problem?.code)).toEqual(['REPLICAS_DIVERGED', 'REPLICAS_DIVERGED']);
  });
});

describe('data of a cold copy', () => {
  const copy = (counted: object) =>
    new Map([
      [
        '01',
        contents([{ ...saved(t, null), ...counted }], {
          node: 'b',
          name: 'g1',
          cold: { manifest: 'm' },
          destination: "cold copy 'g1' of b",
        }),
      ],
    ]);
  const known = { counted: { parts: 2, rows: 20, bytes: null } };

  it('goes to the node of the copy first: its agent places the parts, SQL attaches them, the other replica fetches', () => {
    const plan = planOf([old('a', 'r1', []), old('b', 'r2', [])], { backups: copy(known) });
    const [other, first] = plan.items;
    expect(first).toMatchObject({
      ...{ action: 'restore-from-backup', authority: true },
      place: { host: 'b', generation: 'g1', manifest: 'm', counted: { parts: 2, rows: 20 } },
    });
    expect(first?.restore).toBeUndefined();
    expect(sqlOf(first, /target|^restore$|part$/)).toEqual([
      'create-target: CREATE TABLE `_recovery`.`staging db.t` (`a` Int32) ENGINE = MergeTree ORDER BY a SETTINGS max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1',
      'restore: agent of b: place 2 parts of data/db/t in its cold copy "g1" into detached/ of `_recovery`.`staging db.t`',
      "attach-part: ALTER TABLE `_recovery`.`staging db.t` ATTACH PART '{part}'",
      'drop-target: DROP TABLE IF EXISTS `_recovery`.`staging db.t`',
    ]);
    expect(other).toMatchObject({ action: 'recreate-and-fetch', authority: false });
    expect(plan.warnings.join()).toContain('of the cold copy, parts and definitions are used');
  });

  it('a lost one does not wait for a peer’s empty table', () => {
    const keeper = onPath('r2', { replicas: ['r2'], activeReplicas: [] });
    const empty = facts(t, { parts: { parts: 0, rows: 0, digest: '0' }, sessionExpired: true, keeper });
    const backups = new Map([...copy(known)].map(([shard, of]) => [shard, { ...of, node: 'a' }]));
    const { items } = planOf([old('a', 'r1', []), old('b', 'r2', [empty])], { backups });
    expect(items[0]).toMatchObject({ situation: 'table-lost', action: 'restore-from-backup' });
  });

  it('a table that stands empty had rows there', () => {
    const empty = facts(t, { parts: { parts: 0, rows: 0, digest: '0' }, keeper: onPath('r2', GONE) });
    const { items } = planOf([old('b', 'r2', [empty])], { backups: copy(known) });
    expect(items[0]).toMatchObject({ situation: 'data-lost', action: 'restore-from-backup' });
  });

  it('a table whose folder the copy lacks is left to a person', () => {
    const { items } = planOf([old('b', 'r2', [])], { backups: copy({}) });
    expect(items[0]).toMatchObject({ action: 'needs-operator', problem: { code: 'DATA_LOST_NO_BACKUP' } });
  });
});
