import { describe, expect, it } from 'vitest';
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
  replicas: ['r1'],
  activeReplicas: [],
  partsInKeeper: 3,
  partsAgree: true,
  missingLocally: 0,
  notListed: 0,
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
    identity: '33',
    namedIn: { database: 'd', table: 't' },
    partitions: 1,
    detachedParts: 0,
    attachingParts: 0,
    putAside: 0,
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
      table({ keeper: { partsAgree: false, notListed: 2 } }),
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
    [
      'live, writable, and ZooKeeper of an older time',
      table({ readonly: false, keeper: { activeReplicas: ['r1'], partsAgree: false, notListed: 1 } }),
      live,
      'stale-path',
      'needs-operator',
      'KEEPER_OUT_OF_STEP',
    ],
    [
      'Keeper and the disk both have parts that the other lacks, a backup: it would replace what is newer',
      table({ keeper: { partsAgree: false, missingLocally: 1, notListed: 1 } }),
      withBackup,
      'stale-path',
      'needs-operator',
      'KEEPER_OUT_OF_STEP',
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
      'unsupported comes before everything else',
      table({ unsupported: 'zero-copy', clone: parts, keeper: { activeReplicas: ['r1'] } }),
      withBackup,
      'not-recoverable',
      'needs-operator',
      'NOT_RECOVERABLE',
    ],
    [
      'live, read-only, and a server is active under our name',
      table({ keeper: { activeReplicas: ['r1'] } }),
      live,
      'stale-path-live-replica',
      'needs-operator',
      'REPLICA_ACTIVE',
    ],
    [
      'somebody else is active on our path: our clone does not change that',
      table({ clone: { ...parts, rows: 31 }, keeper: { activeReplicas: ['r1'] } }),
      withBackup,
      'stale-path-live-replica',
      'needs-operator',
      'REPLICA_ACTIVE',
    ],
    [
      'another replica is active on the same table',
      table({ keeper: { ...gone, activeReplicas: ['r2'] } }),
      live,
      'keeper-metadata-lost',
      'restore-replica',
      undefined,
    ],
    [
      'live, writable, the only lack is another replica',
      table({ readonly: false, keeper: { activeReplicas: ['r1'] } }),
      live,
      'healthy',
      'none',
      undefined,
    ],
    [
      'live, its server has no session although we have one: neither a loss nor healthy',
      table({ sessionExpired: true }),
      live,
      'stale-path',
      'needs-operator',
      'SESSION_EXPIRED',
    ],
    [
      'our clone is there, parts equal, Keeper lists others',
      table({ clone: parts, keeper: { partsAgree: false } }),
      embedded,
      'stale-path',
      'rebuild-from-clone',
      undefined,
    ],
    [
      'our clone comes before the backup and before detached/',
      table({ clone: { ...parts, rows: 31 }, parts: NO_PARTS, detachedParts: 3, attachingParts: 1 }),
      withBackup,
      'half-restored',
      'rebuild-from-clone',
      undefined,
    ],
    [
      'everything in detached/, a backup',
      table({ parts: NO_PARTS, detachedParts: 3, keeper: gone }),
      withBackup,
      'half-restored',
      'restore-from-backup',
      undefined,
    ],
    [
      'parts stand, leftovers in detached/ that are not ours',
      table({ detachedParts: 3 }),
      embedded,
      'healthy',
      'none',
      undefined,
    ],
    [
      'path absent, table empty, the backup holds an empty table',
      table({ keeper: gone, parts: NO_PARTS }),
      { embedded: true, backup: { parts: NO_PARTS } },
      'keeper-metadata-lost',
      'restore-replica',
      undefined,
    ],
    [
      'path absent, parts on disk: newer than the backup, so the backup is not used',
      table({ keeper: gone }),
      withBackup,
      'keeper-metadata-lost',
      'restore-replica',
      undefined,
    ],
    [
      'Keeper lists fewer parts than the disk, a backup is named',
      table({ keeper: { partsAgree: false } }),
      withBackup,
      'stale-path',
      'rebuild-from-clone',
      undefined,
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
    expect(judgePlain(table({ clone: parts }), withBackup).action).toBe('none');
    expect(judgePlain(table({ clone: { ...parts, rows: 29 } }), withBackup)).toMatchObject({
      situation: 'data-lost',
      action: 'restore-from-backup',
    });
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
    [
      'nowhere, the whole shard is empty',
      { inBackup: false, shardEmpty: true },
      'data-lost',
      'needs-operator',
      'DATA_LOST_NO_BACKUP',
    ],
    [
      'a peer has it, and so has the backup',
      { onPeer: true, shardEmpty: true },
      'replica-lost',
      'recreate-and-fetch',
      undefined,
    ],
    [
      'active elsewhere comes before what a peer has',
      { onPeer: true, pathActive: true, uuidPendingDrop: true },
      'stale-path-live-replica',
      'needs-operator',
      'REPLICA_ACTIVE',
    ],
    [
      'the UUID is held, though a peer has it',
      { onPeer: true, uuidPendingDrop: true },
      'table-lost',
      'needs-operator',
      'UUID_PENDING_DROP',
    ],
  ])('%s', (_row, change, situation, action, code) => {
    const verdict = judgeMissing({ ...absence, ...change });
    expect([verdict.situation, verdict.action, verdict.code]).toEqual([situation, action, code]);
  });
});

describe('whatever is found', () => {
  it('every refusal has a code and a reason, and nothing else has a code', () => {
    for (const readonly of [false, true])
      for (const replicaPathExists of [false, true])
        for (const partsAgree of [null, false, true])
          for (const [missingLocally, notListed] of [
            [0, 0],
            [2, 0],
            [0, 2],
            [2, 2],
          ] as const)
            for (const activeReplicas of [[], ['r1'], ['r2']])
              for (const clone of [null, parts, NO_PARTS])
                for (const detachedParts of [0, 3])
                  for (const held of [parts, NO_PARTS])
                    for (const around of [embedded, withBackup, live]) {
                      const facts = table({
                        ...{ readonly, clone, detachedParts, parts: held },
                        keeper: { replicaPathExists, partsAgree, missingLocally, notListed, activeReplicas },
                      });
                      const verdict = judgeReplicated(facts, around);
                      const message = JSON.stringify({ verdict, facts, around });
                      expect(verdict.code !== undefined, message).toBe(verdict.action === 'needs-operator');
                      if (verdict.code) expect(verdict.why, message).toBeTruthy();
                      if (verdict.action === 'restore-from-backup') expect(around.backup, message).not.toBeNull();
                      if (verdict.action === 'restore-replica') expect(replicaPathExists, message).toBe(false);
                      if (verdict.situation === 'healthy') expect(replicaPathExists, message).toBe(true);
                    }
  });
});
