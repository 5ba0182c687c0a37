import type { Observation } from '../domain/attempt.js';
import { NO_PARTS, partsAgree, tableKind, type PartsDigest, type TableDefinition } from '../domain/inventory.js';
import { RecoveryError } from '../domain/errors.js';
import { Lanes } from '../domain/lanes.js';
import { cloneName, tableKey, type CloneRole, type TableName } from '../domain/names.js';
import { differingPartitions, type DifferingPartition, type Partition } from '../domain/partitions.js';
import type { PlanItem, StepName } from '../domain/plan.js';
import { fenceTable, openReplication } from '../domain/statements.js';
import { tablePathOf } from '../domain/table-path.js';
import { ServerError, type ClickHouseNode, type ClusterPorts, type Ports } from '../ports.js';
import { capabilitiesOf } from './capabilities.js';
import { keepFence, type FenceProof } from './fence-proof.js';
import { beforeLook, beforePatientLook, LIGHT, lookAt, PATIENT } from './looks.js';
import { isOfHash, type NameHash } from './name-hash.js';
import { perNode } from './per-node.js';
import * as queries from './queries.js';
import { pause, type StepContext } from './runtime.js';
import { UnitState, type KeeperPath, type QueueRow, type StateRow } from './unit-state.js';

export function toDigest(row: { parts: string; rows: string; digest: string } | undefined): PartsDigest {
  return row ? { parts: Number(row.parts), rows: Number(row.rows), digest: row.digest } : NO_PARTS;
}

const ROLES: CloneRole[] = ['clone', 'making', 'staging', 'held', 'next'];

/** At once in looks that may be long: tables have thousands of partitions, and ZooKeeper may be far from a server. */
const FEW_TABLES = { ...LIGHT, maxTables: 16 };

/** Statements on their way to a node at once: more would wait for a connection, and what was proved would be old. */
export const MAX_STATEMENTS = 16;
const placesOn = perNode(() => new Lanes(MAX_STATEMENTS));

/** One table on one node, with what an attempt needs: observe it, send its planned statements, nothing else. */
export class Unit {
  readonly node: ClickHouseNode;
  readonly name: { database: string; table: string };
  /** Starts every statement of ours about this table, so that it is found in `system.processes` by whoever comes next. */
  readonly tag: string;
  private readonly cluster: ClusterPorts;
  private readonly sha256: Ports['sha256'];
  /** The server's time, in seconds, when the replication queue of a table was first looked at. */
  private readonly since = new Map<string, number>();

  constructor(
    ports: Ports,
    cluster: string,
    readonly item: PlanItem,
    private readonly context: StepContext,
  ) {
    this.sha256 = ports.sha256;
    this.cluster = ports.cluster(cluster);
    this.node = this.cluster.node(item.node.name);
    this.name = { database: item.database, table: item.table };
    this.tag = `/* ch-recover ${ports.sha256(`${cluster}/${tableKey(item)}`).slice(0, 16)} */`;
  }

  clone(role: CloneRole): string {
    return cloneName(role, this.name).table;
  }

  private async reads(): Promise<queries.Queries> {
    return queries.queriesFor(await capabilitiesOf(this.node));
  }

  planned(step: StepName): string {
    const found = this.item.statements.find((statement) => statement.step === step);
    if (!found)
      throw new RecoveryError('STATEMENT_NOT_APPROVED', `${tableKey(this.name)}: the plan has no statement '${step}'`, {
        objects: [tableKey(this.name)],
      });
    return found.sql;
  }

  has(step: StepName): boolean {
    return this.item.statements.some((statement) => statement.step === step);
  }

  /** Sends a statement of the plan, after the proof that the fence holds and that this attempt is still the one. */
  async send(step: StepName, fill: Record<string, string> = {}): Promise<void> {
    await this.sendText(this.planned(step), fill);
  }

  /** All statements of one name, in order: one for each registration that is left behind. */
  async sendAll(step: StepName): Promise<void> {
    for (const statement of this.item.statements) if (statement.step === step) await this.sendText(statement.sql, {});
  }

