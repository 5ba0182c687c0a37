import { cell } from './render-progress.js';
import type { Report, StageReport } from './report.js';

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

/** The report for people: how it ended first, then the evidence. */
export function reportToMarkdown(report: Report): string {
  const recovered = report.tables.filter((each) => each.outcome === 'recovered');
  const facts = [
    `- plan \`${report.plan.hash}\`${report.plan.approvedBy === '' ? '' : `, ${cell(report.plan.approvedBy)}`}`,
    `- RTO ${report.rtoSeconds} s (${report.startedAt} to ${report.finishedAt})`,
    report.rpo
      ? `- RPO: restored from ${cell(report.rpo.restoredFrom)}, ${report.rpo.ageSeconds} s old when the recovery began`
      : '',
    `- fence: ${report.fence}`,
    report.incident === undefined ? '' : `- incident: ${cell(report.incident)}`,
    `- situations: ${
      Object.entries(report.situations)
        .map(([name, count]) => `${count} ${name}`)
        .join(', ') || 'none'
    }`,
  ];
  const problem = report.problem
    ? `**${report.problem.code}**: ${cell(report.problem.message)}\n\nHINT: ${cell(report.problem.hint)}`
    : '';
  const worked = report.tables.filter((each) => each.outcome !== 'unchanged');
  const sections = [
    `# ${cell(report.cluster)}: ${report.outcome}`,
    problem,
    facts.filter((line) => line !== '').join('\n'),
    '## Stages\n\n' +
      table(
        ['stage', 'took', 'outcome'],
        report.stages.map((stage) => [stage.name, seconds(stage), stage.outcome]),
      ),
    worked.length === 0
      ? ''
      : `## Tables: ${recovered.length} recovered, ${report.tables.length - worked.length} unchanged\n\n` +
        table(
          [
            'table',
            'shard/replica',
            'situation',
            'action',
            'outcome',
            'rows expected',
            'rows found',
            'parts expected',
            'parts found',
            'evidence',
          ],
          worked.map((each) => [
            cell(`${each.database}.${each.table}`),
            cell(`${each.shard}/${each.replica}`),
            each.situation,
            each.action,
            each.outcome + (each.problem ? ` ${each.problem.code}` : ''),
            dash(each.rowsExpected),
            dash(each.rowsFound),
            dash(each.partsExpected),
            dash(each.partsFound),
            each.evidence,
          ]),
        ),
    list(
      'Not recovered',
      report.unrecovered.map(
        (each) => `${cell(`${each.database}.${each.table}`)} on shard ${cell(each.shard)}: ${cell(each.reason)}`,
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
