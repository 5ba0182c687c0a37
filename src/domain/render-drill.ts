import type { DrillReport, LackingTable } from './drill.js';
import { duration } from './drill-history.js';
import { printable } from './render-plan.js';
import { cell as markdownCell } from './render-progress.js';

/** Text from the cluster: neither Markdown nor the terminal that shows it may obey it. */
const cell = (text: string) => markdownCell(printable(text.replace(/\s+/g, ' ')));

/** The report of a drill for people: how it ended first. */
export function drillToMarkdown(report: DrillReport): string {
  const { backup, objectives, rpo, restored, missing } = report;
  const against = (seconds: number | undefined) => (seconds === undefined ? '' : `, objective ${duration(seconds)}`);
  const sections = [
    `# Drill of ${cell(report.cluster)}: ${report.outcome}`,
    ...report.problems.map((each) => `**${each.code}**: ${cell(each.message)}\n\nHINT: ${cell(each.hint)}`),
    [
      `- RTO: ${duration(report.rtoSeconds)}${against(objectives?.rtoSeconds)}`,
      rpo
        ? `- RPO: ${duration(rpo.seconds)} (${rpo.basis}${rpo.newestRow === null ? '' : ` ${rpo.newestRow}`}; the backup was ${duration(rpo.backupAgeSeconds)} old)${against(objectives?.rpoSeconds)}`
        : '- RPO: not known',
      backup
        ? `- backup: ${cell(`${backup.repository}/${backup.name}`)}, taken ${backup.takenAt || 'nobody knows when'}`
        : '',
      `- restored into ${cell(report.target)}: ${restored.tables} tables, ${restored.rows.toLocaleString('en-US')} rows`,
      report.lost ? `- lost: ${report.lost.rows.toLocaleString('en-US')} rows` : '',
      `- missing since the backup: ${missing.rows.toLocaleString('en-US')} rows`,
      `- target ${report.cleanedUp === null ? 'was not touched' : report.cleanedUp ? 'cleaned up' : '**NOT CLEANED UP**'}`,
      `- ${report.startedAt} to ${report.finishedAt}, drill ${cell(report.drillId)}`,
    ]
      .filter((line) => line !== '')
      .join('\n'),
    table(
      ['stage', 'took'],
      report.stages.map(({ name, seconds }) => [name, duration(seconds)]),
    ),
    table(['lost', 'shard', 'rows', 'why'], (report.lost?.tables ?? []).map(lackingRow)),
    table(['since the backup', 'shard', 'rows', 'why'], missing.tables.map(lackingRow)),
    table(
      ['not counted', 'shard', 'why'],
      (report.uncounted ?? []).map((each) => [cell(`${each.database}.${each.table}`), cell(each.shard), each.why]),
    ),
    table(
      ['left out', 'shard', 'why'],
      (report.leftOut ?? []).map((each) => [cell(`${each.database}.${each.table}`), cell(each.shard), cell(each.why)]),
    ),
    report.warnings.map((warning) => `- warning: ${cell(warning)}`).join('\n'),
  ];
  return `${sections.filter((section) => section !== '').join('\n\n')}\n`;
}

function lackingRow({ database, table: name, shard, rows, why }: LackingTable): string[] {
  return [cell(`${database}.${name}`), cell(shard), rows === null ? '–' : rows.toLocaleString('en-US'), why];
}

function table(head: string[], rows: string[][]): string {
  if (rows.length === 0) return '';
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}
