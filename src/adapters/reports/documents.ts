import { createHash } from 'node:crypto';
import { RecoveryError } from '../../domain/errors.js';
import { reportToHtml } from '../../domain/render-html.js';
import { reportToMarkdown } from '../../domain/render-report.js';
import { reportSchema } from '../../domain/report-schema.js';
import type { Report } from '../../domain/report.js';

/** A file name has 255 bytes; the suffixes need some. */
const MAX_STEM = 200;

/** A file of a report store, named from its root. */
export interface StoredDocument {
  name: string;
  contentType: string;
  text: string;
}

/** Where documents are kept: a folder or a bucket. Throws REPORTS_UNAVAILABLE and what the place adds to that. */
export interface Documents {
  /** Returns the address. A reader sees the old document or the whole new one. */
  put: (document: StoredDocument, timeoutMs: number) => Promise<string>;
  /** Null where there is none. */
  get: (name: string) => Promise<string | null>;
  /** Names that begin with `prefix` and end with `suffix`, in the order of their characters. */
  list: (prefix: string, suffix: string) => Promise<string[]>;
}

/** For programs, for a browser and, written last, for a terminal: who finds the last finds all. */
export function documentsOf(id: string, report: Report, plan: string | null): StoredDocument[] {
  const stem = stemOf(id);
  return [
    { name: `${stem}.json`, contentType: 'application/json', text: `${JSON.stringify(report, null, 2)}\n` },
    { name: `${stem}.html`, contentType: 'text/html; charset=utf-8', text: reportToHtml(report, plan) },
    { name: `${stem}.md`, contentType: 'text/markdown; charset=utf-8', text: reportToMarkdown(report) },
  ];
}

export function reportName(id: string): string {
  return `${stemOf(id)}.json`;
}

/** The plan as `ch-recover plan` prints it, by its hash. Throws INTERNAL where that is none. */
export function planDocument(hash: string, text: string): StoredDocument {
  return { name: planName(hash), contentType: 'text/plain; charset=utf-8', text };
}

export function planName(hash: string): string {
  if (!/^[0-9a-f]{64}$/.test(hash)) throw new RecoveryError('INTERNAL', 'not the hash of a plan');
  return `plans/${hash}.sql`;
}

/** A stored report, or null where the text is that of another id. Throws REPORTS_UNAVAILABLE where it is none. */
export function parseReport(id: string, text: string): Report | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged(id);
  }
  const parsed = reportSchema.safeParse(value);
  if (!parsed.success) throw damaged(id);
  return parsed.data.recoveryId === id ? parsed.data : null;
}

const damaged = (id: string) =>
  new RecoveryError('REPORTS_UNAVAILABLE', `the stored report of ${id.slice(0, 300)} is damaged`);

/** Workflow ids have slashes and what people type; two ids never share a file. */
export function stemOf(id: string): string {
  // encodeURIComponent leaves dots and the star, so `..` and hidden files must be taken care of.
  const stem = encoded(id).replace(/^\./, '%2E').replaceAll('*', '%2A');
  if (stem.length <= MAX_STEM) return stem;
  const digest = createHash('sha256').update(id).digest('hex').slice(0, 32);
  return `${stem.slice(0, MAX_STEM - 33)}-${digest}`;
}

function encoded(id: string): string {
  try {
    if (id !== '') return encodeURIComponent(id);
  } catch {
    // half of a surrogate pair
  }
  throw new RecoveryError('INPUT_INVALID', 'the id of a report is not valid text', { field: 'id' });
}
