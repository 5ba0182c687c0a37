import { describe, expect, it } from 'vitest';
import type { PartRef } from '../../src/domain/authority.js';
import { NO_PARTS, type NodeFacts } from '../../src/domain/inventory.js';
import type { ManifestTable } from '../../src/domain/manifest.js';
import { quote } from '../../src/domain/names.js';
import { nothingToDo, workOf, type PlanItem } from '../../src/domain/plan.js';
import { scopedKey, type PlanInput } from '../../src/domain/plan-input.js';
import { absentKeeper } from '../../src/domain/planner.js';
import {
  ACTIVE,
  contents,
  DEFAULT_PATH,
  definition,
  facts,
  full,
  GONE,
  less,
  live,
  node,
  planOf,
  saved,
} from './planner-facts.js';

const t = definition('db', 't');
const u = definition('db', 'u');
const mysql = definition('db', 'm', "MySQL('h:3306', 'db', 't', 'user', 'pw-in-ddl')");
const brief = (items: PlanItem[]) =>
  items.map(
    (item) =>
      `${item.node.name} ${item.database}.${item.table}: ${item.situation} → ${item.action}${item.problem ? ` (${item.problem.code})` : ''}${item.authority ? ' first' : ''}`,
  );
const codes = (plan: ReturnType<typeof planOf>) => plan.refusals.map((refusal) => refusal.code);
const steps = (item: PlanItem | undefined) => item?.statements.map((statement) => statement.step) ?? [];
const part = (name: string, hash: string): PartRef => {
  const [partitionId = '', min, max, level] = name.split('_');
  return { name, partitionId, minBlock: Number(min), maxBlock: Number(max), level: Number(level), rows: 10, hash };
};
const lists = (byNode: Record<string, PartRef[]>) => ({
  partLists: new Map([[scopedKey('01', t), new Map(Object.entries(byNode))]]),
});

