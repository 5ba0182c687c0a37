import { ApplicationFailure, Context } from '@temporalio/activity';
import type { Activities } from '../../src/activities/index.js';
import { itemLabel } from '../../src/domain/build-report.js';
import { problem, type ErrorCode } from '../../src/domain/errors.js';
import type { Plan, PlanItem } from '../../src/domain/plan.js';
import { DEFAULT_POLICY, type Policy } from '../../src/domain/policy.js';
import type { Report } from '../../src/domain/report.js';
import type { NodeRef } from '../../src/domain/topology.js';

export const N1: NodeRef = { name: 'n1', shard: '01', replica: 'r1' };
export const N2: NodeRef = { name: 'n2', shard: '01', replica: 'r2' };

export const HASH = 'a'.repeat(64);
export const NEXT_HASH = 'b'.repeat(64);

/** Waits that a test can afford, but for the heartbeat: a machine that is busy must not lose an activity. */
export const POLICY: Policy = {
  ...DEFAULT_POLICY,
  approval: 'auto',
  approvalTimeoutSeconds: 20,
  resolveTimeoutSeconds: 20,
  unavailableDeadlineSeconds: 5,
  statementDeadlineSeconds: 5,
  heartbeatTimeoutSeconds: 15,
};

/** A lost table that comes back from the backup: it goes through all three steps. */
export function table(name: string, node: NodeRef = N1, change: Partial<PlanItem> = {}): PlanItem {
  return {
    database: 'db',
    table: name,
    node,
    situation: 'data-lost',
    action: 'restore-from-backup',
    authority: true,
    replicated: true,
    method: 'restore-replica',
    standing: true,
    fetches: null,
    expected: { parts: 2, rows: 10, digest: '7' },
    keeperPath: { tablePath: `/clickhouse/tables/${node.shard}/${name}`, replicaName: node.replica },
    uuid: '00000000-0000-0000-0000-000000000001',
    statements: [
      { step: 'restore', sql: `RESTORE TABLE db.${name} AS _recovery.${name} FROM Disk('backups', 'b1')` },
      { step: 'restore-replica', sql: `SYSTEM RESTORE REPLICA db.${name}` },
    ],
    rebuildRefusal: null,
    ...change,
  };
}

/** A table of an old server: it is made beside its place, and promoted once it is validated. */
export function beside(name: string, node: NodeRef = N1, change: Partial<PlanItem> = {}): PlanItem {
  return table(name, node, {
    ...{ situation: 'keeper-metadata-lost', action: 'restore-replica', method: 'conversion', rebuildRefusal: null },
    statements: [{ step: 'promote', sql: `RENAME TABLE _recovery.\`next db.${name}\` TO db.${name}` }],
    ...change,
  });
}

export function view(name: string, node: NodeRef = N1, change: Partial<PlanItem> = {}): PlanItem {
  return table(name, node, {
    situation: 'table-lost',
    action: 'create-object',
    replicated: false,
    expected: null,
    keeperPath: null,
    statements: [{ step: 'create-object', sql: `CREATE VIEW db.${name} AS SELECT 1` }],
    ...change,
  });
}

/** What the backup cannot bring back: it stays for a person. */
export function refused(name: string, code: ErrorCode): PlanItem {
  return table(name, N1, { action: 'needs-operator', statements: [], problem: problem(code, `db.${name}: ${code}`) });
}

export function planOf(items: PlanItem[], change: Partial<Plan> = {}): Plan {
  const nodes = [...new Map(items.map(({ node }) => [node.name, node])).values()];
  return {
    cluster: 'c',
    hash: HASH,
    backup: { repository: 'local', name: 'b1', takenAt: '2026-01-01T00:00:00.000Z', evidence: 'manifest' },
    nodes: nodes.map((node) => ({
      node,
      embedded: false,
      version: '25.8',
      method: items.find((item) => item.node.name === node.name)?.method ?? 'restore-replica',
      strategy: 'attach',
      fence: ['SYSTEM STOP MERGES'],
      databases: ['CREATE DATABASE IF NOT EXISTS db'],
    })),
    items,
    keeperState: [],
    warnings: [],
    refusals: [],
    ...change,
  };
}

/** An error of the table, as an activity raises it once its own patience is over. */
export function failure(code: ErrorCode, message = `${code} in a test`): ApplicationFailure {
  return ApplicationFailure.create({
    type: code,
    message,
    nonRetryable: true,
    details: [problem(code, message)],
  });
}

export interface Hold {
  /** Resolves when an activity stands in it. */
  entered: Promise<void>;
  /** To be awaited by the activity: heartbeats until released; a cancellation ends it. */
  pass: () => Promise<void>;
  release: () => void;
}

export function hold(): Hold {
  let enter = () => {};
  let release = () => {};
  const entered = new Promise<void>((resolve) => (enter = resolve));
  const released = new Promise<true>((resolve) => (release = () => resolve(true)));
  return {
    entered,
    release: () => release(),
    pass: async () => {
      enter();
      const context = Context.current();
      while (!(await Promise.race([released, context.sleep(100)]))) context.heartbeat();
    },
  };
}

