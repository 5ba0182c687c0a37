import type { Problem } from './errors.js';
import type { KeeperStateLine } from './inventory.js';
import { rpoVerdict, rtoVerdict, type Verdict } from './objectives.js';
import { timeline } from './render-html-chart.js';
import { STYLE } from './render-html-style.js';
import { count, duration, html, htmlBlock, moment, table } from './render-html-text.js';
import { tableCount, type Outcome, type Report, type TableReport } from './report.js';

/** Characters of the plan that are shown: the SQL of thousands of tables would not open on a phone. */
const MAX_PLAN = 400_000;

type Tone = 'good' | 'warn' | 'bad' | '';

const OUTCOME: Record<Outcome, { mark: string; tone: Tone }> = {
  succeeded: { mark: '✔', tone: 'good' },
  'nothing-to-do': { mark: '✔', tone: 'good' },
  'needs-operator': { mark: '!', tone: 'warn' },
  failed: { mark: '✖', tone: 'bad' },
  aborted: { mark: '✖', tone: 'bad' },
};

const TABLE: Record<TableReport['outcome'], { mark: string; tone: Tone }> = {
  recovered: { mark: '✔', tone: 'good' },
  unchanged: { mark: '=', tone: '' },
  skipped: { mark: '–', tone: 'warn' },
  failed: { mark: '✖', tone: 'bad' },
};

const VERDICT: Record<KeeperStateLine['verdict'], Tone> = {
  restored: 'good',
  rebuilt: 'good',
  replayed: 'good',
  'not-affected': '',
  unrecoverable: 'warn',
};

/**
 * The report as one file that needs nothing else: no script, no font, no image. `plan`: the text of `planToText`, where
 * somebody has it still. Names come from the cluster: nothing goes in that is not escaped, and should that fail, the
 * page forbids itself every script and every request.
 */
export function reportToHtml(report: Report, plan: string | null = null): string {
  const title = `${report.cluster}: ${report.outcome}`;
  const sections = [
    header(report),
    report.problem ? problemBox(report.problem) : '',
    cards(report),
    facts(report),
    unrecovered(report),
    warnings(report),
    timeline(report),
    tables(report),
    problems(report),
    keeperState(report),
    planSection(report, plan),
    `<footer>temporal-clickhouse-recovery, report of ${html(report.recoveryId)}, schema ${count(report.schemaVersion)}</footer>`,
  ];
  return [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    '<meta name="referrer" content="no-referrer">',
    `<title>${html(title)}</title>`,
    `<style>${STYLE}</style>`,
    '</head>',
    '<body>',
    '<main>',
    ...sections.filter((section) => section !== ''),
    '</main>',
    '</body>',
    '</html>',
    '',
  ].join('\n');
}

const badge = (text: string, tone: Tone, mark = '') =>
  `<span class="badge${tone === '' ? '' : ` ${tone}`}">${mark === '' ? '' : `${mark} `}${html(text)}</span>`;

const section = (title: string, ...body: string[]) => `<section><h2>${title}</h2>\n${body.join('\n')}\n</section>`;

const nameOf = (each: { database: string; table: string }) => html(`${each.database}.${each.table}`);

function header({ cluster, outcome, incident }: Report): string {
  const { mark, tone } = OUTCOME[outcome];
  const what = incident === undefined ? 'Recovery report' : `Recovery report, incident ${html(incident)}`;
  return `<header><p class="over">${what}</p><h1>${html(cluster)} ${badge(outcome, tone, mark)}</h1></header>`;
}

function problemBox({ code, message, hint }: Problem): string {
  return `<div class="box bad"><p><strong>${html(code)}</strong>: ${html(message)}</p><p>What to do: ${html(hint)}</p></div>`;
}

function cards(report: Report): string {
  const { rpo, fence, rtoSeconds } = report;
  const of = (outcome: TableReport['outcome']) => tableCount(report, outcome);
  const bad = (['failed', 'skipped'] as const).filter((outcome) => of(outcome) > 0);
  const all = [
    card('RTO', duration(rtoSeconds), [objective(rtoVerdict(report)), 'from start to end']),
    rpo
      ? card('RPO', duration(rpo.ageSeconds), [objective(rpoVerdict(report)), 'age of the backup'])
      : card('RPO', '–', [objectiveWanted(report.objectives?.rpoSeconds), 'no data came from a backup']),
    card('Tables', `${count(of('recovered'))} recovered`, [
      ...bad.map((outcome) => `<span class="bad">✖ ${count(of(outcome))} ${outcome}</span>`),
      `${count(of('unchanged'))} unchanged`,
    ]),
    card('Fence', html(fence.replace('-', ' ')), [
      fence === 'held' ? '<span class="warn">! writes are still held back</span>' : '',
    ]),
  ];
  return `<dl class="cards">\n${all.join('\n')}\n</dl>`;
}

function card(name: string, value: string, notes: readonly string[]): string {
  const lines = notes.filter((note) => note !== '').map((note) => `<dd><small>${note}</small></dd>`);
  return `<div><dt>${name}</dt><dd>${value}</dd>${lines.join('')}</div>`;
}

function objective(verdict: Verdict | null): string {
  if (!verdict) return '';
  const { met, recovered, wanted } = verdict;
  const how = met ? '✔ meets the objective of' : recovered ? '✖ misses the objective of' : '✖ not recovered, objective';
  return `<span class="${met ? 'good' : 'bad'}">${how} ${duration(wanted)}</span>`;
}

const objectiveWanted = (seconds: number | undefined) =>
  seconds === undefined ? '' : `objective ${duration(seconds)}`;

