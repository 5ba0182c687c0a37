import { tallyResults, unitKey, type UnitResult } from '../domain/build-report.js';
import type { PartsDigest } from '../domain/inventory.js';
import type { PlanItem } from '../domain/plan.js';
import type { StageName } from '../domain/report.js';
import type { Tally } from '../domain/tally.js';
import type { TimedStage } from '../domain/timeline.js';
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

/** What became of the units of a piece so far. Throws PLAN_UNAVAILABLE. */
export async function readRecords({ pieces }: Pick<Ports, 'pieces'>, run: RunOfPlan, piece: number): Promise<Records> {
  const text = await pieces.get(nameOf(run, piece));
  if (text === null) return {};
  const { plan, records } = JSON.parse(text) as ResultDocument;
  return plan === run.plan ? records : {};
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

export function tallyRecords(items: PlanItem[], records: Records): Tally {
  return tallyResults(items, new Map(Object.entries(records)));
}
