import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { RecoveryError } from '../../domain/errors.js';
import type { Report } from '../../domain/report.js';
import type { ReportStore } from '../../ports.js';

/** A file name has 255 bytes; the suffixes need some. */
const MAX_FILE_STEM = 200;

/** Reports as files: `<id>.json` for programs and, written last, `<id>.md` for people, whose path `save` returns. */
export function createFileReportStore(dir: string, renderMarkdown: (report: Report) => string): ReportStore {
  const root = resolve(dir);
  return {
    save: async (id, report) => {
      const stem = fileStem(id);
      await mkdir(root, { recursive: true });
      await writeAtomically(root, `${stem}.json`, `${JSON.stringify(report, null, 2)}\n`);
      return writeAtomically(root, `${stem}.md`, renderMarkdown(report));
    },
  };
}

/** Workflow ids have slashes and what people type; two ids never share a file. */
function fileStem(id: string): string {
  // encodeURIComponent leaves dots and the star, so `..` and hidden files must be taken care of.
  const stem = encoded(id).replace(/^\./, '%2E').replaceAll('*', '%2A');
  if (stem.length <= MAX_FILE_STEM) return stem;
  const digest = createHash('sha256').update(id).digest('hex').slice(0, 32);
  return `${stem.slice(0, MAX_FILE_STEM - 33)}-${digest}`;
}

function encoded(id: string): string {
  try {
    if (id !== '') return encodeURIComponent(id);
  } catch {
    // half of a surrogate pair
  }
  throw new RecoveryError('INPUT_INVALID', 'the id of a report is not valid text', { field: 'id' });
}

/** A reader sees the old file or the whole new one. A link in the place of the file is replaced, not followed. */
async function writeAtomically(root: string, name: string, text: string): Promise<string> {
  const path = join(root, name);
  if (dirname(path) !== root) throw new RecoveryError('INTERNAL', 'a report would be outside its folder');
  const temporary = join(root, `.${randomUUID()}.tmp`);
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
