import { totalsOf, type Progress } from '../../domain/messages.js';
import { shellWord } from './output.js';

/** Where it stands, and exactly what to type next. */
export function statusLines(progress: Progress): string[] {
  const { units, stages, problem } = progress;
  const { done, units: all } = totalsOf(progress);
  return [
    `${progress.recoveryId}: ${progress.outcome ?? progress.phase}${progress.paused ? ' (paused)' : ''}`,
    ...stages
      .filter((stage) => stage.startedAt !== null)
      .map((stage) => `  ${stage.name}: ${stage.finishedAt === null ? 'running' : stage.outcome}`),
    `  ${done} of ${all} tables done`,
    ...units
      .filter((unit) => unit.state === 'failed')
      .flatMap((unit) =>
        unit.problem
          ? [`  failed ${unit.label}: ${unit.problem.code}: ${unit.problem.message}`, `    hint: ${unit.problem.hint}`]
          : [`  failed ${unit.label}`],
      ),
    ...(problem ? [`  ${problem.code}: ${problem.message}`, `  hint: ${problem.hint}`] : []),
    ...nextSteps(progress),
  ];
}

/** What a person has to type for it to go on; empty where it goes on by itself. */
export function nextSteps({ recoveryId, phase, planHash, paused }: Progress): string[] {
  const id = shellWord(recoveryId);
  return [
    ...(phase === 'waiting-for-approval' ? [`next: ch-recover approve ${id} --plan ${planHash ?? ''}`] : []),
    ...(phase === 'waiting-for-resolve'
      ? [
          `next: ch-recover resolve ${id} retry`,
          `  or: ch-recover resolve ${id} skip`,
          `  or: ch-recover resolve ${id} abort`,
        ]
      : []),
    ...(paused ? [`next: ch-recover resume ${id}`] : []),
  ];
}
