import type { Progress, UnitProgress } from '../../domain/messages.js';
import { printable } from '../../domain/render-plan.js';
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

const BAR = 24;

/** Shows progress: in place on a terminal, else one plain line for each change. */
export class ProgressView {
  private drawn = 0;
  private readonly seen = new Map<string, string>();

  constructor(private readonly streams: Streams) {}

  show(progress: Progress): void {
    if (this.streams.isTty) this.redraw(progress);
    else this.printChanges(progress);
  }

  private redraw(progress: Progress): void {
    const width = Math.max(20, process.stdout.columns ?? 80);
    const height = Math.max(8, (process.stdout.rows ?? 24) - 1);
    const lines = frame(progress, height).map((line) => (line.length < width ? line : line.slice(0, width - 1)));
    const up = this.drawn > 0 ? `\u001b[${this.drawn}A` : '';
    this.streams.out(`${up}${lines.map((line) => `\u001b[2K${line}\n`).join('')}\u001b[0J`);
    this.drawn = lines.length;
  }

  private printChanges(progress: Progress): void {
    const say = (key: string, value: string, line: string) => {
      if (this.seen.get(key) === value) return;
      this.seen.set(key, value);
      this.streams.out(`${printable(line)}\n`);
    };
    say(
      'phase',
      progress.phase,
      `phase ${progress.phase}${progress.phase === 'waiting-for-approval' ? `: plan ${progress.planHash ?? ''}` : ''}`,
    );
    for (const stage of progress.stages) {
      if (stage.startedAt !== null) say(`begin ${stage.name}`, stage.startedAt, `stage ${stage.name} started`);
      if (stage.startedAt !== null && stage.finishedAt !== null)
        say(`end ${stage.name}`, stage.outcome, `stage ${stage.name} ${stage.outcome}`);
    }
    for (const unit of progress.units) {
      if (unit.state === 'waiting') continue;
      say(
        `unit ${unit.label}`,
        unit.state,
        `${unit.label} ${unit.state}${unit.rows === null || unit.state !== 'done' ? '' : ` ${unit.rows.toLocaleString('en-US')} rows`}${unit.problem ? ` ${unit.problem.code}: ${unit.problem.message}` : ''}`,
      );
    }
  }
}

/** The picture of one moment, no higher than the screen: what works or failed is shown first. */
export function frame(progress: Progress, height: number): string[] {
  const { units } = progress;
  const done = units.filter((unit) => unit.state === 'done').length;
  const failed = units.filter((unit) => unit.state === 'failed').length;
  const filled = units.length === 0 ? 0 : Math.round((done / units.length) * BAR);
  const stages = progress.stages
    .map(
      (stage) =>
        `${stage.name} ${stage.finishedAt !== null ? (stage.outcome === 'done' ? '✔' : stage.outcome) : stage.startedAt !== null ? '…' : '·'}`,
    )
    .join('  ');
  const head = [
    `${printable(progress.cluster)}  ${progress.paused ? 'paused' : progress.phase}  ${'█'.repeat(filled)}${'░'.repeat(BAR - filled)} ${done}/${units.length}${failed > 0 ? `, ${failed} failed` : ''}`,
    stages,
  ];
  const order = (unit: UnitProgress) =>
    unit.state === 'failed' ? 0 : unit.state === 'waiting' ? 3 : unit.state === 'done' ? 2 : 1;
  const room = Math.max(0, height - head.length - 1);
  const shown = [...units].sort((a, b) => order(a) - order(b)).slice(0, room);
  const rows = shown.map(
    (unit) =>
      `  ${MARK[unit.state].padEnd(18)} ${printable(unit.label)}${unit.rows === null ? '' : `  ${unit.rows.toLocaleString('en-US')} rows`}${unit.problem ? `  ${unit.problem.code}` : ''}`,
  );
  return units.length > shown.length
    ? [...head, ...rows, `  … ${units.length - shown.length} more`]
    : [...head, ...rows];
}
