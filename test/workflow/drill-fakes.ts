import type { DrillActivities } from '../../src/activities/drills.js';
import type { DrillReport, Measured } from '../../src/domain/drill.js';
import { fakes, hold, N1, N2, planOf, table, type FakesOptions } from './fakes.js';

const TAKEN = '2026-01-01T00:00:00.000Z';
export const YEARS = 315_360_000;

export const measured = (change: Partial<Measured> = {}): Measured => ({
  ...{ tables: 1, rows: 10, newestRow: null, lacking: [], rowsSince: 0, tablesLost: 0 },
  manifest: { counted: 1, rowsLost: 0, tablesLost: 0, lost: [], extra: [], uncounted: [] },
  ...change,
});

export interface DrillOptions extends Partial<FakesOptions> {
  drill?: Partial<DrillActivities>;
  objectives?: { rtoSeconds: number; rpoSeconds: number };
  timeoutSeconds?: number;
}

/** A cluster with a drill in which everything works, but for what is given. */
export function drillFakes({ drill = {}, objectives, timeoutSeconds = 60, ...options }: DrillOptions = {}) {
  const base = fakes({ plans: [planOf([table('a')])], ...options });
  const saved: DrillReport[] = [];
  const own: DrillActivities = {
    getDrill: async ({ cluster }) => ({
      settings: {
        target: `${cluster}-scratch`,
        backup: 'latest',
        objectives: objectives ?? { rtoSeconds: 600, rpoSeconds: YEARS },
        timeoutSeconds,
      },
      target: { view: `${cluster}@${cluster}-scratch`, nodes: [N1, N2] },
      heartbeatTimeoutSeconds: 15,
    }),
    findRecovery: async () => null,
    awaitRecovery: async () => {
      await hold().pass();
      return '';
    },
    proveDrill: async () => undefined,
    chooseDrillBackup: async () => ({ repository: 'local', name: 'b1', takenAt: TAKEN }),
    claimDrillTarget: async () => undefined,
    measureDrill: async () => measured(),
    cleanDrillTarget: async () => ({ cleaned: true }),
    saveDrillReport: async ({ report }) => {
      saved.push(report);
      return 'file:///d';
    },
    ...drill,
  };
  const recorded = Object.fromEntries(
    Object.entries(own).map(([name, body]) => [
      name,
      async (input: { node?: { name: string } }): Promise<unknown> => {
        base.calls.push(`${name} ${input.node?.name ?? ''}`.trim());
        return body(input as never);
      },
    ]),
  );
  return { ...base, saved, activities: { ...base.activities, ...recorded } };
}