function facts(report: Report): string {
  const { backup, plan } = report;
  const situations = Object.entries(report.situations).map(([name, number]) => `${count(number)} ${html(name)}`);
  const taken = backup === undefined || backup.takenAt === '' ? '' : `, taken ${moment(backup.takenAt)}`;
  const lines: [string, string][] = [
    ['Recovery', `<code>${html(report.recoveryId)}</code>`],
    ['From, to', `${moment(report.startedAt)} to ${moment(report.finishedAt)}`],
    ...(backup ? [['Backup', `${html(`${backup.repository}/${backup.name}`)}${taken}`] as [string, string]] : []),
    ['Found', situations.join(', ') || 'nothing'],
    ['Plan', plan.hash === '' ? 'none was made' : `<code>${html(plan.hash)}</code>`],
    ...(plan.approvedBy === '' ? [] : [['Approval', html(plan.approvedBy)] as [string, string]]),
  ];
  return `<dl class="facts">\n${lines.map(([name, value]) => `<dt>${name}</dt><dd>${value}</dd>`).join('\n')}\n</dl>`;
}

function unrecovered({ unrecovered: lost }: Report): string {
  if (lost.length === 0) return '';
  const rows = lost.map((each) => [nameOf(each), html(each.shard), html(each.reason)]);
  return section(`Not recovered: ${count(lost.length)}`, table(['table', 'shard', 'why'], rows));
}

function warnings(report: Report): string {
  if (report.warnings.length === 0) return '';
  return section(
    'Warnings',
    `<ul>\n${report.warnings.map((warning) => `<li>${html(warning)}</li>`).join('\n')}\n</ul>`,
  );
}

const TABLE_HEAD = [
  'table',
  'situation → action',
  'outcome',
  'rows found / expected',
  'parts found / expected',
  'evidence',
];

function tables(report: Report): string {
  if (report.tables.length === 0) return '';
  // What a person has to look at comes first.
  const worked = (['failed', 'skipped', 'recovered'] as const).flatMap((outcome) =>
    report.tables.filter((each) => each.outcome === outcome),
  );
  const unchanged = report.tables.filter(({ outcome }) => outcome === 'unchanged');
  return section(
    'Tables',
    report.omittedTables ? '<p>The other tables are in the stored report.</p>' : '',
    worked.length === 0 ? '<p>None needed work.</p>' : table(TABLE_HEAD, worked.map(tableRow), 'tables'),
    unchanged.length === 0
      ? ''
      : `<details><summary>${count(unchanged.length)} unchanged</summary>\n${table(TABLE_HEAD, unchanged.map(tableRow), 'tables')}\n</details>`,
  );
}

function tableRow(each: TableReport): string[] {
  const { mark, tone } = TABLE[each.outcome];
  const code = each.problem ? ` ${html(each.problem.code)}` : '';
  const detached = each.detachedLeft > 0 ? ` <small>+${count(each.detachedLeft)} in detached/</small>` : '';
  return [
    `${nameOf(each)} <small>${html(`${each.shard}/${each.replica}`)}</small>`,
    each.action === 'none' ? html(each.situation) : `${html(each.situation)} → ${html(each.action)}`,
    `<span class="${tone}">${mark} ${html(each.outcome)}</span>${code}`,
    rows(each),
    foundOf(each.partsFound, each.partsExpected) + detached,
    html(each.evidence),
  ];
}

/** Rows must be equal. Parts may have been merged meanwhile: their number alone says nothing. */
function rows({ rowsFound, rowsExpected }: TableReport): string {
  const differ = rowsFound !== null && rowsExpected !== null && rowsFound !== rowsExpected;
  const text = foundOf(rowsFound, rowsExpected);
  return differ ? `<span class="bad">✖ ${text}</span>` : text;
}

function foundOf(found: number | null, expected: number | null): string {
  return found === null && expected === null ? '–' : `${count(found)} / ${count(expected)}`;
}

function problems(report: Report): string {
  const found = report.tables.flatMap(({ problem, ...each }) => (problem ? [{ ...each, problem }] : []));
  if (found.length === 0) return '';
  const items = found.map(({ problem: { code, message, hint, objects }, ...each }) => {
    const about = objects?.length ? ` (${objects.map(html).join(', ')})` : '';
    return `<li>${nameOf(each)} <small>${html(`${each.shard}/${each.replica}`)}</small>: <strong>${html(code)}</strong> ${html(message)}${about}<br>What to do: ${html(hint)}</li>`;
  });
  return section('Problems', `<ul>\n${items.join('\n')}\n</ul>`);
}

function keeperState(report: Report): string {
  if (report.keeperState.length === 0) return '';
  const rows = report.keeperState.map(({ what, verdict, detail }) => [
    html(what),
    badge(verdict, VERDICT[verdict] ?? ''),
    html(detail),
  ]);
  return section('Other state that lived in ZooKeeper', table(['what', 'verdict', 'detail'], rows));
}

function planSection({ plan }: Report, text: string | null): string {
  if (plan.hash === '') return '';
  if (text === null)
    return section(
      'The plan',
      `<p>Its SQL is not in this file: the report store has no plan <code>${html(plan.hash)}</code>.</p>`,
    );
  const cut =
    text.length > MAX_PLAN
      ? `<p>The first ${count(MAX_PLAN)} of ${count(text.length)} characters; all of it is in the report store, <code>plans/${html(plan.hash)}.sql</code>.</p>`
      : '';
  return section(
    'The plan',
    `<details><summary>What is wrong, what is done, and the exact SQL</summary>\n${cut}<pre>${htmlBlock(text.slice(0, MAX_PLAN))}</pre>\n</details>`,
  );
}
