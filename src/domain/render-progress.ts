import { totalsOf, type Progress, type UnitProgress } from './messages.js';

/** Rows in the live table: more would make the details too large for the UI. */
const MAX_ROWS = 60;

/** The UI's tables have no space between their columns, and break at every other space. */
const NBSP = '\u00a0';
const GAP = NBSP + NBSP;

const MARK: Record<UnitProgress['state'], string> = {
  waiting: '·',
  'restore-data': '▶ restore data',
  'verify-parts': '▶ verify parts',
  'restore-replica': '▶ restore replica',
  validate: '▶ validate',
  done: '✔ done',
  failed: '✖ failed',
  skipped: '– skipped',
};

/** Names may hold anything: keep them from breaking out of a Markdown table cell. */
export function cell(text: string): string {
  return text.replace(/[\\|`*_<>[\]]/g, (char) => `\\${char}`).replace(/\s+/g, ' ');
}

function next(progress: Progress): string {
  if (progress.phase === 'waiting-for-approval')
    return `**Waiting for approval.** Read the plan (query \`plan\`), then send the update \`approve\` with \`{"planHash":"${progress.planHash ?? ''}","by":"you"}\`.`;
  if (progress.phase === 'waiting-for-resolve')
    return '**Some tables failed.** Send the signal `resolve` with `{"action":"retry"}`, `{"action":"skip"}` or `{"action":"abort"}`.';
  if (progress.paused) return '**Paused.** Send the signal `resume` to go on.';
  return '';
}

/** The live table of the Temporal UI. */
export function progressToMarkdown(progress: Progress): string {
  const { units } = progress;
  const totals = totalsOf(progress);
  const active = units.filter((unit) => unit.state !== 'waiting' && unit.state !== 'done');
  const others = units.filter((unit) => unit.state === 'waiting' || unit.state === 'done');
  const shown = [...active, ...others].slice(0, MAX_ROWS);
  const lines = [
    `**${cell(progress.cluster)}: ${progress.outcome ?? progress.phase}** — ${totals.done} of ${totals.units} tables done, ${totals.failed} failed`,
    next(progress),
    progress.problem
      ? `**${progress.problem.code}**: ${cell(progress.problem.message)}. ${cell(progress.problem.hint)}.`
      : '',
    `| stage | ${GAP}state |\n|:---|:---|\n` +
      progress.stages
        .map(
          (stage) =>
            `| ${stage.name} | ${GAP}${stage.finishedAt !== null ? stage.outcome : stage.startedAt !== null ? 'running' : ''} |`,
        )
        .join('\n'),
    units.length === 0
      ? ''
      : `| table @ shard/replica | ${GAP}state | ${GAP}rows |\n|:---|:---|---:|\n` +
        shown
          .map(
            (unit) =>
              `| ${cell(unit.label)} | ${GAP}${MARK[unit.state].replaceAll(' ', NBSP)}${unit.problem ? ` ${unit.problem.code}` : ''} | ${unit.rows ?? ''} |`,
          )
          .join('\n') +
        (totals.units > shown.length ? `\n| … ${totals.units - shown.length} more | | |` : ''),
  ];
  return lines.filter((line) => line !== '').join('\n\n');
}
