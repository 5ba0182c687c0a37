import { tallyResults, unitKey, type UnitResult } from '../domain/build-report.js';
import { RecoveryError } from '../domain/errors.js';
import type { PartsDigest } from '../domain/inventory.js';
import type { PlanItem } from '../domain/plan.js';
import type { StageName } from '../domain/report.js';
import type { Tally } from '../domain/tally.js';
import type { TimedStage } from '../domain/timeline.js';
import { isBeside } from '../domain/unit-work.js';
import type { Ports } from '../ports.js';

/** How a unit of a large plan stands: what the workflow keeps of a unit of a small one. */
export interface UnitRecord extends UnitResult {
  timeline: TimedStage[];
  /** What the replica that goes first had in its clone. */
  verified?: PartsDigest;
  /** On all replicas of its shard, so it may be put into its place. */
  validated?: boolean;
  promoted?: boolean;
  failedIn?: StageName;
}

export type Records = Record<string, UnitRecord>;

interface ResultDocument {
  plan: string;
  records: Records;
}

interface RunOfPlan {
  recovery: string;
  plan: string;
}

/** The recovery is a run id of Temporal's, a UUID. */
const nameOf = ({ recovery }: RunOfPlan, piece: number) => `runs/${encodeURIComponent(recovery)}/${piece}.json`;

/** What became of the units of a piece so far; null: nothing is known of them. Throws PLAN_UNAVAILABLE. */
export async function findRecords(
  { pieces }: Pick<Ports, 'pieces'>,
  run: RunOfPlan,
  piece: number,
): Promise<Records | null> {
  const text = await pieces.get(nameOf(run, piece));
  if (text === null) return null;
  const { plan, records } = JSON.parse(text) as ResultDocument;
  return plan === run.plan ? records : null;
}

/** Of a piece that was begun: a worker that finds nothing has another store, and must not take that for no work. */
export async function readRecords(ports: Pick<Ports, 'pieces'>, run: RunOfPlan, piece: number): Promise<Records> {
  const records = await findRecords(ports, run, piece);
  if (records) return records;
  throw new RecoveryError('PLAN_UNAVAILABLE', `${nameOf(run, piece)} of this plan is not in the report store`);
}

export async function writeRecords(
  { pieces }: Pick<Ports, 'pieces'>,
  run: RunOfPlan,
  piece: number,
  records: Records,
): Promise<void> {
  const document: ResultDocument = { plan: run.plan, records };
  await pieces.put(nameOf(run, piece), JSON.stringify(document));
}

export function recordOf(records: Records, item: PlanItem): UnitRecord {
  return (
    records[unitKey(item)] ?? {
      ...{ state: 'waiting', rowsFound: null, partsFound: null, detachedLeft: 0, evidence: '', activation: '' },
      ...{ rowsExpected: item.expected?.rows ?? null, partsExpected: item.expected?.parts ?? null, timeline: [] },
    }
  );
}

/** As they are reported. A table that was made beside its place is not done before it is in its place. */
export function resultsOf(items: PlanItem[], records: Records): Map<string, UnitRecord> {
  const results = new Map(Object.entries(records));
  for (const item of items.filter(isBeside)) {
    const record = results.get(unitKey(item));
    if (record?.state === 'done' && !record.promoted) results.set(unitKey(item), { ...record, state: 'validate' });
  }
  return results;
}

export function tallyRecords(items: PlanItem[], records: Records): Tally {
  return tallyResults(items, resultsOf(items, records));
}
