import type { ColdPlan, ColdProgress, ColdReport } from './cold.js';
import { printable } from './render-plan.js';

const number = (value: number) => value.toLocaleString('en-US');

/** For people, before they approve: what is stopped by which command, what is copied how. */
export function coldPlanToText(plan: ColdPlan): string[] {
  return [
    `cold ${plan.kind} of ${plan.cluster}, copy ${plan.generation}, plan ${plan.hash}`,
    ...plan.refusals.flatMap(({ code, message, hint }) => [`REFUSED ${code}: ${message}`, `        hint: ${hint}`]),
    ...(plan.instead ? [`BETTER  ${plan.instead.command}`, `        ${plan.instead.why}`] : []),
    ...plan.warnings.map((warning) => `warning ${warning}`),
    `all of ${plan.cluster} is stopped meanwhile:`,
    ...plan.hosts.flatMap(({ name, role, files, bytes, method, commands }) => [
      `  ${name} (${role}): ${number(files)} files, ${number(bytes)} bytes, by ${method}`,
      `      stop: ${commands.stop}   start: ${commands.start}`,
    ]),
  ].map(printable);
}

export function coldProgressToMarkdown({ kind, cluster, phase, steps, attention, report }: ColdProgress): string {
  return [
    `**cold ${kind} of ${cluster}** — ${report?.outcome ?? phase}`,
    '',
    ...attention.map((line) => `> **${printable(line)}**\n`),
    '| step | outcome |',
    '|---|---|',
    ...steps.map(({ name, outcome }) => `| ${name} | ${outcome} |`),
  ].join('\n');
}

export function coldReportToText(report: ColdReport): string[] {
  const { hosts, problem, instead } = report;
  return [
    `cold ${report.kind} of ${report.cluster}: ${report.outcome}`,
    `copy ${report.generation}`,
    ...report.steps
      .filter(({ startedAt }) => startedAt !== null)
      .map(
        ({ name, startedAt, finishedAt, outcome }) =>
          `  ${name.padEnd(18)}${seconds(startedAt, finishedAt)}  ${outcome}`,
      ),
    ...hosts.map(
      ({ name, files, bytes, methods, seconds: took }) =>
        `${name}: ${number(files)} files, ${number(bytes)} bytes in ${took} s${ways(methods)}`,
    ),
    ...hosts.flatMap(({ name, aside }) => aside.map((folder) => `${name}: what stood there before is in ${folder}`)),
    ...(report.downtimeSeconds === null ? [] : [`down for ${report.downtimeSeconds.toFixed(1)} s`]),
    ...(report.rolledBack ? ['rolled back to what stood there before'] : []),
    ...(report.clusterUp ? [] : ['THE CLUSTER IS DOWN']),
    ...(instead ? [`better: ${instead.command}: ${instead.why}`] : []),
    ...report.warnings.map((warning) => `warning: ${warning}`),
    ...(problem ? [`${problem.code}: ${problem.message}`, `hint: ${problem.hint}`] : []),
  ].map(printable);
}

function ways(methods: ColdReport['hosts'][number]['methods']): string {
  const used = Object.entries(methods).filter(([, count]) => count > 0);
  return used.length === 0 ? '' : ` (${used.map(([way, count]) => `${number(count)} by ${way}`).join(', ')})`;
}

function seconds(from: string | null, to: string | null): string {
  if (from === null || to === null) return '';
  return `${((Date.parse(to) - Date.parse(from)) / 1000).toFixed(1)} s`.padStart(8);
}
