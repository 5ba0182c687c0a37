import { printable, printableBlock } from './render-plan.js';

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
};

const escaped = (text: string) => text.replace(/[&<>"'`]/g, (char) => ENTITIES[char] ?? '');

/** One line of text from the cluster, safe between tags and in a quoted attribute; what hides or turns text is shown. */
export function html(text: string): string {
  return escaped(printable(text));
}

/** Several lines, for `<pre>`. */
export function htmlBlock(text: string): string {
  return escaped(printableBlock(text));
}

/** `1,234`; a dash where nothing was counted. */
export function count(value: number | null): string {
  return value === null ? '–' : Number(value).toLocaleString('en-US');
}

/** `0.4 s`, `48 s`, `12 min 3 s`, `3 h 2 min`, `2 d 4 h`. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds * 10) / 10} s`;
  const whole = Math.round(seconds);
  const units = [
    [86_400, 'd', 3_600, 'h'],
    [3_600, 'h', 60, 'min'],
    [60, 'min', 1, 's'],
  ] as const;
  const [large, largeName, small, smallName] = units.find(([size]) => whole >= size) ?? units[2];
  const rest = Math.floor((whole % large) / small);
  return `${Math.floor(whole / large)} ${largeName}${rest === 0 ? '' : ` ${rest} ${smallName}`}`;
}

/** `2026-11-24 10:00:00 UTC`. */
export function moment(iso: string): string {
  return html(iso.replace(/^(\S+)T(\d\d:\d\d:\d\d).*$/, '$1 $2 UTC'));
}

/** A table; `head` is text, `rows` are cells of HTML, of which the first names the row. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], className = ''): string {
  const cells = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? `<th scope="row">${cell}</th>` : `<td>${cell}</td>`)).join('');
  return `<table${className === '' ? '' : ` class="${className}"`}><thead><tr>${head
    .map((each) => `<th scope="col">${each}</th>`)
    .join('')}</tr></thead><tbody>\n${rows.map((row) => `<tr>${cells(row)}</tr>`).join('\n')}\n</tbody></table>`;
}
