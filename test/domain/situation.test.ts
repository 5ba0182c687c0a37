import { describe, expect, it } from 'vitest';
import { chooseAuthority, type PartRef } from '../../src/domain/authority.js';
import { NO_PARTS, type KeeperReplicaFacts, type TableFacts } from '../../src/domain/inventory.js';
import {
  judgeMissing,
  judgePlain,
  judgeReplicated,
  type Absence,
  type Surroundings,
} from '../../src/domain/situation.js';

const parts = { parts: 3, rows: 30, digest: '33' };
const keeper: KeeperReplicaFacts = {
  tablePath: '/t',
  replicaName: 'r1',
  tablePathExists: true,
  replicaPathExists: true,
  activeReplicas: [],
  partsInKeeper: 3,
  partsAgree: true,
  missingLocally: 0,
};
const gone: Partial<KeeperReplicaFacts> = { replicaPathExists: false, partsInKeeper: null, partsAgree: null };

function table(
  change: Partial<Omit<TableFacts, 'keeper'>> & { keeper?: Partial<KeeperReplicaFacts> | null } = {},
): TableFacts {
  return {
    definition: {
      database: 'd',
      table: 't',
      uuid: 'u',
      engine: 'ReplicatedMergeTree',
      engineFull: '',
      partitionKey: '',
      sortingKey: '',
      primaryKey: '',
      samplingKey: '',
      createQuery: '',
    },
    kind: 'replicated',
    parts,
    partitions: 1,
    detachedParts: 0,
    attachingParts: 0,
    readonly: true,
    sessionExpired: false,
    unsupported: '',
    clone: null,
    ...change,
    keeper: change.keeper === null ? null : { ...keeper, ...change.keeper },
  };
}

const embedded: Surroundings = { embedded: true, backup: null };
const withBackup: Surroundings = { embedded: true, backup: { parts } };
const live: Surroundings = { embedded: false, backup: null };

describe('a replicated table that stands', () => {
  it.each<[string, TableFacts, Surroundings, string, string, string | undefined]>([
    ['registered, parts agree', table(), embedded, 'healthy', 'none', undefined],
    [
      'path absent, parts on disk',
      table({ keeper: gone }),
      embedded,
      'keeper-metadata-lost',
      'restore-replica',
      undefined,
    ],
    [
      'path absent, table empty, no backup',
      table({ keeper: gone, parts: NO_PARTS }),
      embedded,
      'keeper-metadata-lost',
      'restore-replica',
      undefined,
    ],
    [
      'path absent, table empty, the backup has rows',
      table({ keeper: gone, parts: NO_PARTS }),
      withBackup,
      'data-lost',
      'restore-from-backup',
      undefined,
    ],
    [
      'parts left in attaching_, no baseline',
      table({ attachingParts: 1 }),
      embedded,
      'half-restored',
      'needs-operator',
      'HALF_RESTORED_NO_BASELINE',
    ],
    [
      'parts left in attaching_, a backup',
      table({ attachingParts: 1 }),
      withBackup,
      'half-restored',
      'restore-from-backup',
      undefined,
    ],
    [
      'everything in detached/, no baseline',
      table({ parts: NO_PARTS, detachedParts: 3, keeper: gone }),
      embedded,
      'half-restored',
      'needs-operator',
      'HALF_RESTORED_NO_BASELINE',
    ],
    [
      'our clone is there, parts differ',
      table({ clone: { ...parts, rows: 31 } }),
      embedded,
      'half-restored',
      'rebuild-from-clone',
      undefined,
    ],
    [
      'our clone is there, parts equal, path absent',
      table({ clone: parts, keeper: gone }),
      embedded,
      'keeper-metadata-lost',
      'restore-replica',
      undefined,
    ],
    ['our clone is there, all is done', table({ clone: parts }), embedded, 'healthy', 'none', undefined],
    [
      'Keeper lists parts that the disk lost',
      table({ keeper: { partsAgree: false, missingLocally: 1 } }),
      embedded,
      'data-lost',
      'needs-operator',
      'DATA_LOST_NO_BACKUP',
    ],
    [
      'Keeper lists parts that the disk lost, a backup',
      table({ keeper: { partsAgree: false, missingLocally: 1 } }),
      withBackup,
      'data-lost',
      'restore-from-backup',
      undefined,
    ],
    [
      'Keeper is of an older state than the disk',
      table({ keeper: { partsAgree: false } }),
      embedded,
      'stale-path',
      'rebuild-from-clone',
      undefined,
    ],
    [
      'somebody else is active on our path',
      table({ keeper: { activeReplicas: ['r1'] } }),
      embedded,
      'stale-path-live-replica',
      'needs-operator',
      'REPLICA_ACTIVE',
    ],
    [
      'live, writable, catching up',
      table({ readonly: false, keeper: { activeReplicas: ['r1'], partsAgree: false } }),
      live,
      'healthy',
      'none',
      undefined,
    ],
    ['live, read-only, though the path is there', table(), live, 'stale-path', 'rebuild-from-clone', undefined],
    [
      'zero-copy replication',
      table({ unsupported: 'zero-copy' }),
      embedded,
      'not-recoverable',
      'needs-operator',
      'NOT_RECOVERABLE',
    ],
    [
      'no path can be worked out',
      table({ keeper: null }),
      embedded,
      'not-recoverable',
      'needs-operator',
      'NOT_RECOVERABLE',
    ],
  ])('%s', (_row, facts, around, situation, action, code) => {
    const verdict = judgeReplicated(facts, around);
    expect([verdict.situation, verdict.action, verdict.code]).toEqual([situation, action, code]);
  });
});