describe('what is planned', () => {
  it('lists what happens after validation, and on a node without work of its own what concerns it', () => {
    const plan = planOf([live('r1', 'r1', [facts(t, ACTIVE)]), live('r2', 'r2', [])]);
    expect(brief(plan.items)[0]).toBe('r1 db.t: healthy → none first');
    const beside = plan.nodes[0];
    expect(beside?.fence).toEqual([]);
    expect(beside?.closing).toContain('INSERT INTO `_recovery`.`canary {recovery}` SELECT toUInt64({n})');
    expect(beside?.closing).toContain('DROP TABLE IF EXISTS `_recovery`.`{left behind}` SYNC');
    expect(beside?.closing).not.toContain('SYSTEM START MERGES');
    expect(planOf([node('a', '01', 'r1', [facts(t)])]).nodes[0]?.closing).toEqual([]);
  });

  it('lists what happens after validation on nodes that are changed', () => {
    const nodes = ['r1', 'r2'].map((replica) => live(replica, replica, [facts(t, { keeper: GONE })]));
    const closing = (change: Partial<PlanInput> = {}) => planOf(nodes, change).nodes[1]?.closing;
    expect(closing()).toEqual([
      "CREATE TABLE IF NOT EXISTS `_recovery`.`canary {recovery}` (n UInt64) ENGINE = ReplicatedMergeTree('/clickhouse/recovery/{recovery}/01/canary', 'r2') ORDER BY n",
      'INSERT INTO `_recovery`.`canary {recovery}` SELECT toUInt64({n})',
      'DROP TABLE IF EXISTS `_recovery`.`canary {recovery}` SYNC',
      'RENAME TABLE `_recovery`.`{clone}` TO `_recovery`.`{aside}`',
      'DROP TABLE IF EXISTS `_recovery`.`{left behind}` SYNC',
      ...closing()!.slice(5),
    ]);
    expect(closing()!.slice(5)).toContain('SYSTEM START MERGES');
    expect(closing({ keepAside: false })).toContain('DROP TABLE IF EXISTS `_recovery`.`{clone}` SYNC');
  });

  it('claims no manifest, and no age, where one shard has none', () => {
    const nodes = [node('a', '01', 'r1', []), node('b', '02', 'r1', [])];
    const withManifest = contents([saved(t)]);
    const bare = contents([saved(t)], { evidence: 'backup', takenAt: '' });
    const plan = (one: typeof bare, other: typeof bare) =>
      planOf(nodes, {
        backups: new Map([
          ['01', one],
          ['02', other],
        ]),
      }).backup;
    expect(plan(withManifest, withManifest)).toMatchObject({ evidence: 'manifest', takenAt: withManifest.takenAt });
    expect(plan(withManifest, bare)).toMatchObject({ evidence: 'backup', takenAt: '' });
  });

  it.each([
    ['Memory', 1],
    ['File(CSV)', 1],
    ["KeeperMap('/m')", 1],
    ['OfTomorrow', 1],
    ["Distributed('c', 'db', 't')", 0],
    ['Null', 0],
  ])('tells of rows that no definition brings back: %s', (engine, warnings) => {
    const lost = definition('db', 'm', engine);
    const plan = planOf([node('a', '01', 'r1', [])], { backups: new Map([['01', contents([saved(lost)])]]) });
    expect(plan.items.map(({ action }) => action)).toEqual(['create-object']);
    expect(plan.warnings.filter((line) => /without rows that it may have had/.test(line))).toHaveLength(warnings);
  });

  it('tells of parts that a server put aside, though all looks well', () => {
    const plan = planOf([node('a', '01', 'r1', [facts(t, { putAside: 2 }), facts(u)])]);
    expect(plan.items.map(({ action }) => action)).toEqual(['none', 'none']);
    expect(plan.warnings).toEqual([expect.stringMatching(/^db\.t @ a: 2 parts in detached\//)]);
  });

  it('shows no password of a definition', () => {
    const backups = new Map([['01', contents([saved(t), saved(mysql)])]]);
    expect(JSON.stringify(planOf([node('a', '01', 'r1', [facts(t)])], { backups }))).not.toContain('pw-in-ddl');
  });

  it.each<[row: string, nodes: NodeFacts[], change: Partial<PlanInput>, items: string[]]>([
    ['healthy', [node('a', '01', 'r1', [facts(t)])], {}, ['a db.t: healthy → none first']],
    [
      'Keeper lost',
      [node('a', '01', 'r1', [facts(t, { keeper: GONE })])],
      {},
      ['a db.t: keeper-metadata-lost → restore-replica first'],
    ],
    [
      'one table of two is lost',
      [node('a', '01', 'r1', [facts(t)])],
      { backups: new Map([['01', contents([saved(t), saved(u)])]]) },
      ['a db.t: healthy → none first', 'a db.u: table-lost → restore-from-backup first'],
    ],
    [
      'an object with a password in its definition is lost',
      [node('a', '01', 'r1', [facts(t)])],
      { backups: new Map([['01', contents([saved(t), saved(mysql)])]]) },
      ['a db.m: table-lost → needs-operator (DEFINITION_HAS_SECRET) first', 'a db.t: healthy → none first'],
    ],
    [
      'the data of a shard is lost',
      [node('a', '01', 'r1', []), node('b', '02', 'r1', [facts(t)])],
      {
        backups: new Map([
          ['01', contents([saved(t)])],
          ['02', contents([saved(t)])],
        ]),
      },
      ['a db.t: data-lost → restore-from-backup first', 'b db.t: healthy → none first'],
    ],
    [
      'the data of a shard with two replicas is lost: one restores, one fetches',
      [node('a', '01', 'r1', []), node('b', '01', 'r2', [])],
      { backups: new Map([['01', contents([saved(t)])]]) },
      ['a db.t: data-lost → restore-from-backup first', 'b db.t: replica-lost → recreate-and-fetch'],
    ],
    [
      'one replica lost its disk',
      [node('a', '01', 'r1', [facts(t)]), node('b', '01', 'r2', [])],
      {},
      ['a db.t: healthy → none first', 'b db.t: replica-lost → recreate-and-fetch'],
    ],
    [
      'Keeper lost, and one replica its disk',
      [node('a', '01', 'r1', []), node('b', '01', 'r2', [facts(t, { keeper: GONE })])],
      {},
      ['a db.t: replica-lost → recreate-and-fetch', 'b db.t: keeper-metadata-lost → restore-replica first'],
    ],
    [
      'Keeper lost, two equal replicas',
      [node('b', '01', 'r2', [facts(t, { keeper: GONE })]), node('a', '01', 'r1', [facts(t, { keeper: GONE })])],
      {},
      ['b db.t: keeper-metadata-lost → restore-replica', 'a db.t: keeper-metadata-lost → restore-replica first'],
    ],
    [
      'Keeper lost, the second replica has all parts',
      [
        node('a', '01', 'r1', [facts(t, { keeper: GONE, parts: less })]),
        node('b', '01', 'r2', [facts(t, { keeper: GONE })]),
      ],
      lists({ a: [part('all_0_0_0', 'a')], b: [part('all_0_0_0', 'a'), part('all_1_1_0', 'b')] }),
      ['a db.t: keeper-metadata-lost → restore-replica', 'b db.t: keeper-metadata-lost → restore-replica first'],
    ],
    [
      'Keeper lost, diverged replicas',
      [
        node('a', '01', 'r1', [facts(t, { keeper: GONE, parts: less })]),
        node('b', '01', 'r2', [facts(t, { keeper: GONE })]),
      ],
      lists({ a: [part('all_0_0_0', 'a')], b: [part('all_1_1_0', 'b'), part('all_2_2_0', 'c')] }),
      [
        'a db.t: diverged → needs-operator (REPLICAS_DIVERGED)',
        'b db.t: diverged → needs-operator (REPLICAS_DIVERGED)',
      ],
    ],
    [
      'diverged from a replica that is healthy',
      [node('a', '01', 'r1', [facts(t)]), node('b', '01', 'r2', [facts(t, { keeper: GONE, parts: less })])],
      lists({ a: [part('all_0_0_0', 'a'), part('all_1_1_0', 'b')], b: [part('all_2_2_0', 'c')] }),
      ['a db.t: healthy → none first', 'b db.t: diverged → needs-operator (REPLICAS_DIVERGED)'],
    ],
    [
      'an empty table, and a replica that lost its disk',
      [node('a', '01', 'r1', [facts(t, { parts: NO_PARTS })]), node('b', '01', 'r2', [])],
      {},
      ['a db.t: healthy → none first', 'b db.t: replica-lost → recreate-and-fetch'],
    ],
    [
      'three replicas: the one that has parts counts, not the first',
      [
        node('a', '01', 'r1', [facts(t, { parts: NO_PARTS, keeper: GONE })]),
        node('b', '01', 'r2', []),
        node('c', '01', 'r3', [facts(t, { keeper: GONE })]),
      ],
      lists({ a: [], c: [part('all_0_0_0', 'a'), part('all_1_1_0', 'b')] }),
      [
        'a db.t: keeper-metadata-lost → restore-replica',
        'b db.t: replica-lost → recreate-and-fetch',
        'c db.t: keeper-metadata-lost → restore-replica first',
      ],
    ],
    [
      'a table without replication that only one server ever had',
      [
        node('a', '01', 'r1', [facts(definition('db', 'local', 'MergeTree ORDER BY a'))]),
        node('b', '01', 'r2', [facts(t)]),
      ],
      {},
      ['a db.local: healthy → none first', 'a db.t: replica-lost → recreate-and-fetch', 'b db.t: healthy → none first'],
    ],
    [
      'an interrupted recovery, adopted',
      [node('a', '01', 'r1', [facts(t, { keeper: GONE, parts: less, clone: full })], { unfinishedRecovery: 'x' })],
      { request: { cluster: 'prod', adopt: true } },
      ['a db.t: half-restored → rebuild-from-clone first'],
    ],
    [
      'half restored, clones that differ decide who goes first',
      [
        node('a', '01', 'r1', [facts(t, { keeper: GONE, parts: NO_PARTS, clone: less })], { unfinishedRecovery: 'x' }),
        node('b', '01', 'r2', [facts(t, { keeper: GONE, parts: NO_PARTS, clone: { ...less, digest: '99' } })]),
      ],
      { request: { cluster: 'prod', adopt: true } },
      [
        'a db.t: diverged → needs-operator (REPLICAS_DIVERGED)',
        'b db.t: diverged → needs-operator (REPLICAS_DIVERGED)',
      ],
    ],
    [
      'its path is held by a live server',
      [node('a', '01', 'r1', [facts(t, { keeper: { activeReplicas: ['r1'] } })])],
      {},
      ['a db.t: stale-path-live-replica → needs-operator (REPLICA_ACTIVE) first'],
    ],
    [
      'lost, and its dropped table holds the UUID',
      [node('a', '01', 'r1', [], { pendingDropUuids: [t.uuid] })],
      { backups: new Map([['01', contents([saved(t)])]]) },
      ['a db.t: table-lost → needs-operator (UUID_PENDING_DROP)'],
    ],
    [
      'zero-copy',
      [node('a', '01', 'r1', [facts(t, { unsupported: 'zero-copy' })])],
      {},
      ['a db.t: not-recoverable → needs-operator (NOT_RECOVERABLE)'],
    ],
  ])('%s', (_row, nodes, change, items) => {
    const plan = planOf(nodes, change);
    // Who goes first says nothing of a table that nothing is done about.
    const told = (lines: string[]) => lines.map((line) => line.replace(/(\)|→ none) first$/, '$1'));
    expect(told(brief(plan.items))).toEqual(told(items));
    expect(codes(plan)).toEqual([]);
  });

  it('a healthy cluster has nothing to do, and no statement', () => {
    const plan = { ...planOf([node('a', '01', 'r1', [facts(t), facts(u)])]), hash: '' };
    expect(nothingToDo(plan)).toBe(true);
    expect(plan.items.flatMap((item) => item.statements)).toEqual([]);
  });

  it('names exactly the parts by which replicas diverged', () => {
    const plan = planOf(
      [
        node('a', '01', 'r1', [facts(t, { keeper: GONE, parts: less })]),
        node('b', '01', 'r2', [facts(t, { keeper: GONE })]),
      ],
      lists({ a: [part('all_0_0_0', 'a')], b: [part('all_1_1_0', 'b')] }),
    );
    expect(plan.items[0]?.problem?.objects?.toSorted()).toEqual(['a: all_0_0_0', 'b: all_1_1_0']);
    expect(plan.items.flatMap((item) => item.statements)).toEqual([]);
  });

  it.each<[row: string, item: () => PlanItem | undefined, steps: string[]]>([
    [
      'Keeper lost: clone first, RESTORE next, repairs last',
      () => planOf([node('a', '01', 'r1', [facts(t, { keeper: GONE })])]).items[0],
      [
        'make-clone',
        'complete-clone',
        'drop-making',
        'restore-replica',
        'detach',
        'drop-replica',
        'attach-not-replicated',
        'attach',
        'replace-partition',
        'drop-partition',
        'attach-as-replicated',
      ],
    ],
    [
      'shard lost: restored beside, verified, then promoted',
      () => planOf([node('a', '01', 'r1', [])], { backups: new Map([['01', contents([saved(t)])]]) }).items[0],
      [
        'create-staging',
        'restore',
        'complete-staging',
        'create-plain',
        'detach',
        'drop-replica',
        'attach-not-replicated',
        'attach',
        'replace-partition',
        'drop-partition',
        'attach-as-replicated',
        'restore-replica',
        'make-clone',
        'hold-clone',
        'drop-making',
        'drop-staging',
      ],
    ],
    [
      'replica lost: its stale path goes, then it fetches',
      () => planOf([node('a', '01', 'r1', [facts(t)]), node('b', '01', 'r2', [])]).items[1],
      ['drop-replica', 'create-replicated'],
    ],
  ])('%s', (_row, item, expected) => {
    expect(steps(item())).toEqual(expected);
  });

  it('a lost table comes back with its UUID, its path and its database', () => {
    const plan = planOf([node('a', '01', 'r1', [], { databases: [] })], {
      backups: new Map([['01', contents([saved(t)])]]),
    });
    const [item] = plan.items;
    expect(item?.keeperPath).toEqual({ tablePath: `/clickhouse/tables/${t.uuid}/01`, replicaName: 'r1' });
    expect(item?.expected).toEqual(full);
    const sql = Object.fromEntries(item?.statements.map(({ step, sql }) => [step, sql]) ?? []);
    expect(sql['create-plain']).toBe(
      `CREATE TABLE \`db\`.\`t\` UUID '${t.uuid}' (\`a\` Int32) ENGINE = MergeTree ORDER BY a`,
    );
    expect(sql['drop-replica']).toBe(`SYSTEM DROP REPLICA 'r1' FROM ZKPATH '/clickhouse/tables/${t.uuid}/01'`);
    expect(plan.nodes[0]?.databases).toEqual(['CREATE DATABASE IF NOT EXISTS `db` ENGINE = Atomic']);
  });
});

describe('what is refused', () => {
  const lostShard = [node('a', '01', 'r1', []), node('b', '02', 'r1', [facts(t)])];
  it.each<[row: string, nodes: NodeFacts[], change: Partial<PlanInput>, refusals: string[]]>([
    ['a shard lost, no backup', lostShard, {}, ['DATA_LOST_NO_BACKUP']],
    ['all replicas of a shard lost, no backup', [...lostShard, node('c', '01', 'r2', [])], {}, ['DATA_LOST_NO_BACKUP']],
    [
      'a shard with nothing but a view left, no backup',
      [node('a', '01', 'r1', [facts(definition('db', 'v', 'View'))]), node('b', '02', 'r1', [facts(t)])],
      {},
      ['DATA_LOST_NO_BACKUP'],
    ],
    [
      'wrong shard macro',
      [node('a', '01', 'r1', [facts(t)], { macros: { shard: '02', replica: 'r1' } })],
      {},
      ['WRONG_MACROS'],
    ],
    [
      'wrong replica macro',
      [node('a', '01', 'r1', [facts(t)], { macros: { shard: '01', replica: 'r2' } })],
      {},
      ['WRONG_MACROS'],
    ],
    [
      'both',
      [node('a', '01', 'r1', [], { macros: { shard: '9', replica: '9' } })],
      {},
      ['WRONG_MACROS', 'WRONG_MACROS', 'DATA_LOST_NO_BACKUP'],
    ],
    ['no macros at all: nothing to compare', [node('a', '01', 'r1', [facts(t)], { macros: {} })], {}, []],
    [
      'an unfinished recovery',
      [node('a', '01', 'r1', [facts(t)], { unfinishedRecovery: 'x' })],
      {},
      ['RECOVERY_UNFINISHED'],
    ],
    [
      'an unfinished recovery, not adopted',
      [node('a', '01', 'r1', [facts(t)], { unfinishedRecovery: 'x' })],
      { request: { cluster: 'prod', adopt: false } },
      ['RECOVERY_UNFINISHED'],
    ],
    [
      'an unfinished recovery, adopted',
      [node('a', '01', 'r1', [facts(t)], { unfinishedRecovery: 'x' })],
      { request: { cluster: 'prod', adopt: true } },
      [],
    ],
    [
      'a pattern that matches nothing',
      [node('a', '01', 'r1', [facts(t)])],
      { request: { cluster: 'prod', tables: ['db.nope'] } },
      ['TABLES_MATCH_NOTHING'],
    ],
    [
      'one pattern of two that matches nothing',
      [node('a', '01', 'r1', [facts(t)])],
      { request: { cluster: 'prod', tables: ['db.t', 'db.typo'] } },
      ['TABLES_MATCH_NOTHING'],
    ],
    [
      'a pattern for a view that stands',
      [node('a', '01', 'r1', [facts(definition('db', 'v', 'View'))])],
      { request: { cluster: 'prod', tables: ['db.v'] } },
      [],
    ],
    [
      'the server’s own database',
      [node('a', '01', 'r1', [facts(definition('system', 'query_log', 'MergeTree ORDER BY a'))])],
      { request: { cluster: 'prod', tables: ['system.*'] } },
      ['TABLES_MATCH_NOTHING'],
    ],
  ])('%s', (_row, nodes, change, refusals) => {
    expect(codes(planOf(nodes, change))).toEqual(refusals);
  });

  it.each<[row: string, nodes: NodeFacts[]]>([
    ['a whole shard', lostShard],
    ['one table of a shard', [node('a', '01', 'r1', [facts(t)]), node('b', '02', 'r1', [facts(t), facts(u)])]],
    ['everything, on the only shard', [node('a', '01', 'r1', [], { databases: [] })]],
    ['everything, on every shard', [node('a', '01', 'r1', []), node('b', '02', 'r1', [])]],
  ])('lost without a backup is never ‘nothing to do’: %s', (_row, nodes) => {
    expect(nothingToDo({ ...planOf(nodes), hash: '' })).toBe(false);
  });
});

describe('an explicit ZooKeeper path', () => {
  const explicit = definition('db', 't', `ReplicatedMergeTree('/own/{shard}/t', '{replica}') ORDER BY a`);
  it('is restored in place, with a warning and without a rebuild', () => {
    const plan = planOf([node('a', '01', 'r1', [facts(explicit, { keeper: GONE })])]);
    expect(brief(plan.items)).toEqual(['a db.t: keeper-metadata-lost → restore-replica first']);
    expect(steps(plan.items[0])).toEqual(['make-clone', 'complete-clone', 'drop-making', 'restore-replica']);
    expect(plan.warnings.join()).toContain('db.t');
  });
  it.each<[row: string, nodes: NodeFacts[], change: Partial<PlanInput>]>([
    ['lost', [node('a', '01', 'r1', [])], { backups: new Map([['01', contents([saved(explicit)])]]) }],
    ['half restored', [node('a', '01', 'r1', [facts(explicit, { clone: less })])], {}],
    [
      'another replica name',
      [
        node('a', '01', 'r1', [
          facts(definition('db', 't', `ReplicatedMergeTree('${DEFAULT_PATH}', 'r1') ORDER BY a`), { clone: less }),
        ]),
      ],
      {},
    ],
    [
      'no UUID',
      [node('a', '01', 'r1', [facts({ ...t, uuid: '00000000-0000-0000-0000-000000000000' }, { clone: less })])],
      {},
    ],
  ])('is refused where it would have to be rebuilt: %s', (_row, nodes, change) => {
    const [item] = planOf(nodes, change).items;
    expect(item).toMatchObject({ action: 'needs-operator', problem: { code: 'EXPLICIT_KEEPER_PATH' }, statements: [] });
  });
  it('that a macro is missing for cannot be worked out', () => {
    expect(
      absentKeeper(
        definition('db', 't', `ReplicatedMergeTree('/{layer}/t', '{replica}') ORDER BY a`),
        node('a', '01', 'r1', []),
      ),
    ).toBeNull();
    expect(absentKeeper(definition('db', 't', 'MergeTree ORDER BY a'), node('a', '01', 'r1', []))).toBeNull();
  });
});

describe('what is never planned', () => {
  it.each(['system', 'INFORMATION_SCHEMA', 'information_schema', '_recovery'])('the database %s', (database) => {
    const own = definition(database, 'x');
    const plan = planOf(
      [node('a', '01', 'r1', [facts(own, { keeper: GONE }), facts(t)]), node('b', '01', 'r2', [facts(t)])],
      {
        backups: new Map([['01', contents([saved(own), saved(t)])]]),
      },
    );
    expect(new Set(plan.items.map((item) => item.database))).toEqual(new Set(['db']));
  });
  it('what no pattern names', () => {
    const plan = planOf([node('a', '01', 'r1', [facts(t, { keeper: GONE }), facts(u, { keeper: GONE })])], {
      request: { cluster: 'prod', tables: ['db.u'] },
    });
    expect(plan.items.map((item) => item.table)).toEqual(['u']);
  });
});

describe('the fence', () => {
  const kafka = definition('db', 'k', 'Kafka');
  const queue = definition('db', 'q', 'S3Queue');
  it('stops background work and detaches streaming tables, which are no items', () => {
    const plan = planOf([
      node('a', '01', 'r1', [facts(kafka), facts(queue), facts(t, { keeper: GONE })]),
      node('b', '02', 'r1', [facts(kafka), facts(t)]),
    ]);
    expect(plan.nodes[0]?.fence).toEqual(
      expect.arrayContaining([
        'SYSTEM STOP MERGES',
        'SYSTEM STOP TTL MERGES',
        'DETACH TABLE `db`.`k` PERMANENTLY',
        'DETACH TABLE `db`.`q` PERMANENTLY',
      ]),
    );
    // Nothing is changed there.
    expect(plan.nodes[1]?.fence).toEqual([]);
    expect(new Set(plan.items.map((item) => item.table))).toEqual(new Set(['t']));
  });
});

describe('the same facts in another order of tables', () => {
  const kafka = ['k1', 'k2'].map((name) => facts(definition('db', name, 'Kafka')));
  const others = ['z', 'a', 'é', 'B'].map((name) => facts(definition('db', name)));
  const tables = [facts(t, { keeper: GONE }), facts(u, { keeper: GONE, parts: less }), ...others, ...kafka];
  const backup = ['x1', 'x2'].map((name) => saved(definition('lost', name)));
  const build = (order: <T>(all: T[]) => T[]) =>
    planOf([node('a', '01', 'r1', order(tables)), node('b', '01', 'r2', order(tables.slice(2)))], {
      backups: new Map([['01', contents(order(backup))]]),
    });
  const plan = build((all) => all);
  const other = build((all) => all.toReversed());

  it('give the same items, authorities and statements', () => {
    expect(plan.items.flatMap((item) => item.statements).length).toBeGreaterThan(20);
    expect(other.items).toEqual(plan.items);
  });
  it('give the same statements of the nodes, and so the same hash', () => {
    expect(other.nodes).toEqual(plan.nodes);
    expect(JSON.stringify(other)).toBe(JSON.stringify(plan));
  });
});

describe('awkward names', () => {
  const NAMES = [
    'a.b',
    'a b',
    'a-b',
    '50%',
    '`',
    '\\',
    '\\`',
    "'",
    '`; DROP TABLE x; --',
    "\\'; SYSTEM DROP REPLICA 'r2'; --",
    '{partition}',
    '{uuid}',
    'таблица',
    '🦆',
    '$&',
  ];

  /** A statement with all that is quoted taken out, as ClickHouse's lexer reads it. */
  function bare(text: string): string {
    let rest = '';
    for (let i = 0; i < text.length; i++) {
      const mark = text[i] as string;
      if (!'\'`"'.includes(mark)) {
        rest += mark;
        continue;
      }
      for (i++; text[i] !== mark; i++) {
        if (i >= text.length) throw new Error(`unclosed ${mark} in ${text}`);
        if (text[i] === '\\') i++;
      }
      rest += '?';
    }
    return rest;
  }
  const everything = (database: string, table: string) => {
    const lost = definition(database, table);
    const nodes = [
      node('a', '01', 'r1', [facts(lost, { keeper: GONE })]),
      node('b', '01', 'r2', []),
      node('c', '02', 'r1', []),
    ];
    const plan = planOf(nodes, {
      backups: new Map([['02', contents([saved(lost)], { databases: [{ name: database, engine: 'Atomic' }] })]]),
    });
    return [
      ...plan.items.flatMap((item) => item.statements.map(({ sql }) => sql)),
      ...plan.nodes.flatMap((each) => [...each.fence, ...each.databases]),
    ];
  };

  it.each(NAMES)('stay in their quotes: %s', (name) => {
    const ordinary = everything('d', 't').map(bare);
    expect(ordinary.length).toBeGreaterThan(25);
    expect(everything(name, name).map(bare)).toEqual(ordinary);
    expect(everything(name, name).join('\n')).toContain(`${quote(name)}.${quote(name)}`);
  });

  it('whose keys could collide stay two tables', () => {
    const plan = planOf([node('a', '01', 'r1', [facts(definition('a.b', 'c')), facts(definition('a', 'b.c'))])]);
    expect(plan.items.map((item) => [item.database, item.table])).toEqual(
      expect.arrayContaining([
        ['a.b', 'c'],
        ['a', 'b.c'],
      ]),
    );
  });
});

describe('a backup without a manifest', () => {
  const plain = (engineFull: string): ManifestTable => ({
    ...saved(definition('db', 't', engineFull), null),
    uuid: '00000000-0000-0000-0000-000000000000',
  });
  it('takes engine and path from the same table elsewhere', () => {
    const plan = planOf([node('a', '01', 'r1', []), node('b', '02', 'r1', [facts(t)])], {
      backups: new Map([['01', contents([plain('MergeTree ORDER BY a')], { evidence: 'backup' })]]),
    });
    expect(plan.items[0]).toMatchObject({ replicated: true, expected: null });
  });
  it('never recreates an engine whose arguments it cannot see', () => {
    expect(() =>
      planOf([node('a', '01', 'r1', [])], {
        backups: new Map([['01', contents([plain('ReplacingMergeTree ORDER BY a')], { evidence: 'backup' })]]),
      }),
    ).toThrow(expect.objectContaining({ code: 'NOT_RECOVERABLE' }) as Error);
  });
});

describe('what else lived in Keeper', () => {
  it('gets a line each, once', () => {
    const mutation = { database: 'db', table: 't', mutationId: '1', command: 'DELETE WHERE 1' };
    const line = { what: 'roles', detail: 'x', verdict: 'unrecoverable' as const };
    const plan = planOf(
      [
        node('a', '01', 'r1', [facts(t)], { keeperState: [line] }),
        node('b', '01', 'r2', [facts(t)], { keeperState: [line] }),
      ],
      {
        backups: new Map([['01', contents([saved(t)], { unfinishedMutations: [mutation] })]]),
      },
    );
    expect(plan.keeperState.map(({ what }) => what)).toEqual(['roles', 'unfinished mutation']);
    expect(workOf({ ...plan, hash: '' })).toEqual([]);
  });
  it.each<[row: string, nodes: NodeFacts[], verdict: string]>([
    ['Keeper was lost', [node('a', '01', 'r1', [facts(t, { keeper: GONE })])], 'unrecoverable'],
    ['all is well', [live('a', 'r1', [facts(t, ACTIVE)])], 'not-affected'],
    ['a replica was lost', [live('a', 'r1', [facts(t, ACTIVE)]), live('b', 'r2', [])], 'not-affected'],
    ['no table tells', [node('a', '01', 'r1', [])], 'unrecoverable'],
  ])('what it held besides: %s', (_row, nodes, verdict) => {
    const keeperState = [{ what: 'roles', detail: 'x', verdict: 'unrecoverable' as const }];
    const [first, ...others] = nodes;
    const plan = planOf([{ ...first!, keeperState }, ...others]);
    expect(plan.keeperState.find(({ what }) => what === 'roles')?.verdict).toBe(verdict);
  });
  it.each<[row: string, nodes: NodeFacts[], lost: boolean]>([
    ['lost with the Keeper', [node('a', '01', 'r1', [facts(t, { keeper: GONE })])], true],
    ['kept by a live peer', [live('a', 'r1', [facts(t, ACTIVE)]), live('b', 'r2', [])], false],
  ])('block deduplication hashes: %s', (_row, nodes, lost) => {
    expect(planOf(nodes).keeperState.map(({ what }) => what)).toEqual(lost ? ['block deduplication hashes'] : []);
  });
});
