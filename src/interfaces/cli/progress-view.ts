import { totalsOf, type Progress, type UnitProgress } from '../../domain/messages.js';
import { printable } from '../../domain/render-plan.js';
import type { StageReport } from '../../domain/report.js';
import type { Streams } from './output.js';

const MARK: Record<UnitProgress['state'], string> = {
  waiting: '·',
  'restore-data': '▸ restore data',
  'verify-parts': '▸ verify parts',
  'restore-replica': '▸ restore replica',
  validate: '▸ validate',
  done: '✔ done',
  failed: '✖ failed',
  skipped: '– skipped',
};

/** Stages in which a unit may be, in order: what is further has passed those before. */
const UNIT_STAGES: readonly string[] = ['restore-data', 'verify-parts', 'restore-replica', 'validate', 'done'];

const BAR = 20;
/** Milliseconds between two pictures: more often nobody can read. */
const FRAME_MS = 200;

/** Shows progress: in place on a terminal, else one plain line for each change. */
export class ProgressView {
  private drawn = 0;
  private drawnAt = -Infinity;
  private last = '';
  private readonly seen = new Map<string, string>();

  constructor(private readonly streams: Streams) {}

  show(progress: Progress): void {
    if (this.streams.isTty) this.redraw(progress);
    else this.printChanges(progress);
  }

  /** A line beside the picture, for something that is not progress. */
  note(text: string): void {
    this.streams.err(`${printable(text)}\n`);
    this.drawn = 0;
    this.last = '';
  }

  private redraw(progress: Progress): void {
    // The last picture is always drawn.
    if (progress.phase !== 'closed' && performance.now() - this.drawnAt < FRAME_MS) return;
    const { columns, rows } = this.streams.size?.() ?? { columns: 80, rows: 24 };
    const lines = frame(progress, Math.max(8, rows - 1)).map((line) => clip(line, Math.max(20, columns) - 1));
    const picture = lines.map((line) => `\u001b[2K${line}\n`).join('');
    if (picture === this.last) return;
    const up = this.drawn > 0 ? `\u001b[${this.drawn}A` : '';
    this.streams.out(`${up}${picture}\u001b[0J`);
    this.drawn = lines.length;
    this.last = picture;
    this.drawnAt = performance.now();
  }

  private printChanges(progress: Progress): void {
    const say = (key: string, value: string, line: string) => {
      if (this.seen.get(key) === value) return;
      this.seen.set(key, value);
      this.streams.out(`${printable(line)}\n`);
    };
    const sayPhase = () =>
      say(
        'phase',
        progress.phase,
        `phase ${progress.phase}${progress.phase === 'waiting-for-approval' ? `: plan ${progress.planHash ?? ''}` : ''}`,
      );
    // The end comes after what led to it.
    if (progress.phase !== 'closed') sayPhase();
    if (progress.paused || this.seen.has('paused'))
      say('paused', String(progress.paused), progress.paused ? 'paused' : 'resumed');
    for (const stage of progress.stages) {
      if (stage.startedAt === null) continue;
      say(`begin ${stage.name}`, stage.startedAt, `stage ${stage.name} started`);
      if (stage.finishedAt !== null)
        say(`end ${stage.name}`, `${stage.outcome} ${stage.finishedAt}`, `stage ${stage.name} ${stage.outcome}`);
    }
    for (const unit of progress.units)
      if (unit.state !== 'waiting') say(`unit ${unit.label}`, unit.state, unitLine(unit));
    if (progress.phase === 'closed') sayPhase();
  }
}

function unitLine(unit: UnitProgress): string {
  const rows = unit.rows === null || unit.state !== 'done' ? '' : ` ${rowsText(unit.rows)}`;
  return `${unit.label} ${unit.state}${rows}${unit.problem ? ` ${unit.problem.code}: ${unit.problem.message}` : ''}`;
}

function rowsText(rows: number): string {
  return `${rows.toLocaleString('en-US')} ${rows === 1 ? 'row' : 'rows'}`;
}

/** The picture of one moment, no higher than the screen: what failed or is under way is shown first. */
export function frame(progress: Progress, height: number): string[] {
  const { units } = progress;
  const totals = totalsOf(progress);
  const counts = (['failed', 'skipped', 'waiting'] as const)
    .filter((state) => totals[state] > 0)
    .map((state) => `, ${totals[state]} ${state}`);
  const head = [
    `${printable(progress.cluster)}  ${progress.outcome ?? (progress.paused ? 'paused' : progress.phase)}  ${totals.done} of ${totals.units} done${counts.join('')}`,
    ...progress.stages.map((stage) => stageLine(stage, units, progress.totals !== undefined)),
  ];
  const whole = head.length + totals.units <= height;
  const candidates = whole ? units : units.filter((unit) => unit.state !== 'waiting' && unit.state !== 'done');
  const order = (unit: UnitProgress) => (unit.state === 'failed' ? 0 : unit.state === 'skipped' ? 2 : 1);
  const sorted = whole ? candidates : [...candidates].sort((a, b) => order(a) - order(b));
  const shown = sorted.slice(0, Math.max(0, height - head.length - (whole ? 0 : 1)));
  const rows = shown.map(
    (unit) =>
      `  ${MARK[unit.state].padEnd(18)} ${printable(unit.label)}${unit.rows === null ? '' : `  ${rowsText(unit.rows)}`}${unit.problem ? `  ${unit.problem.code}` : ''}`,
  );
  return totals.units > shown.length
    ? [...head, ...rows, `  … ${totals.units - shown.length} more`]
    : [...head, ...rows];
}

function stageLine(stage: StageReport, units: UnitProgress[], isSum: boolean): string {
  const ended = stage.startedAt !== null && stage.finishedAt !== null;
  // Where only the sum is known, nobody knows which tables are past a stage.
  const at = isSum ? -1 : UNIT_STAGES.indexOf(stage.name);
  const passed = at < 0 ? 0 : units.filter((unit) => UNIT_STAGES.indexOf(unit.state) > at).length;
  const share = ended ? 1 : stage.startedAt === null || units.length === 0 ? 0 : passed / units.length;
  const filled = Math.round(share * BAR);
  const state = ended
    ? stage.outcome
    : stage.startedAt === null
      ? ''
      : at < 0
        ? 'running'
        : `${passed}/${units.length}`;
  return `  ${stage.name.padEnd(16)} ${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} ${state}`.trimEnd();
}

/** Columns of one character: East Asian wide ones and emoji take two, combining marks none. */
function columnsOf(char: string): number {
  if (/\p{M}/u.test(char)) return 0;
  return /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|[\u{20000}-\u{3fffd}]/u.test(
    char,
  )
    ? 2
    : 1;
}

/** Cuts a line to the width of the terminal: one that wraps would spoil the redrawing in place. */
export function clip(line: string, columns: number): string {
  let used = 0;
  let kept = '';
  for (const char of line) {
    used += columnsOf(char);
    if (used > columns) return kept;
    kept += char;
  }
  return kept;
}
