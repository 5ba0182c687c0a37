import { decideAttempt, type Goal, type Observation, type Step } from '../domain/attempt.js';
import { NO_PARTS, tableKind, type PartsDigest, type TableDefinition } from '../domain/inventory.js';
import { RecoveryError } from '../domain/errors.js';
import { cloneName, tableKey } from '../domain/names.js';
import type { PlanItem, StepName } from '../domain/plan.js';
import { fenceTable, FENCE, PARTITION_PLACEHOLDER } from '../domain/statements.js';
import { ServerError, type ClickHouseNode, type ClusterPorts, type Ports } from '../ports.js';
import * as queries from './queries.js';
import { pause, type StepContext } from './runtime.js';

interface DigestRow {
  database: string;
  table: string;
  parts: string;
  rows: string;
  digest: string;
}

export function toDigest(row: { parts: string; rows: string; digest: string } | undefined): PartsDigest {
  return row ? { parts: Number(row.parts), rows: Number(row.rows), digest: row.digest } : NO_PARTS;
}

/** The server's start time by which this process knows that it has raised the fence there. A restart forgets SYSTEM STOP. */
const fencedBoots = new Map<string, number>();

export function rememberFence(node: string, boot: number): void {
  fencedBoots.set(node, boot);
}

/** One table on one node, with what an attempt needs: observe it, send its planned statements, nothing else. */
export class Unit {
  readonly node: ClickHouseNode;
  readonly name: { database: string; table: string };
  /** Starts every statement of ours about this table, so that it is found in `system.processes` by whoever comes next. */
  readonly tag: string;
  private readonly cluster: ClusterPorts;

  constructor(
    ports: Ports,
    cluster: string,
    readonly item: PlanItem,
    private readonly context: StepContext,
  ) {
    this.cluster = ports.cluster(cluster);
    this.node = this.cluster.node(item.node.name);
    this.name = { database: item.database, table: item.table };
    this.tag = `/* ch-recover ${ports.sha256(`${cluster}/${tableKey(item)}`).slice(0, 16)} */`;
  }

  clone(role: 'clone' | 'making' | 'staging' | 'held'): string {
    return cloneName(role, this.name).table;
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
    let text = this.planned(step);
    for (const [placeholder, value] of Object.entries(fill)) text = text.replace(placeholder, () => value);
    await this.proveFence();
    this.context.assertFresh();
    await this.node.execute(`${this.tag} ${text}`, {
      timeoutMs: this.cluster.policy.statementDeadlineSeconds * 1000,
      signal: this.context.signal,
    });
  }

  /** A table object made by ATTACH or CREATE does not know that merges are stopped. */
  async fenceTable(): Promise<void> {
    for (const statement of fenceTable(this.name)) await this.node.execute(statement);
  }

  private async proveFence(): Promise<void> {
    for (let tries = 0; ; tries++) {
      const [proof] = await this.node.query<{ merges: string; writers: string; boot: string }>(queries.FENCE_PROOF, {
        params: this.name,
      });
      const boot = Number(proof?.boot);
      const known = fencedBoots.get(this.item.node.name);
      // now() and uptime() tick apart: a second or two is the same start.
      if (known === undefined || Math.abs(known - boot) > 3) {
        for (const statement of FENCE) await this.node.execute(statement);
        fencedBoots.set(this.item.node.name, boot);
        continue;
      }
      if (Number(proof?.merges) === 0 && Number(proof?.writers) === 0) return;
      if (tries >= 30)
        throw new RecoveryError(
          'FENCE_BYPASSED',
          `${tableKey(this.name)} on ${this.item.node.name} is being written or merged`,
          { objects: [tableKey(this.name)] },
        );
      await pause(1_000, this.context.signal);
    }
  }

  async definition(): Promise<TableDefinition | null> {
    const [found] = await this.node.query<TableDefinition>(queries.ONE_TABLE, {
      params: this.name,
      settings: queries.WITH_UUID,
    });
    return found ?? null;
  }

