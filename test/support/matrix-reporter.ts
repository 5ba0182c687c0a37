/**
 * Ends a run with the table 'scenario × provider', from the names that scenarios.ts gives: nothing is left out silently.
 * Scenarios that the run did not select (`-t`) are not in it.
 */
import type { Reporter, TestCase, TestModule } from 'vitest/node';
import { PROVIDERS, type Provider } from './test-cluster.js';

type Cells = Partial<Record<Provider, string>>;

const MARK = new RegExp(` \\[(${PROVIDERS.join('|')})(?:: ([^\\]]+))?\\]`, 'g');
const NAME_WIDTH = 100;

export default class MatrixReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const table = matrix(modules.flatMap((module) => [...module.children.allTests()]).map(toRun));
    if (table.length > 0) process.stdout.write(`\n${table.join('\n')}\n\n`);
  }
}

export interface Run {
  fullName: string;
  state: 'passed' | 'failed' | 'skipped' | 'pending';
  durationMs: number;
}

const toRun = (test: TestCase): Run => ({
  fullName: test.fullName,
  state: test.result().state,
  durationMs: test.diagnostic()?.duration ?? 0,
});

/** One line a scenario, a header before them; none where no scenario was selected. */
export function matrix(runs: readonly Run[]): string[] {
  const rows = new Map<string, { cells: Cells; isSelected: boolean }>();
  const isWholeRun = !runs.some(({ fullName, state }) => state === 'skipped' && !/ \[\w+: /.test(fullName));
  for (const run of runs) {
    const marks = [...run.fullName.matchAll(MARK)];
    if (marks.length === 0) continue;
    const name = run.fullName.replace(MARK, '').replace(/^.* > /, '');
    const row = rows.get(name) ?? { cells: {}, isSelected: false };
    for (const [, provider, obstacle] of marks) row.cells[provider as Provider] = obstacle ?? cell(run);
    row.isSelected ||= run.state !== 'skipped' || isWholeRun;
    rows.set(name, row);
  }
  const selected = [...rows].filter(([, { isSelected }]) => isSelected);
  if (selected.length === 0) return [];
  const shown = PROVIDERS.filter((provider) => selected.some(([, { cells }]) => provider in cells));
  const lines = selected.map(([name, { cells }]) => [name, ...shown.map((provider) => cells[provider] ?? '–')]);
  const header = ['scenario', ...shown];
  const widths = header.map((_, i) =>
    Math.min(NAME_WIDTH, Math.max(...[header, ...lines].map((line) => line[i]!.length))),
  );
  const render = (line: string[]) =>
    line
      .map((text, i) => (text.length > widths[i]! ? `${text.slice(0, widths[i]! - 1)}…` : text.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  const absent = PROVIDERS.filter((provider) => !shown.includes(provider)).map((provider) => `${provider}: not chosen`);
  return [render(header), ...lines.map(render), '–: written for the other', ...absent];
}

function cell({ state, durationMs }: Run): string {
  if (state === 'passed') return `ran ${(durationMs / 1_000).toFixed(0)} s`;
  return state === 'failed' ? 'FAILED' : 'not run';
}
