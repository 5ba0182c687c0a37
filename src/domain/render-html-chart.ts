import type { Report, StageName, TableReport } from './report.js';
import { count, duration, html } from './render-html-text.js';

/** Tables in the chart; the list of tables has them all. */
const MAX_TABLES = 40;
/** A bar that is thinner cannot be seen. Percent. */
const MIN_WIDTH = 0.5;

/** Seconds after the recovery's start. */
interface Bar {
  stage: StageName;
  from: number;
  to: number;
}

interface Row {
  label: string;
  bars: Bar[];
  note: string;
}

/** When which stage and table was worked on; '' where nothing was. Every bar is also there as text. */
export function timeline(report: Report): string {
  const stages = stageRows(report);
  const bars = stages.flatMap((row) => row.bars);
  if (bars.length === 0) return '';
  const worked = report.tables.filter(({ timeline = [] }) => timeline.length > 0);
  const shown = [...worked].sort(byInterest).slice(0, MAX_TABLES).sort(byStart);
  const tables = shown.map(tableRow);
  const all = [...bars, ...tables.flatMap((row) => row.bars)];
  const axis = { from: Math.min(...all.map((bar) => bar.from)), to: Math.max(...all.map((bar) => bar.to)) };
  const step = tickStep(axis.to - axis.from);
  const row = (each: Row) =>
    `<tr><th scope="row">${each.label}</th><td>${track(each.bars, axis, step)}</td><td>${each.note}</td></tr>`;
  const used = new Set(all.map(({ stage }) => stage));
  return [
    '<section><h2>Timeline</h2>',
    `<p class="legend">${[...used].map((name) => `<span><svg class="key" aria-hidden="true"><rect class="${name}" width="100%" height="100%"/></svg>${name}</span>`).join(' ')}</p>`,
    `<table class="chart"><thead><tr><th scope="col">stage</th><td aria-hidden="true">${scale(axis, step)}</td><th scope="col">took</th></tr></thead>`,
    `<tbody>\n${stages.map(row).join('\n')}\n</tbody>`,
    tables.length === 0
      ? ''
      : `<tbody><tr class="group"><th colspan="3" scope="colgroup">${groupTitle(shown.length, worked.length)}</th></tr>\n${tables.map(row).join('\n')}\n</tbody>`,
    '</table>',
    axis.from >= 1
      ? `<p class="note">The stages began ${duration(axis.from)} after the start: inspection, plan and approval came first.</p>`
      : '',
    '</section>',
  ].join('\n');
}

function groupTitle(shown: number, all: number): string {
  if (shown === all) return 'tables';
  return `the ${count(shown)} of ${count(all)} tables that failed or took longest`;
}

function stageRows(report: Report): Row[] {
  const seconds = (iso: string) => (Date.parse(iso) - Date.parse(report.startedAt)) / 1000;
  return report.stages.map(({ name, startedAt, finishedAt, outcome }) => {
    if (startedAt === null) return { label: html(name), bars: [], note: html(outcome) };
    const from = seconds(startedAt);
    const to = finishedAt === null ? seconds(report.finishedAt) : seconds(finishedAt);
    const note = finishedAt === null ? 'did not end' : duration(to - from);
    return {
      label: html(name),
      bars: [{ stage: name, from, to }],
      note: `${note}${outcome === 'failed' ? ' ✖ failed' : ''}`,
    };
  });
}

function tableRow(each: TableReport): Row {
  const bars = (each.timeline ?? []).map(([stage, from, to]) => ({ stage, from, to }));
  const failed = each.outcome === 'failed' ? ' ✖ failed' : '';
  return {
    label: `${html(`${each.database}.${each.table}`)} <small>${html(`${each.shard}/${each.replica}`)}</small>`,
    bars,
    note: `${duration(worktime(each))}${failed}`,
  };
}

const worktime = ({ timeline = [] }: TableReport) => timeline.reduce((sum, [, from, to]) => sum + to - from, 0);
const startOf = ({ timeline = [] }: TableReport) => timeline[0]?.[1] ?? 0;

function byInterest(a: TableReport, b: TableReport): number {
  const failed = (each: TableReport) => Number(each.outcome === 'failed');
  return failed(b) - failed(a) || worktime(b) - worktime(a);
}

const byStart = (a: TableReport, b: TableReport) => startOf(a) - startOf(b);

interface Axis {
  from: number;
  to: number;
}

const percent = (at: number, { from, to }: Axis) => (to === from ? 0 : ((at - from) / (to - from)) * 100);
const short = (value: number) => String(Math.round(value * 100) / 100);

function track(bars: readonly Bar[], axis: Axis, step: number): string {
  const rects = bars.map(({ stage, from, to }) => {
    const width = Math.max(percent(to, axis) - percent(from, axis), MIN_WIDTH);
    const x = Math.min(percent(from, axis), 100 - width);
    return `<rect class="${stage}" x="${short(x)}%" width="${short(width)}%" height="100%"><title>${stage}: ${duration(from)} to ${duration(to)}</title></rect>`;
  });
  const text = bars.map(({ stage, from, to }) => `${stage} from ${duration(from)} to ${duration(to)}`).join(', ');
  const label = bars.length === 0 ? 'aria-hidden="true"' : `role="img" aria-label="${text}"`;
  return `<svg class="track" ${label}>${gridLines(axis, step)}${rects.join('')}</svg>`;
}

/** Five at most, so that their labels fit on a phone. */
function tickStep(span: number): number {
  const nice = [
    0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400,
  ];
  return nice.find((step) => span / step <= 4.5) ?? Math.ceil(span / 4 / 86_400) * 86_400;
}

function ticks({ from, to }: Axis, step: number): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => i * step).filter((at) => at <= to - from);
}

function gridLines(axis: Axis, step: number): string {
  return ticks(axis, step)
    .slice(1)
    .map((at) => short(percent(axis.from + at, axis)))
    .map((x) => `<line x1="${x}%" x2="${x}%" y2="100%"/>`)
    .join('');
}

function scale(axis: Axis, step: number): string {
  const labels = ticks(axis, step).map((at) => {
    const x = percent(axis.from + at, axis);
    const anchor = x < 5 ? 'start' : x > 92 ? 'end' : 'middle';
    return `<text x="${short(x)}%" y="12" text-anchor="${anchor}">${at === 0 ? '0' : duration(at)}</text>`;
  });
  return `<svg class="scale">${labels.join('')}</svg>`;
}