export interface FakesOptions {
  /** One answer for each inspection; the last one repeats. */
  plans: Plan[];
  policy?: Partial<Policy>;
  nodes?: NodeRef[];
  searchAttributes?: boolean;
  /** Names of repositories of cold copies. */
  cold?: string[];
  /** Of the wait for an agent. */
  agentTimeoutSeconds?: number;
  activities?: Partial<Activities>;
}

export interface Fakes {
  activities: Activities;
  /** In the order of their starts: `fenceNode n1`, `restoreTableData db.a @ 01/r1`. */
  calls: string[];
  called: (activity: keyof Activities) => string[];
  saved: Report[];
}

type Input<K extends keyof Activities> = Parameters<Activities[K]>[0];

/** Activities of a cluster on which everything works at once, but for those that are given. */
export function fakes(options: FakesOptions): Fakes {
  const calls: string[] = [];
  const saved: Report[] = [];
  const plans = [...options.plans];
  const recorded = <K extends keyof Activities>(name: K, subject: (input: Input<K>) => string, body: Activities[K]) =>
    (async (input: Input<K>, ...more: unknown[]) => {
      calls.push(`${name} ${subject(input)}`.trim());
      const chosen = (options.activities?.[name] ?? body) as (input: Input<K>, ...more: unknown[]) => Promise<unknown>;
      return chosen(input, ...more);
    }) as unknown as Activities[K];
  const onNode = ({ node }: { node: NodeRef }) => node.name;
  const onBatch = ({ shard, batch }: { shard: string; batch: number }) => `${shard}/${batch}`;
  /** See large.ts. */
  const notLarge = async () => {
    throw failure('INTERNAL', 'this plan is not stored');
  };
  const onTable = ({ item }: { item: PlanItem }) => itemLabel(item);
  const activities: Activities = {
    getPolicy: recorded(
      'getPolicy',
      () => '',
      async () => ({
        policy: { ...POLICY, ...options.policy },
        nodes: options.nodes ?? plans[0]?.nodes.map(({ node }) => node) ?? [],
        searchAttributes: options.searchAttributes ?? false,
        ...(options.cold && {
          cold: { repositories: options.cold, agentTimeoutSeconds: options.agentTimeoutSeconds ?? 20 },
        }),
      }),
    ),
    planRecovery: recorded(
      'planRecovery',
      () => '',
      async () => (plans.length > 1 ? plans.shift()! : plans[0]!),
    ),
    fenceNode: recorded('fenceNode', onNode, async () => ({ streamingTables: 0 })),
    createDatabases: recorded('createDatabases', onNode, async () => undefined),
    restoreTableData: recorded('restoreTableData', onTable, async () => ({}) as never),
    prepareStaging: recorded('prepareStaging', onTable, async () => ({ verified: false })),
    attachParts: recorded('attachParts', onTable, async () => ({ complaint: '' })),
    verifyTableParts: recorded('verifyTableParts', onTable, async () => ({
      parts: { parts: 2, rows: 10, digest: '7' },
      evidence: 'part hashes of the manifest',
    })),
    restoreTableReplica: recorded('restoreTableReplica', onTable, async () => ({
      rows: 10,
      parts: 2,
    })),
    createObjects: recorded(
      'createObjects',
      ({ items }) => items.map(itemLabel).join(', '),
      async () => ({ failed: [] }),
    ),
    validateTables: recorded(
      'validateTables',
      ({ items }) => items.map(({ item }) => itemLabel(item)).join(', '),
      async ({ items }) => items.map(({ key }) => valid(key)),
    ),
    promoteTables: recorded(
      'promoteTables',
      ({ items }) => items.map(itemLabel).join(', '),
      async () => undefined,
    ),
    proveReplication: recorded(
      'proveReplication',
      ({ shard }) => shard,
      async () => ({ warnings: [] }),
    ),
    createPlannedDatabases: recorded(
      'createPlannedDatabases',
      ({ node }) => node,
      async () => undefined,
    ),
    restoreBatch: recorded('restoreBatch', onBatch, notLarge),
    validateBatch: recorded('validateBatch', onBatch, notLarge),
    promoteBatch: recorded('promoteBatch', onBatch, notLarge),
    createBatchObjects: recorded('createBatchObjects', onBatch, notLarge),
    skipFailed: recorded('skipFailed', ({ shard }) => shard, notLarge),
    saveLargeReport: recorded('saveLargeReport', () => '', notLarge),
    finishNode: recorded('finishNode', onNode, async () => ({ kept: 1, dropped: 0 })),
    liftFence: recorded('liftFence', onNode, async () => 'lifted'),
    saveReport: recorded(
      'saveReport',
      () => '',
      async ({ report }) => {
        saved.push(report);
        return 'file:///reports/r';
      },
    ),
    listBackupNodes: recorded(
      'listBackupNodes',
      () => '',
      async () => [],
    ),
    backupShard: recorded(
      'backupShard',
      () => '',
      async () => ({}) as never,
    ),
    recordBackup: recorded(
      'recordBackup',
      () => '',
      async () => undefined,
    ),
  };
  return { activities, calls, saved, called: (name) => calls.filter((call) => call.split(' ')[0] === name) };
}

export function valid(key: string) {
  return {
    key,
    rowsExpected: 10,
    rowsFound: 10,
    partsExpected: 2,
    partsFound: 2,
    detachedLeft: 0,
    activation: 'active',
  };
}