  async digests(): Promise<{
    table: PartsDigest;
    clone: PartsDigest | null;
    making: PartsDigest | null;
    staging: PartsDigest | null;
    held: PartsDigest | null;
    stagingUuid: string;
  }> {
    const clones = [this.clone('clone'), this.clone('making'), this.clone('staging'), this.clone('held')];
    const rows = await this.node.query<DigestRow>(queries.UNIT_DIGESTS, { params: { ...this.name, clones } });
    const present = await this.node.query<{ name: string; uuid: string }>(queries.UNIT_CLONES, { params: { clones } });
    const of = (name: string) =>
      present.some((clone) => clone.name === name)
        ? toDigest(rows.find((row) => row.database === '_recovery' && row.table === name))
        : null;
    return {
      table: toDigest(rows.find((row) => row.database === this.name.database && row.table === this.name.table)),
      clone: of(this.clone('clone')),
      making: of(this.clone('making')),
      staging: of(this.clone('staging')),
      held: of(this.clone('held')),
      stagingUuid: present.find((clone) => clone.name === this.clone('staging'))?.uuid ?? '',
    };
  }

  async running(): Promise<{ seconds: number } | null> {
    const [row] = await this.node.query<{ seconds: number; running: string }>(queries.RUNNING, {
      params: { tag: this.tag },
    });
    return row && Number(row.running) > 0 ? { seconds: Number(row.seconds) } : null;
  }

  async observe(embedded: boolean): Promise<Observation & { detachedParts: number; keeperParts: number | null }> {
    const running = await this.running();
    const definition = await this.definition();
    const digests = await this.digests();
    const state = await this.tableState(definition);
    const [replica] =
      state === 'replicated'
        ? await this.node.query<{ readonly: number; sessionExpired: number; tablePath: string; replicaName: string }>(
            queries.UNIT_REPLICA,
            { params: this.name },
          )
        : [];
    const path = replica ? { tablePath: replica.tablePath, replicaName: replica.replicaName } : this.item.keeperPath;
    const readonly = Number(replica?.readonly ?? 0) === 1;
    const keeper =
      this.item.replicated && path
        ? await this.observeKeeper(path, {
            attached: state === 'replicated',
            live: state === 'replicated' && !readonly && !embedded,
          })
        : null;
    const [detached] = await this.node.query<{ total: string }>(queries.UNIT_DETACHED_PARTS, { params: this.name });
    return {
      running,
      table: { state, parts: digests.table, readonly, sessionExpired: Number(replica?.sessionExpired ?? 0) === 1 },
      keeper,
      clone: digests.clone,
      making: digests.making,
      embedded,
      detachedParts: Number(detached?.total ?? 0),
      keeperParts: keeper?.parts ?? null,
    };
  }

  private async tableState(definition: TableDefinition | null): Promise<Observation['table']['state']> {
    if (definition) return tableKind(definition.engine) === 'replicated' ? 'replicated' : 'plain';
    const [detached] = await this.node.query<{ uuid: string }>(queries.UNIT_DETACHED_TABLE, { params: this.name });
    return detached ? 'detached' : 'missing';
  }

  private async observeKeeper(
    path: { tablePath: string; replicaName: string },
    table: { attached: boolean; live: boolean },
  ) {
    const replicaPath = `${path.tablePath}/replicas/${path.replicaName}`;
    const replicaPathExists = await this.cluster.keeper.exists(replicaPath);
    if (!replicaPathExists) return { replicaPathExists, heldByOther: false, partsAgree: null, parts: null };
    const active = await this.cluster.keeper.exists(`${replicaPath}/is_active`);
    const listed = (await this.cluster.keeper.children(`${replicaPath}/parts`)) ?? [];
    let partsAgree: boolean | null = null;
    if (table.attached) {
      const local = await this.node.query<{ name: string }>(queries.PART_NAMES, { params: this.name });
      partsAgree = sameNames(
        listed,
        local.map((part) => part.name),
      );
    }
    return { replicaPathExists, heldByOther: active && !table.live, partsAgree, parts: listed.length };
  }
}

export function sameNames(a: string[], b: string[]): boolean {
  const names = new Set(a);
  return names.size === b.length && b.every((name) => names.has(name));
}

const POLL_MS = 200;
/** Same step, same observation, so many times in a row: it does not converge. */
const MAX_REPEATS = 4;

/**
 * Brings one table one step after the other to its goal: observe, ask the decision, act, observe again. Any statement
 * may be the last of this process; the next process starts from what it sees.
 */
