import { createHash } from 'node:crypto';
import type { DrillReport } from '../../domain/drill.js';
import { drillToMarkdown } from '../../domain/render-drill.js';
import type { DrillStore } from '../../ports.js';
import type { Documents } from './documents.js';

const SAVE_TIMEOUT_MS = 15_000;

/**
 * Reports of drills, a folder a cluster: `drills/<cluster>/<start>-<id>.json` for programs and `.md` for people. Names
 * begin with the time, so that the newest are found without reading the others.
 */
export function createDrillStore({ put, get, list }: Documents): DrillStore {
  // Names of clusters in recovery.yaml are path segments; what else is asked for has no folder.
  const folder = (cluster: string) => `drills/${encodeURIComponent(cluster).replace(/^\./, '%2E')}`;
  return {
    save: async (report) => {
      const stem = `${folder(report.cluster)}/${report.startedAt.replace(/[:.]/g, '-')}-${digest(report.drillId)}`;
      const json = `${JSON.stringify(report, null, 2)}\n`;
      await put({ name: `${stem}.json`, contentType: 'application/json', text: json }, SAVE_TIMEOUT_MS);
      const markdown = drillToMarkdown(report);
      return put({ name: `${stem}.md`, contentType: 'text/markdown; charset=utf-8', text: markdown }, SAVE_TIMEOUT_MS);
    },
    list: async (cluster, limit) => {
      const names = await list(`${folder(cluster)}/`, '.json');
      const texts = await Promise.all(names.reverse().slice(0, limit).map(get));
      return texts.flatMap((text) => (text === null ? [] : [JSON.parse(text) as DrillReport]));
    },
  };
}

const digest = (id: string) => createHash('sha256').update(id).digest('hex').slice(0, 16);
