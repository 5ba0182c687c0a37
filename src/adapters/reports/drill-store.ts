import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { DrillReport } from '../../domain/drill.js';
import { drillToMarkdown } from '../../domain/render-drill.js';
import type { DrillStore } from '../../ports.js';

/**
 * Reports of drills as files, a folder a cluster: `<start>-<id>.json` for programs and `.md` for people. Names begin with
 * the time, so that the newest are found without reading the others.
 */
export function createFileDrillStore(dir: string): DrillStore {
  const root = resolve(dir);
  // Names of clusters in recovery.yaml are path segments; what else is asked for has no folder.
  const folder = (cluster: string) => join(root, encodeURIComponent(cluster).replace(/^\./, '%2E'));
  return {
    save: async (report) => {
      const into = folder(report.cluster);
      const stem = `${report.startedAt.replace(/[:.]/g, '-')}-${digest(report.drillId)}`;
      await mkdir(into, { recursive: true });
      await writeAtomically(join(into, `${stem}.json`), `${JSON.stringify(report, null, 2)}\n`);
      return writeAtomically(join(into, `${stem}.md`), drillToMarkdown(report));
    },
    list: async (cluster, limit) => {
      const names = await readdir(folder(cluster)).catch(ignoreAbsent);
      const newest = names
        .filter((name) => name.endsWith('.json'))
        .sort()
        .reverse()
        .slice(0, limit);
      const texts = await Promise.all(newest.map((name) => readFile(join(folder(cluster), name), 'utf8')));
      return texts.map((text) => JSON.parse(text) as DrillReport);
    },
  };
}

function ignoreAbsent(error: NodeJS.ErrnoException): string[] {
  if (error.code === 'ENOENT') return [];
  throw error;
}

const digest = (id: string) => createHash('sha256').update(id).digest('hex').slice(0, 16);

/** A reader sees the old file or the whole new one. */
async function writeAtomically(path: string, text: string): Promise<string> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw cause;
  }
  return path;
}
