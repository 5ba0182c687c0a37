import { problem, type Problem } from '../domain/errors.js';
import { sameParts } from '../domain/inventory.js';
import { tableKey } from '../domain/names.js';
import type { PlanItem } from '../domain/plan.js';
import type { Ports } from '../ports.js';
import type { StepContext } from './runtime.js';
import { countRows } from './observe-node.js';
import { Unit } from './unit.js';

export interface Validation {
  rowsExpected: number | null;
  rowsFound: number | null;
  partsExpected: number | null;
  partsFound: number | null;
  detachedLeft: number;
  activation: string;
  problem?: Problem;
}

/** Looks at one finished table as if nothing were known of it: parts against the clone, ZooKeeper against the parts. */
export async function validateTable(
  ports: Ports,
  cluster: string,
  item: PlanItem,
  embedded: boolean,
  context: StepContext,
): Promise<Validation> {
  const unit = new Unit(ports, cluster, item, context);
  if (item.action === 'create-object') return validateObject(unit);
  const seen = await unit.observe(embedded);
  const expected = item.expected ?? seen.clone;
  const found = seen.table.parts;
  const result: Validation = {
    rowsExpected: expected?.rows ?? null,
    rowsFound: found.rows,
    partsExpected: expected?.parts ?? null,
    partsFound: found.parts,
    detachedLeft: seen.detachedParts,
    activation: !item.replicated
      ? 'not applicable'
      : embedded
        ? 'not applicable (embedded node)'
        : seen.table.readonly
          ? 'read-only'
          : 'active',
  };
  if (seen.table.state !== (item.replicated ? 'replicated' : 'plain'))
    return { ...result, ...fail(unit, `it is ${seen.table.state}`) };
  if (expected && !sameParts(expected, found) && item.action !== 'recreate-and-fetch')
    return {
      ...result,
      ...fail(
        unit,
        `${found.rows} rows in ${found.parts} parts, expected ${expected.rows} rows in ${expected.parts} parts${expected.rows === found.rows ? ' (other hashes)' : ''}`,
      ),
    };
  if (seen.clone && !sameParts(seen.clone, found))
    return { ...result, ...fail(unit, 'its parts are not those of its safety clone') };
  if (!item.replicated) return result;
  if (!seen.keeper?.replicaPathExists) return { ...result, ...fail(unit, 'its replica path is not in ZooKeeper') };
  if (seen.keeper.partsAgree !== true)
    return { ...result, ...fail(unit, `ZooKeeper lists ${seen.keeperParts ?? 0} parts, other than those on the disk`) };
  if (!embedded && seen.table.readonly) return { ...result, ...fail(unit, 'it is still read-only') };
  return result;
}

/** An object has to exist; a table that was restored as a whole has to have the rows of the backup. */
async function validateObject(unit: Unit): Promise<Validation> {
  const result: Validation = {
    rowsExpected: unit.item.expected?.rows ?? null,
    rowsFound: null,
    partsExpected: null,
    partsFound: null,
    detachedLeft: 0,
    activation: 'not applicable',
  };
  if ((await unit.definition()) === null) return { ...result, ...fail(unit, 'it does not exist') };
  if (!unit.has('rename-into-place')) return result;
  const rowsFound = await countRows(unit.node, unit.name);
  const expected = unit.item.expected;
  if (expected && expected.rows !== rowsFound)
    return { ...result, rowsFound, ...fail(unit, `${rowsFound} rows, expected ${expected.rows}`) };
  return { ...result, rowsFound };
}

function fail(unit: Unit, why: string): { problem: Problem } {
  return {
    problem: problem('VALIDATION_FAILED', `${tableKey(unit.name)} on ${unit.item.node.name}: ${why}`, {
      objects: [tableKey(unit.name)],
    }),
  };
}
