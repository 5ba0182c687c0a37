/** The table in README, made of bench/results.json and of nothing else. Pure. */
import { missed, number, type Machine, type Results, type Row } from './model.js';

export const BEGIN = '<!-- bench:begin (made by npm run bench) -->';
export const END = '<!-- bench:end -->';

/** Null where the text has no place for it. */
export function spliced(text: string, section: string): string | null {
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < from) return null;
  return `${text.slice(0, from + BEGIN.length)}\n\n${section.trim()}\n\n${text.slice(to)}`;
}

/** What stands between the marks. */
export function sectionOf(text: string): string | null {
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  return from < 0 || to < from ? null : text.slice(from + BEGIN.length, to).trim();
}

const side = (value: number | null, unit: Row['unit'] = 's') =>
  value === null ? 'failed' : `${number(value)} ${unit}`;

export function ratioText({ ours, other }: Pick<Row, 'ours' | 'other'>): string {
  return ours === null || other === null || other === 0 ? '–' : (ours / other).toFixed(2);
}

const verdictText = ({ verdict }: Row) => (verdict === 'missed' ? '**missed**' : verdict);
const escaped = (text: string) => text.replace(/\|/g, '\\|').replace(/\s+/g, ' ').trim();

function line(cells: string[]): string {
  return `| ${cells.map(escaped).join(' | ')} |`;
}

function machineText({ cpu, cores, memoryGb, os, node }: Machine): string {
  return `${cores} cores (${cpu}), ${memoryGb} GB, ${os}, Node ${node}`;
}

/** One line for each comparison, then the machines, then what missed its target. */
export function toMarkdown(results: Results): string {
  const cases = Object.entries(results.cases);
  if (cases.length === 0) return 'Not measured yet.';
  const rows = cases.flatMap(([, { rows }]) => rows);
  const machines = new Set(cases.map(([, { machine }]) => machineText(machine)));
  const days = cases.map(([, { at }]) => at.slice(0, 10)).sort();
  const period = days[0] === days.at(-1) ? days[0] : `${days[0]} to ${days.at(-1)}`;
  const loads = rows.map(({ load }) => load);
  const failures = missed(results);
  return [
    line(['what', 'this', 'against', 'it', 'ratio', 'target', '']),
    line(Array.from({ length: 7 }, () => '---')),
    ...rows.map((row) =>
      line([
        row.what,
        side(row.ours, row.unit),
        row.against,
        row.against === '–' ? '' : side(row.other, row.unit),
        ratioText(row),
        row.target,
        verdictText(row),
      ]),
    ),
    '',
    `Measured ${period} on ${[...machines].join('; ')}; everything runs there, so compare ratios, not times. Of each side the`,
    `better of its rounds. One-minute load ${number(Math.min(...loads))} to ${number(Math.max(...loads))}.`,
    ...(failures.length === 0
      ? []
      : [
          '',
          'Missed:',
          '',
          ...failures.map((row) => `- ${escaped(`${row.what}, against ${row.against}: ${why(row)}`)}`),
        ]),
  ].join('\n');
}

function why(row: Row): string {
  if (row.failure !== undefined) return row.failure;
  const figure = row.other === null ? side(row.ours, row.unit) : `${ratioText(row)} ×, ${side(row.ours, row.unit)}`;
  return `${figure} where the target is ${row.target}`;
}
