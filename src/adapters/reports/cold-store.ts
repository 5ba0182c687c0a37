import type { ColdReport } from '../../domain/cold.js';
import { RecoveryError } from '../../domain/errors.js';
import { coldReportToText } from '../../domain/render-cold.js';
import type { ColdStore } from '../../ports.js';
import { stemOf, type Documents } from './documents.js';

const SAVE_TIMEOUT_MS = 15_000;

/** Reports of cold backups and restores: `cold/<id>.json` for programs and, written last, `.txt` for people. */
export function createColdStore({ put, get }: Documents): ColdStore {
  const stem = (id: string) => `cold/${stemOf(id)}`;
  return {
    save: async (report) => {
      const json = `${JSON.stringify(report, null, 2)}\n`;
      await put({ name: `${stem(report.id)}.json`, contentType: 'application/json', text: json }, SAVE_TIMEOUT_MS);
      const text = `${coldReportToText(report).join('\n')}\n`;
      return put({ name: `${stem(report.id)}.txt`, contentType: 'text/plain; charset=utf-8', text }, SAVE_TIMEOUT_MS);
    },
    load: async (id) => {
      const text = await get(`${stem(id)}.json`);
      const found = text === null ? null : parsed(text);
      if (text !== null && !found)
        throw new RecoveryError('REPORTS_UNAVAILABLE', `the stored report of ${id.slice(0, 300)} is damaged`);
      // Two long ids may share a name.
      return found?.id === id ? found : null;
    },
  };
}

function parsed(text: string): ColdReport | null {
  try {
    const value = JSON.parse(text) as Partial<ColdReport> | null;
    const isReport = value?.schemaVersion === 1 && Array.isArray(value.steps) && Array.isArray(value.hosts);
    return isReport ? (value as ColdReport) : null;
  } catch {
    return null;
  }
}
