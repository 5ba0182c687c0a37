import { isUnverified } from './build-report.js';
import type { DrillFacts, DrillReport, Measured, Objectives, TableComparison } from './drill.js';
import { problem, type Problem } from './errors.js';
import { tableKey, type TableName } from './names.js';
import type { Report } from './report.js';

/** Everything that is wrong with a drill that was neither skipped nor left something behind. */
export function problemsOf(facts: DrillFacts, rpo: DrillReport['rpo']): Problem[] {
  const { recovery, measured, settings } = facts;
  if (facts.problem) return [facts.problem];
  if (facts.aborted) return [problem('REJECTED', 'the drill was cancelled')];
  if (!recovery || !settings) return [problem('INTERNAL', 'the drill ended without a recovery')];
  if (recovery.outcome === 'nothing-to-do')
    return [problem('DRILL_NO_DATA', 'the backup holds nothing that could be restored')];
  if (recovery.outcome !== 'succeeded')
    return [recovery.problem ?? problem('INTERNAL', `the recovery into the target ended ${recovery.outcome}`)];
  if (!measured) return [problem('DRILL_UNVERIFIED', 'what was restored was not measured')];
  return [
    ...(measured.rows === 0 ? [problem('DRILL_NO_DATA', `${measured.tables} tables were restored, and no row`)] : []),
    ...unverified(recovery, rpo),
    ...uncompared(measured, rpo),
    ...lost(measured),
    ...missed(recovery, rpo, settings.objectives),
  ];
}

function unverified(recovery: Report, rpo: DrillReport['rpo']): Problem[] {
  if (rpo === null)
    return [problem('DRILL_UNVERIFIED', 'the backup has no manifest: nobody knows its age and its rows')];
  const bare = recovery.tables.filter(isUnverified);
  if (bare.length === 0) return [];
  return [
    problem('DRILL_UNVERIFIED', `${bare.length} tables were compared with nothing`, {
      objects: bare.slice(0, 20).map(tableKey),
    }),
  ];
}

/** Rows that nobody counted are not known to be there: some tables are told, all of them fail. */
function uncompared({ manifest, rows }: Measured, rpo: DrillReport['rpo']): Problem[] {
  if (rpo === null || rows === 0) return [];
  if (!manifest) return [problem('DRILL_UNVERIFIED', "no row was compared with the backup's manifest")];
  const { counted, uncounted, extra } = manifest;
  const none = counted === 0 ? uncounted : [];
  return [
    ...(none.length > 0
      ? [problem('DRILL_UNVERIFIED', `the rows of no table were counted (${none[0]?.why ?? ''})`, namesOf(none))]
      : []),
    ...(extra.length > 0
      ? [problem('DRILL_UNVERIFIED', `${listed(extra)} has more rows than the backup's manifest says`, namesOf(extra))]
      : []),
  ];
}

type Named = TableName & { shard: string };
const listed = (tables: readonly Named[]) => tables.slice(0, 3).map(tableKey).join(', ');
const namesOf = (tables: readonly Named[]) => ({
  objects: tables.slice(0, 20).map((each) => `${tableKey(each)} @ ${each.shard}`),
});

function lost({ lacking, tablesLost, manifest }: Measured): Problem[] {
  return [...lostOfManifest(manifest), ...notInBackup(lacking, tablesLost)];
}

function lostOfManifest(manifest: Measured['manifest']): Problem[] {
  if (!manifest || manifest.tablesLost === 0) return [];
  const { rowsLost, tablesLost, lost: tables } = manifest;
  const what = `${rowsLost} rows of ${tablesLost === 1 ? '1 table' : `${tablesLost} tables`}`;
  return [
    problem(
      'DRILL_DATA_MISSING',
      `${what} that the backup's manifest has were not restored: ${listed(tables)}`,
      namesOf(tables),
    ),
  ];
}

function notInBackup(lacking: TableComparison[], tablesLost: number): Problem[] {
  if (tablesLost === 0) return [];
  const names = lacking.filter(({ isLost }) => isLost);
  return [
    problem(
      'DRILL_DATA_MISSING',
      `${tablesLost === 1 ? '1 table is' : `${tablesLost} tables are`} older than the backup and not in it: ${listed(names)}`,
      namesOf(names),
    ),
  ];
}

function missed(recovery: Report, rpo: DrillReport['rpo'], objectives: Objectives): Problem[] {
  const problems: Problem[] = [];
  if (recovery.rtoSeconds > objectives.rtoSeconds)
    problems.push(
      problem(
        'DRILL_RTO_MISSED',
        `the recovery took ${recovery.rtoSeconds} s, the objective is ${objectives.rtoSeconds} s`,
      ),
    );
  if (rpo && rpo.seconds > objectives.rpoSeconds)
    problems.push(
      problem(
        'DRILL_RPO_MISSED',
        `the ${rpo.basis} is ${rpo.seconds} s old, the objective is ${objectives.rpoSeconds} s`,
      ),
    );
  return problems;
}
