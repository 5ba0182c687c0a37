import type { ColdActivities } from '../../src/activities/cold/index.js';
import type { AgentActivities } from '../../src/agent/activities.js';
import type { PartsActivities, PlacedParts } from '../../src/agent/place.js';
import type { ColdHost, ColdPlan, CopiedHost, HostFacts } from '../../src/domain/cold.js';
import type { PlanItem } from '../../src/domain/plan.js';
import { beside, HASH, N1, N2, POLICY } from './fakes.js';

/** A table of an old server whose data comes from a cold copy of n1. */
export function placed(name: string, change: Partial<PlanItem> = {}): PlanItem {
  return beside(name, N1, {
    ...{ situation: 'data-lost', action: 'restore-from-backup' },
    place: { host: N1.name, generation: 'g1', manifest: 'm', counted: { parts: 2, rows: 10, bytes: null } },
    statements: [
      { step: 'restore', sql: `agent of n1: place 2 parts of data/db/${name}` },
      { step: 'attach-part', sql: `ALTER TABLE _recovery.\`staging db.${name}\` ATTACH PART '{part}'` },
      { step: 'promote', sql: `RENAME TABLE _recovery.\`next db.${name}\` TO db.${name}` },
    ],
    ...change,
  });
}

export const PLACED: PlacedParts = {
  ...{ parts: 'packed', waiting: 0, extra: 0 },
  methods: { reflink: 0, hardlink: 2, stream: 4 },
};

/** What one agent does for a recovery, on which everything works at once. */
export const agentOf = (): PartsActivities => ({
  listCopies: async () => ['g0', 'g1'],
  readCopy: async () => 'packed',
  placeParts: async () => PLACED,
});

export const COLD_HOSTS: ColdHost[] = [
  { name: N1.name, role: 'clickhouse' },
  { name: N2.name, role: 'clickhouse' },
  { name: 'zk1', role: 'keeper' },
];
const roleOf = (host: string) => COLD_HOSTS.find(({ name }) => name === host)?.role ?? 'clickhouse';

const coldPlan = (kind: ColdPlan['kind']): ColdPlan => ({
  ...{ kind, cluster: 'c', hash: HASH, generation: 'g1', hosts: [], warnings: [], instead: null, refusals: [] },
});

/** The worker's part of a cold backup or restore. */
export function coldFakes(kind: ColdPlan['kind']): ColdActivities {
  return {
    coldSettings: async () => ({
      ...{ policy: POLICY, nodes: [N1, N2], hosts: COLD_HOSTS, agentTimeoutSeconds: 20, searchAttributes: true },
    }),
    planColdBackup: async () => ({ plan: coldPlan(kind), versions: [] }),
    planColdRestore: async () => coldPlan(kind),
    coldTables: async () => ({ replicas: 'packed', dropped: [] }),
    coldKeeperParts: async () => 'packed',
    differsInKeeper: async () => [],
    awaitNode: async () => undefined,
    isServing: async () => true,
    saveColdReport: async () => 'file:///reports/cold/r',
  };
}

/** The agent of one host. */
export function coldAgent(host: string): AgentActivities {
  const role = roleOf(host);
  const sizes = { files: 2, bytes: 20 };
  const copied: CopiedHost = {
    ...{ name: host, role, ...sizes, seconds: 0.1, aside: [] },
    methods: { reflink: 0, hardlink: 0, stream: 2 },
  };
  const facts: HostFacts = {
    ...{ name: host, role, running: true, commands: { stop: 'stop', start: 'start', probe: 'probe' } },
    ...{ trees: [], ...sizes, copyBytes: 20, method: 'stream', freeForCopies: 1_000_000 },
    ...{ mode: role === 'keeper' ? 'standalone' : null, version: '3.8.0', zxid: '0x1', generations: ['g1'] },
  };
  const nothing = async () => undefined;
  return {
    ...{ hostFacts: async () => facts, stopService: nothing, assertStopped: nothing, startService: nothing },
    awaitServing: async () => ({ mode: 'standalone', zxid: '0x1' }),
    copyTrees: async () => ({
      copy: { trees: ['data'], ...sizes, parts: 1, rows: 10, list: HASH, evidence: HASH },
      copied,
    }),
    ...{ commitCopy: nothing, discardCopy: nothing, discardStage: nothing },
    findCopy: async () => ({ host, manifest: null, problem: null, stageBytes: {}, keeperParts: 'packed' }),
    stageTrees: async () => copied,
    swapTrees: async () => ['/data/.cold-aside'],
    rollBackTrees: async () => false,
    checkParts: async () => ({ findings: [], parts: 1, rows: 10 }),
  };
}