  /** The one change that is no statement: servers without SYSTEM DROP REPLICA (invariant G). */
  async deletePaths(step: 'delete-replica-path' | 'delete-peer-path'): Promise<void> {
    for (const statement of this.item.statements) {
      if (statement.step !== step) continue;
      await this.proveFence();
      this.context.assertFresh();
      const isTable = statement.sql === this.item.keeperPath?.tablePath;
      await this.cluster.keeper.deleteStale(statement.sql, isTable ? 'table' : 'replica');
    }
  }

  private async sendText(statement: string, fill: Record<string, string>): Promise<void> {
    let text = statement;
    for (const [placeholder, value] of Object.entries(fill)) text = text.replace(placeholder, () => value);
    await this.cluster.pace(text);
    await beforePatientLook(this.node, () =>
      placesOn(this.node).run(async () => {
        await this.proveFence();
        this.context.assertFresh();
        await beforeLook(this.node, () =>
          this.node.execute(`${this.tag} ${text}`, {
            timeoutMs: this.cluster.policy.statementDeadlineSeconds * 1000,
            signal: this.context.signal,
          }),
        );
      }),
    );
  }

  /** A table object made by ATTACH or CREATE does not know that merges are stopped. */
  async fenceTable(name: TableName = this.name): Promise<void> {
    for (const statement of fenceTable(name, this.item.method)) await this.node.execute(statement);
  }

  /** The fence stopped replication everywhere: this table's is needed, here and on the peers that it fetches from. */
  async openReplication(): Promise<void> {
    const peers = this.cluster.topology.nodes.filter((node) => node.shard === this.item.node.shard);
    for (const { name } of peers)
      for (const statement of [this.name, cloneName('next', this.name)].flatMap((table) =>
        openReplication(table, this.item.method, this.item.fetches === 'live'),
      ))
        try {
          await this.cluster.node(name).execute(statement);
        } catch (error) {
          // A peer without the table, or one that is away, has nothing to send.
          if (!(error instanceof ServerError || error instanceof RecoveryError)) throw error;
        }
  }

  async proveFence(): Promise<void> {
    // A replica that only joins its living peers holds nothing that would have to be kept from them.
    if (this.item.fetches === 'live') return;
    for (let tries = 0; ; tries++) {
      const { merges, writers } = await this.keepFence();
      if (Number(merges) === 0 && Number(writers) === 0) return;
      if (tries >= 30)
        throw new RecoveryError(
          'FENCE_BYPASSED',
          `${tableKey(this.name)} on ${this.item.node.name} is being written or merged`,
          { objects: [tableKey(this.name)] },
        );
      await pause(1_000, this.context.signal);
    }
  }

  keepFence(): Promise<FenceProof> {
    return keepFence(this.node, this.name);
  }

  async definition(): Promise<TableDefinition | null> {
    const can = await capabilitiesOf(this.node);
    const [found] = await lookAt<TableDefinition>(this.node, (await this.reads()).ONE_TABLE, [this.name], {
      settings: can.partHashes ? queries.WITH_UUID : {},
    });
    return found ?? null;
  }

  async digests(): Promise<{
    table: PartsDigest;
    clone: PartsDigest | null;
    making: PartsDigest | null;
    staging: PartsDigest | null;
    held: PartsDigest | null;
    next: PartsDigest | null;
    /** Of `next`, else of the table. */
    blocks: number;
    stagingUuid: string;
  }> {
    return this.digestsOf(await this.look());
  }

  private digestsOf(state: UnitState): Awaited<ReturnType<Unit['digests']>> {
    const of = (role: CloneRole) => {
      const name = cloneName(role, this.name);
      return state.table(name) ? state.parts(name).digest : null;
    };
    const next = cloneName('next', this.name);
    return {
      table: state.parts(this.name).digest,
      blocks: state.parts(state.table(next) ? next : this.name).blocks,
      ...{ clone: of('clone'), making: of('making'), staging: of('staging'), held: of('held'), next: of('next') },
      stagingUuid: state.table(cloneName('staging', this.name))?.uuid ?? '',
    };
  }

