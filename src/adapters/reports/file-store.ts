import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { RecoveryError } from '../../domain/errors.js';
import type { ReportStore } from '../../ports.js';
import { documentsOf, parseReport, planDocument, planName, reportName } from './documents.js';

/** Reports as files of a folder: `<id>.json`, `<id>.html` and `<id>.md`, whose path `save` returns; plans below `plans/`. */
export function createFileReportStore(dir: string): ReportStore {
  const root = resolve(dir);
  const plan = (hash: string) => readIfThere(join(root, planName(hash)));
  return {
    save: async (id, report) => {
      // The page is complete without: a plan that cannot be read must not cost the report.
      const text = report.plan.hash === '' ? null : await plan(report.plan.hash).catch(() => null);
      let path = '';
      for (const document of documentsOf(id, report, text))
        path = await writeAtomically(root, document.name, document.text);
      return path;
    },
    load: async (id) => {
      const text = await readIfThere(join(root, reportName(id)));
      return text === null ? null : parseReport(id, text);
    },
    savePlan: async (hash, text) => {
      const document = planDocument(hash, text);
      await writeAtomically(join(root, dirname(document.name)), basename(document.name), document.text);
    },
    plan,
  };
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    throw new RecoveryError('REPORTS_UNAVAILABLE', `${path} cannot be read (${code ?? 'error'})`);
  }
}

/** A reader sees the old file or the whole new one. A link in the place of the file is replaced, not followed. */
async function writeAtomically(folder: string, name: string, text: string): Promise<string> {
  const path = join(folder, name);
  if (dirname(path) !== folder) throw new RecoveryError('INTERNAL', 'a report would be outside its folder');
  await mkdir(folder, { recursive: true });
  const temporary = join(folder, `.${randomUUID()}.tmp`);
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