describe('a plain table, and a table that a node lacks', () => {
  const absence: Absence = {
    onPeer: false,
    inBackup: true,
    shardEmpty: false,
    pathActive: false,
    uuidPendingDrop: false,
  };

  it('stays as it is, unless it stands empty and the backup has rows', () => {
    expect(judgePlain(table({ kind: 'merge-tree' }), withBackup).action).toBe('none');
    expect(judgePlain(table({ kind: 'merge-tree', parts: NO_PARTS }), withBackup).action).toBe('restore-from-backup');
    expect(judgePlain(table({ kind: 'merge-tree', parts: NO_PARTS }), embedded).action).toBe('none');
  });

  it.each<[string, Partial<Absence>, string, string, string | undefined]>([
    ['in the backup only', {}, 'table-lost', 'restore-from-backup', undefined],
    ['the whole shard is empty', { shardEmpty: true }, 'data-lost', 'restore-from-backup', undefined],
    ['a peer has it', { onPeer: true }, 'replica-lost', 'recreate-and-fetch', undefined],
    [
      'its path is active elsewhere',
      { pathActive: true },
      'stale-path-live-replica',
      'needs-operator',
      'REPLICA_ACTIVE',
    ],
    ['a dropped table holds the UUID', { uuidPendingDrop: true }, 'table-lost', 'needs-operator', 'UUID_PENDING_DROP'],
    ['nowhere', { inBackup: false }, 'table-lost', 'needs-operator', 'DATA_LOST_NO_BACKUP'],
  ])('%s', (_row, change, situation, action, code) => {
    const verdict = judgeMissing({ ...absence, ...change });
    expect([verdict.situation, verdict.action, verdict.code]).toEqual([situation, action, code]);
  });
});

describe('who goes first', () => {
  const part = (name: string, hash: string, rows = 10): PartRef => {
    const [partitionId = '', min, max, level] = name.split('_');
    return { name, partitionId, minBlock: Number(min), maxBlock: Number(max), level: Number(level), rows, hash };
  };
  const candidate = (replica: string, refs: PartRef[]) => ({
    replica,
    digest: {
      parts: refs.length,
      rows: refs.reduce((sum, ref) => sum + ref.rows, 0),
      digest: refs
        .map((ref) => ref.hash)
        .sort()
        .join(),
    },
    parts: refs,
  });
  const a = part('all_0_0_0', 'a');
  const b = part('all_1_1_0', 'b');
  const c = part('all_2_2_0', 'c');
  const merged = part('all_0_1_1', 'ab', 20);

  it.each<[string, ReturnType<typeof candidate>[], string | null]>([
    ['equal replicas: the first by name', [candidate('r2', [a, b]), candidate('r1', [b, a])], 'r1'],
    ['the superset by hash', [candidate('r1', [a]), candidate('r2', [a, b])], 'r2'],
    ['a merge covers its sources', [candidate('r1', [merged, c]), candidate('r2', [a, b])], 'r1'],
    ['the sources of a merge count as it', [candidate('r1', [merged]), candidate('r2', [a, b, c])], 'r2'],
    ['one replica is empty', [candidate('r1', []), candidate('r2', [a])], 'r2'],
    ['three replicas', [candidate('r1', [a]), candidate('r2', [a, b, c]), candidate('r3', [c])], 'r2'],
    ['diverged', [candidate('r1', [a, b]), candidate('r2', [a, c])], null],
  ])('%s', (_row, candidates, expected) => {
    expect(chooseAuthority(candidates).authority).toBe(expected);
  });

  it('names exactly what only one of them has', () => {
    const decision = chooseAuthority([candidate('r1', [a, b]), candidate('r2', [a, c])]);
    expect(decision).toMatchObject({
      authority: null,
      difference: [
        { replica: 'r1', onlyThere: ['all_1_1_0'] },
        { replica: 'r2', onlyThere: ['all_2_2_0'] },
      ],
    });
  });
});