  /** All that is seen of the table and of what stands for it in `_recovery`, of about one moment. */
  private async look(): Promise<UnitState> {
    const names = [this.name, ...ROLES.map((role) => cloneName(role, this.name))];
    return new UnitState(await lookAt<StateRow>(this.node, (await this.reads()).UNIT_STATE, names, PATIENT));
  }

  /** What still has to be replaced in the one, or dropped where the other has none. */
  async differingPartitions(from: TableName, to: TableName): Promise<DifferingPartition[]> {
    const { PARTITIONS } = await this.reads();
    const rows = await lookAt<TableName & Partition>(this.node, PARTITIONS, [from, to], FEW_TABLES);
    const of = (name: TableName) => rows.filter((row) => tableKey(row) === tableKey(name));
    return differingPartitions(of(from), of(to));
  }

  async running(): Promise<{ seconds: number } | null> {
    const tag = { database: '', table: this.tag };
    const [row] = await lookAt<TableName & { seconds: number }>(this.node, queries.RUNNING, [tag], PATIENT);
    return row ? { seconds: Number(row.seconds) } : null;
  }

  async observe(embedded: boolean, { isAlone = false, comparesParts = true }: Looking = {}): Promise<Seen> {
    // First: what a statement that still runs has done by now is not what it leaves.
    const running = isAlone ? null : await this.running();
    const found = await this.look();
    const digests = this.digestsOf(found);
    const state = await this.tableState(found.table(this.name));
    const nextName = cloneName('next', this.name);
    const own = state === 'replicated' ? this.replica(found, this.name) : null;
    const next = digests.next ? this.replica(found, nextName) : null;
    const here = next ?? own;
    const keeper = this.item.replicated
      ? await beforeLook(this.node, () => {
          const name = next ? nextName : this.name;
          return this.observeKeeper(found, here, { embedded, comparesParts, name });
        })
      : null;
    return {
      running,
      table: {
        state,
        parts: digests.table,
        readonly: own?.readonly ?? false,
        sessionExpired: own?.sessionExpired ?? false,
      },
      keeper,
      clone: digests.clone,
      making: digests.making,
      held: digests.held,
      next: digests.next && {
        parts: digests.next,
        readonly: next?.readonly ?? true,
        sessionExpired: next?.sessionExpired ?? false,
        queue: next?.queue ?? 0,
      },
      blocks: digests.blocks,
      embedded,
      keeperParts: keeper?.parts ?? null,
    };
  }

  async detachedParts(): Promise<number> {
    const sql = (await this.reads()).UNIT_DETACHED_PARTS;
    const [found] = await lookAt<TableName & { parts: string }>(this.node, sql, [this.name], LIGHT);
    return Number(found?.parts ?? 0);
  }

  /** How the live replica stands, the new one before the old one. Asks ZooKeeper by way of the server. */
  async replication(): Promise<Replication | null> {
    const names = [cloneName('next', this.name), this.name];
    const [row] = await lookAt<ReplicationRow>(this.node, queries.REPLICATION, names, FEW_TABLES);
    if (!row) return null;
    return {
      queue: this.pending(row, row),
      behind: Number(row.queue) - Number(row.merges) + Math.max(0, Number(row.logEnd) + 1 - Number(row.logNext)),
      active: Number(row.active),
      total: Number(row.total),
    };
  }

  private replica(state: UnitState, name: TableName): Replica | null {
    const found = state.replica(name);
    return found && { ...found, queue: this.pending(name, found) };
  }

  /**
   * Entries of the queue, none where all came after we first looked: a table that is written to always has some. A merge
   * is planned also while merges are stopped (seen on 18.16.1), and waits for the fence to be lifted; only a replica
   * that joins living peers merges what they merge.
   */
  private pending(name: TableName, { queue, merges, oldest, now }: QueueRow): number {
    const since = this.since.get(tableKey(name)) ?? Number(now);
    this.since.set(tableKey(name), since);
    const waiting = this.item.fetches === 'live' ? 0 : Number(merges);
    return Number(oldest) > since ? 0 : Number(queue) - waiting;
  }

