import type { Goal } from '../domain/attempt.js';
import { RecoveryError } from '../domain/errors.js';
import { sameParts, type PartsDigest } from '../domain/inventory.js';
import { Lanes } from '../domain/lanes.js';
import { cloneName, quoteTable, tableKey, type TableName } from '../domain/names.js';
import type { PlanItem } from '../domain/plan.js';
import type { Policy } from '../domain/policy.js';
import { isClosed } from '../domain/statements-conversion.js';
import { ServerError, type Ports } from '../ports.js';
import { beforeLook } from './looks.js';
import { perNode } from './per-node.js';
import * as queries from './queries.js';
import type { StepContext } from './runtime.js';
import { advance } from './advance.js';
import { Unit } from './unit.js';

export interface VerifiedParts {
  parts: PartsDigest;
  /** What the parts were compared with. */
  evidence:
    | 'part hashes of the manifest'
    | 'part hashes of the backup'
    | 'part hashes of the table'
    | 'rows and bytes of the table’s parts'
    | 'number of parts in the backup'
    | 'sha256 of the copy’s files, its parts and rows'
    | 'checksums of the backup';
}

export function goalOf(item: PlanItem, policy: Policy): Goal {
  return {
    replicated: item.replicated,
    source: item.action === 'restore-from-backup' ? 'backup' : item.action === 'recreate-and-fetch' ? 'peer' : 'table',
    method: item.method,
    standing: item.standing,
    rebuildRefusal: rebuildRefusalOf(item),
    closed: item.statements.some(({ step, sql }) => step === 'attach-plain' && isClosed(sql)),
    fetches: item.fetches,
    statementDeadlineSeconds: policy.statementDeadlineSeconds,
    sessionTimeoutSeconds: policy.sessionTimeoutSeconds,
  };
}

/** A plan of an earlier worker, which may wait for its approval still, says it with `convertible`. */
function rebuildRefusalOf(item: PlanItem & { convertible?: boolean }): PlanItem['rebuildRefusal'] {
  if (item.convertible === undefined) return item.rebuildRefusal;
  return item.convertible ? null : 'EXPLICIT_KEEPER_PATH';
}

/** `CHECK TABLE` at once on a node: it reads all that a table has, and looks go over the same connections. */
const CHECKS_AT_ONCE = 8;
const checksOn = perNode(() => new Lanes(CHECKS_AT_ONCE));

/**
 * Makes sure that the table has a complete and sound clone before anything destructive: a restored staging table that
 * equals the backup becomes the clone; a table that still stands is cloned and compared. Then the parts are read with
 * CHECK TABLE, since one broken part aborts SYSTEM RESTORE REPLICA and loses the list (ClickHouse issue 77416).
 */
export async function verifyParts(
  ports: Ports,
  cluster: string,
  item: PlanItem,
  evidence: 'manifest' | 'backup' | null,
  embedded: boolean,
  context: StepContext,
): Promise<VerifiedParts> {
  const policy = ports.cluster(cluster).policy;
  const unit = new Unit(ports, cluster, item, context);
  if (item.action === 'restore-from-backup') return verifyStaging(unit, evidence ?? 'backup', policy);
  const seen = await advance(unit, context, goalOf(item, policy), embedded, 'clone');
  const clone = seen.clone ?? { parts: 0, rows: 0, digest: '0' };
  if (policy.checkParts === 'all') await checkParts(unit, 'clone', policy);
  return {
    parts: clone,
    evidence: item.method === 'conversion' ? 'rows and bytes of the table’s parts' : 'part hashes of the table',
  };
}

async function verifyStaging(unit: Unit, evidence: 'manifest' | 'backup', policy: Policy): Promise<VerifiedParts> {
  const { clone, staging } = await unit.digests();
  const found = clone ?? staging;
  const name = tableKey(unit.name);
  if (!found) throw new RecoveryError('VERIFY_FAILED', `${name}: its staging table is gone`, { objects: [name] });
  const expected = unit.item.expected;
  if (expected && !sameParts(expected, found))
    throw new RecoveryError(
      'VERIFY_FAILED',
      `${name}: restored ${found.rows} rows in ${found.parts} parts, the backup says ${expected.rows} rows in ${expected.parts} parts${expected.rows === found.rows ? ', other hashes' : ''}`,
      { objects: [name] },
    );
  const counted = (unit.item.place ?? unit.item.restore)?.counted;
  const rows = counted?.rows ?? found.rows;
  // A clone of an earlier attempt may have been merged since, and so has its rows only.
  if (counted && ((!clone && counted.parts !== found.parts) || rows !== found.rows))
    throw new RecoveryError(
      'VERIFY_FAILED',
      `${name}: ${clone ? 'its clone has' : 'restored'} ${found.rows} rows in ${found.parts} parts, the backup says ${counted.rows === null ? '' : `${rows} rows in `}${counted.parts} parts${clone ? `: the clone may be from another backup; drop ${quoteTable(cloneName('clone', unit.name))} if so` : ''}`,
      { objects: [name] },
    );
  if (!clone) {
    if (policy.checkParts !== 'none') await checkParts(unit, 'staging', policy);
    await unit.send('complete-staging');
  }
  return {
    parts: found,
    evidence: unit.item.place
      ? 'sha256 of the copy’s files, its parts and rows'
      : expected
        ? evidence === 'manifest'
          ? 'part hashes of the manifest'
          : 'part hashes of the backup'
        : counted
          ? 'number of parts in the backup'
          : 'checksums of the backup',
  };
}

async function checkParts(unit: Unit, role: 'clone' | 'staging', policy: Policy): Promise<void> {
  const table = { database: '_recovery', table: unit.clone(role) };
  const timeoutMs = policy.statementDeadlineSeconds * 1000;
  if (unit.item.method === 'conversion') return readAll(unit, table, timeoutMs);
  type Row = { part_path: string; is_passed: number; message: string };
  const check = () =>
    unit.node.query<Row>(`CHECK TABLE ${quoteTable(table)}`, { settings: queries.CHECK_SETTINGS, timeoutMs });
  const rows = await checksOn(unit.node).run(() => beforeLook(unit.node, check));
  const broken = rows.filter((row) => Number(row.is_passed) !== 1);
  if (broken.length > 0)
    throw new RecoveryError(
      'PART_BROKEN',
      `${tableKey(unit.name)} on ${unit.item.node.name}: ${broken.length} broken parts; ${broken[0]?.part_path}: ${broken[0]?.message}`.slice(
        0,
        500,
      ),
      {
        objects: broken.slice(0, 20).map((row) => row.part_path),
      },
    );
}

/** Old servers have no CHECK TABLE for MergeTree. Every block has its checksum, which a read compares. */
async function readAll(unit: Unit, table: TableName, timeoutMs: number): Promise<void> {
  try {
    await unit.node.execute(`SELECT * FROM ${quoteTable(table)} FORMAT Null`, { timeoutMs });
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    throw new RecoveryError(
      'PART_BROKEN',
      `${tableKey(unit.name)} on ${unit.item.node.name} cannot be read: ${error.message}`.slice(0, 500),
      { objects: [tableKey(unit.name)], serverCode: error.code },
    );
  }
}
