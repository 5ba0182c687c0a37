import type { Report, TableReport } from '../../src/domain/report.js';

export function tableReport(change: Partial<TableReport> = {}): TableReport {
  return {
    ...{ database: 'shop', table: 'orders', shard: '01', replica: 'r1' },
    ...{ situation: 'data-lost', action: 'restore-from-backup', outcome: 'recovered' },
    ...{ rowsExpected: 2000, rowsFound: 2000, partsExpected: 7, partsFound: 7 },
    ...{ detachedLeft: 0, evidence: 'part hashes', activation: 'active' },
    ...change,
  };
}

export function reportOf(change: Partial<Report> = {}): Report {
  return {
    ...{ schemaVersion: 1, recoveryId: 'recover-prod-1', cluster: 'prod', outcome: 'succeeded' },
    situations: { 'data-lost': 1 },
    plan: { hash: 'f'.repeat(64), approvedBy: 'ann (as stated)' },
    stages: [
      { name: 'stop', startedAt: at(0), finishedAt: at(1.5), outcome: 'done' },
      { name: 'restore-data', startedAt: at(1.5), finishedAt: at(50), outcome: 'done' },
    ],
    tables: [tableReport()],
    keeperState: [{ what: 'UDFs', detail: 'one', verdict: 'unrecoverable' }],
    fence: 'lifted',
    ...{ startedAt: at(0), finishedAt: at(60), rtoSeconds: 60 },
    rpo: { restoredFrom: 'monday', ageSeconds: 3600 },
    ...{ warnings: [], unrecovered: [] },
    ...change,
  };
}

export function at(seconds: number): string {
  return new Date(Date.parse('2026-11-24T10:00:00.000Z') + seconds * 1_000).toISOString();
}