  private async tableState(standing: { engine: string } | null): Promise<Observation['table']['state']> {
    if (standing) return tableKind(standing.engine) === 'replicated' ? 'replicated' : 'plain';
    const { UNIT_DETACHED_TABLE } = await this.reads();
    if (UNIT_DETACHED_TABLE === null) return 'missing';
    const [detached] = await this.node.query<{ uuid: string }>(UNIT_DETACHED_TABLE, { params: this.name });
    return detached ? 'detached' : 'missing';
  }

  private async observeKeeper(
    state: UnitState,
    here: Replica | null,
    { embedded, comparesParts, name }: { embedded: boolean; comparesParts: boolean; name: TableName },
  ) {
    const path: KeeperPath | null = here ?? this.item.keeperPath;
    if (!path) return null;
    const live = here !== null && !here.readonly && !embedded;
    if (live && !comparesParts) return HELD_BY_US;
    const { keeper } = this.cluster;
    const replicaPath = `${path.tablePath}/replicas/${path.replicaName}`;
    const below = await keeper.children(replicaPath);
    if (below === null)
      return {
        replicaPathExists: false,
        heldByOther: false,
        partsAgree: null,
        parts: null,
        stalePeers: await this.stalePeers(path.tablePath),
      };
    const active = below.includes('is_active');
    const listed =
      comparesParts && below.includes('parts') ? ((await keeper.children(`${replicaPath}/parts`)) ?? []) : [];
    const agree = here && comparesParts ? await this.agreesWith(listed, state.parts(name).names, name) : null;
    return {
      replicaPathExists: true,
      heldByOther: active && !live,
      partsAgree: agree,
      parts: comparesParts ? listed.length : null,
      stalePeers: false,
    };
  }

  /** The names themselves leave the node, anew, only where they are not exactly those that are listed. */
  private async agreesWith(listed: string[], hash: NameHash, name: TableName): Promise<boolean> {
    if (isOfHash(listed, hash, this.sha256)) return true;
    const local = await this.node.query<{ name: string }>(queries.PART_NAMES, { params: { ...name } });
    return partsAgree(
      listed,
      local.map((part) => part.name),
    );
  }

  /** Whether anything is left on the path of what the plan wants gone before this replica goes first. */
  private async stalePeers(tablePath: string): Promise<boolean> {
    if (this.has('delete-peer-path')) return tablePathOf(await this.cluster.keeper.children(tablePath)).isThere;
    if (!this.has('drop-peer-replica')) return false;
    return ((await this.cluster.keeper.children(`${tablePath}/replicas`)) ?? []).length > 0;
  }
}

type ReplicationRow = TableName & QueueRow & Record<'active' | 'total' | 'logEnd' | 'logNext', string>;

/** A replica that is writable holds its path: ZooKeeper is not asked for it. */
const HELD_BY_US = { replicaPathExists: true, heldByOther: false, partsAgree: null, parts: null, stalePeers: false };

export interface Looking {
  /** That none of our statements runs is known, or does not matter. @default false */
  isAlone?: boolean;
  /** ZooKeeper's list of parts with those on the disk. Where not, ZooKeeper is asked nothing of a live, writable replica. @default true */
  comparesParts?: boolean;
}

export interface Replication {
  /** Entries of its queue that are older than our first look. */
  queue: number;
  /** All entries that it has not worked off, also those that are in the log only; not merges. One, where the log never had any. */
  behind: number;
  active: number;
  total: number;
}

interface Replica extends KeeperPath {
  readonly: boolean;
  sessionExpired: boolean;
  /** Entries of its replication queue that are older than our first look. */
  queue: number;
}

export type Seen = Observation & { keeperParts: number | null };