export async function advance(
  unit: Unit,
  context: StepContext,
  goal: Goal,
  embedded: boolean,
  until: 'clone' | 'done',
): Promise<Observation & { detachedParts: number; keeperParts: number | null }> {
  let previous = '';
  let repeats = 0;
  let lastError: ServerError | null = null;
  const waits = new Map<string, number>();
  for (;;) {
    const seen = await unit.observe(embedded);
    if (until === 'clone' && seen.clone && !seen.running) return seen;
    const step = decideAttempt(seen, goal);
    context.progress({ table: tableKey(unit.name), step: step.do });
    if (step.do === 'done') return seen;
    if (step.do === 'wait' || (step.do === 'refuse' && step.code === 'REPLICA_ACTIVE')) {
      await waitOrGiveUp(unit, step, waits, goal, context);
      continue;
    }
    if (step.do === 'refuse')
      throw new RecoveryError(step.code, `${tableKey(unit.name)} on ${unit.item.node.name}: ${step.why}`, {
        objects: [tableKey(unit.name)],
      });
    const state = JSON.stringify({ step, seen: { ...seen, running: null } });
    repeats = state === previous ? repeats + 1 : 0;
    if (repeats >= MAX_REPEATS) {
      if (lastError) throw lastError;
      throw new RecoveryError('NO_PROGRESS', `${tableKey(unit.name)}: '${step.do}' changes nothing`, {
        objects: [tableKey(unit.name)],
      });
    }
    previous = state;
    try {
      await act(unit, step);
    } catch (error) {
      // The server's answer is not believed either way: look again. Only a repeat without any change is an error.
      if (!(error instanceof ServerError)) throw error;
      lastError = error;
      await pause(POLL_MS, context.signal);
    }
  }
}

/** An ephemeral `is_active` of a server that was killed stays until its session times out: give it that long. */
const SESSION_TIMEOUT_SECONDS = 60;

async function waitOrGiveUp(
  unit: Unit,
  step: Extract<Step, { do: 'wait' | 'refuse' }>,
  waits: Map<string, number>,
  goal: Goal,
  context: StepContext,
): Promise<void> {
  const why = step.why;
  const since = waits.get(why) ?? performance.now();
  waits.set(why, since);
  const seconds = (performance.now() - since) / 1000;
  const table = `${tableKey(unit.name)} on ${unit.item.node.name}`;
  if (step.do === 'refuse') {
    if (seconds > SESSION_TIMEOUT_SECONDS)
      throw new RecoveryError(step.code, `${table}: ${why}`, { objects: [tableKey(unit.name)] });
  } else if (step.why === 'statement-running' && seconds > goal.statementDeadlineSeconds) {
    throw new RecoveryError('STATEMENT_HUNG', `${table}: our statement does not return`, {
      objects: [tableKey(unit.name)],
    });
  } else if (step.why !== 'statement-running' && seconds > SESSION_TIMEOUT_SECONDS) {
    throw new RecoveryError('SESSION_EXPIRED', `${table}: ${step.why} for ${Math.round(seconds)} s`, {
      objects: [tableKey(unit.name)],
    });
  }
  await pause(POLL_MS, context.signal);
}

async function act(unit: Unit, step: Step): Promise<void> {
  switch (step.do) {
    case 'attach-not-replicated':
      // Metadata of a detached table does not show its engine: try the conversion, else attach what is there.
      if (unit.has('attach-not-replicated')) {
        try {
          await unit.send('attach-not-replicated');
        } catch (error) {
          if (!(error instanceof ServerError)) throw error;
          await unit.send('attach');
        }
      } else await unit.send('attach');
      return unit.fenceTable();
    case 'create-plain':
      await unit.send('create-plain');
      return unit.fenceTable();
    case 'convert':
      await unit.send('detach');
      await unit.send('attach-as-replicated');
      return unit.fenceTable();
    case 'replace-partitions':
      return replacePartitions(unit);
    case 'done':
    case 'wait':
    case 'refuse':
      return;
    default:
      return unit.send(step.do);
  }
}

async function replacePartitions(unit: Unit): Promise<void> {
  const partitions = await unit.node.query<{ id: string; sides: string[] }>(queries.PARTITIONS_TO_REPLACE, {
    params: { ...unit.name, clone: unit.clone('clone') },
  });
  for (const { id, sides } of partitions) {
    if (!/^[A-Za-z0-9_-]+$/.test(id))
      throw new RecoveryError('NOT_RECOVERABLE', `${tableKey(unit.name)} has an unexpected partition id`);
    await unit.send(sides.includes('clone') ? 'replace-partition' : 'drop-partition', { [PARTITION_PLACEHOLDER]: id });
  }
}
