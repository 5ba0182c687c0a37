import type { ReportStore } from '../../ports.js';
import { documentsOf, parseReport, planDocument, planName, reportName, type Documents } from './documents.js';

/** Milliseconds for one document. A recovery ends with a read and three of these, in an activity that has a minute. */
const SAVE_TIMEOUT_MS = 15_000;
/** A plan is saved before the recovery begins its work, which it must not hold up. */
const PLAN_TIMEOUT_MS = 5_000;

/** Reports as `<id>.json`, `<id>.html` and `<id>.md`, whose address `save` returns; plans below `plans/`. */
export function createReportStore({ put, get }: Documents): ReportStore {
  const plan = (hash: string) => get(planName(hash));
  return {
    save: async (id, report) => {
      // The page is complete without: a plan that cannot be read must not cost the report.
      const text = report.plan.hash === '' ? null : await plan(report.plan.hash).catch(() => null);
      let address = '';
      for (const document of documentsOf(id, report, text)) address = await put(document, SAVE_TIMEOUT_MS);
      return address;
    },
    load: async (id) => {
      const text = await get(reportName(id));
      return text === null ? null : parseReport(id, text);
    },
    savePlan: async (hash, text) => void (await put(planDocument(hash, text), PLAN_TIMEOUT_MS)),
    plan,
  };
}
