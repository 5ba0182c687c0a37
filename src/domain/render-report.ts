import type { Problem } from './errors.js';
import { rpoVerdict, rtoVerdict, type Verdict } from './objectives.js';
import { printable } from './render-plan.js';
import { cell as markdownCell } from './render-progress.js';
import { tableCount, type Report, type StageReport, type TableReport } from './report.js';

/** Text from the cluster: neither Markdown nor the terminal that shows it may obey it. */
const cell = (text: string) => markdownCell(printable(text.replace(/\s+/g, ' ')));

const dash = (value: number | null) => (value === null ? '–' : value.toLocaleString('en-US'));

function seconds(stage: StageReport): string {
  if (stage.startedAt === null || stage.finishedAt === null) return '–';
  return `${((Date.parse(stage.finishedAt) - Date.parse(stage.startedAt)) / 1000).toFixed(1)} s`;
}

function table(head: string[], rows: string[][]): string {
  return [
    `| ${head.join(' | ')} |`,
    `|${head.map(() => '---').join('|')}|`,
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n');
}

function list(title: string, lines: string[]): string {
  return lines.length === 0 ? '' : `## ${title}\n\n${lines.map((line) => `- ${line}`).join('\n')}`;
}

function problemText(problem: Problem): string {
  return `**${problem.code}**: ${cell(problem.message)}\n\nHINT: ${cell(problem.hint)}`;
}

function objective(verdict: Verdict | null): string {
  return verdict ? `, objective ${verdict.wanted} s: **${verdict.met ? 'met' : 'missed'}**` : '';
}

function facts(report: Report): string {
  const { backup, rpo, incident, plan } = report;
  const situations = Object.entries(report.situations).map(([name, count]) => `${count} ${name}`);
  return [
    `- RTO ${report.rtoSeconds} s (${report.startedAt} to ${report.finishedAt})${objective(rtoVerdict(report))}`,
    rpo
      ? `- RPO: restored from ${cell(rpo.restoredFrom)}, ${rpo.ageSeconds} s old when the recovery began${objective(rpoVerdict(report))}`
      : '- RPO: no data came from a backup',
    backup
      ? `- backup: ${cell(`${backup.repository}/${backup.name}`)}${backup.takenAt === '' ? '' : `, taken ${backup.takenAt}`}`
      : '',
    `- fence: ${report.fence}`,
    plan.hash === ''
      ? '- no plan was made'
      : `- plan \`${plan.hash}\`${plan.approvedBy === '' ? '' : `, ${cell(plan.approvedBy)}`}`,
    incident === undefined ? '' : `- incident: ${cell(incident)}`,
    `- situations: ${situations.join(', ') || 'none'}`,
    `- recovery id: ${cell(report.recoveryId)}`,
  ]
    .filter((line) => line !== '')
    .join('\n');
}

function stages(report: Report): string {
  const rows = report.stages.map((stage) => [stage.name, seconds(stage), stage.outcome]);
  return `## Stages\n\n${table(['stage', 'took', 'outcome'], rows)}`;
}

const TABLE_HEAD = [
  'table',
  'shard/replica',
  'situation',
  'action',
  'outcome',
  'rows expected',
  'rows found',
  'parts expected',
  'parts found',
  'left in detached/',
  'evidence',
];

function tables(report: Report): string {
  const worked = report.tables.filter((each) => each.outcome !== 'unchanged');
  if (worked.length === 0 && !report.omittedTables) return '';
  const count = (outcome: TableReport['outcome']) => tableCount(report, outcome);
  const bad = (['failed', 'skipped'] as const).filter((outcome) => count(outcome) > 0);
  const title = [
    `${count('recovered')} recovered`,
    ...bad.map((outcome) => `${count(outcome)} ${outcome}`),
    `${count('unchanged')} unchanged`,
  ].join(', ');
  const rest = report.omittedTables ? ['The other tables are in the stored report.'] : [];
  return [
    `## Tables: ${title}`,
    ...rest,
    ...(worked.length === 0 ? [] : [table(TABLE_HEAD, worked.map(tableRow))]),
  ].join('\n\n');
}

function tableRow(each: TableReport): string[] {
  return [
    cell(`${each.database}.${each.table}`),
    cell(`${each.shard}/${each.replica}`),
    each.situation,
    each.action,
    each.outcome + (each.problem ? ` ${each.problem.code}` : ''),
    dash(each.rowsExpected),
    dash(each.rowsFound),
    dash(each.partsExpected),
    dash(each.partsFound),
    each.detachedLeft === 0 ? '' : dash(each.detachedLeft),
    each.evidence,
  ];
}

/** What went wrong, table by table, with what to do about it. */
function problems(report: Report): string {
  return list(
    'Problems',
    report.tables.flatMap(({ problem, ...each }) =>
      problem
        ? [
            `${cell(`${each.database}.${each.table} @ ${each.shard}/${each.replica}`)}: **${problem.code}** ${cell(problem.message)}` +
              (problem.objects?.length ? ` (${problem.objects.map(cell).join(', ')})` : '') +
              ` — HINT: ${cell(problem.hint)}`,
          ]
        : [],
    ),
  );
}

/** The report for people: how it ended first, then the evidence. */
export function reportToMarkdown(report: Report): string {
  const sections = [
    `# ${cell(report.cluster)}: ${report.outcome}`,
    report.problem ? problemText(report.problem) : '',
    facts(report),
    stages(report),
    tables(report),
    problems(report),
    list(
      'Not recovered',
      report.unrecovered.map(
        (each) => `${cell(`${each.database}.${each.table}`)} on shard ${cell(each.shard)}: ${cell(each.reason)}`,
      ),
    ),
    list(
      'Left out',
      (report.leftOut ?? []).map(
        (each) => `${cell(`${each.database}.${each.table}`)} on shard ${cell(each.shard)}: ${cell(each.why)}`,
      ),
    ),
    list(
      'Other state that lived in ZooKeeper',
      report.keeperState.map((line) => `${cell(line.what)}: **${line.verdict}** — ${cell(line.detail)}`),
    ),
    list('Warnings', report.warnings.map(cell)),
  ];
  return sections.filter((section) => section !== '').join('\n\n') + '\n';
}
