import { setTimeout as sleep } from 'node:timers/promises';
import { verifyCopy, type VerifiedCopy } from '../../../agent/verify.js';
import { parseColdBackup, parseColdRestore, type ColdProgress, type ColdReport } from '../../../domain/cold.js';
import { ERRORS, RecoveryError } from '../../../domain/errors.js';
import { coldPlanToText, coldReportToText } from '../../../domain/render-cold.js';
import { announce } from '../announce.js';
import { exitCodeOf, printJson, printLines, shellWord, type ExitCode } from '../output.js';
import type { CommandContext, CommonOptions, Define } from '../command.js';

interface RunOptions extends CommonOptions {
  cluster: string;
  approve?: string;
  yes?: boolean;
  wait?: boolean;
}

const POLL_MS = 500;

export function addColdBackup(define: Define): void {
  define<RunOptions & { name?: string }>(
    'cold backup',
    'stop all of a cluster, copy ClickHouse and ZooKeeper, start it again',
    (command) =>
      command
        .requiredOption('--cluster <name>')
        .option('--name <name>', 'of the copy; default: the time')
        .option('--approve <hash>', 'approve the plan with this hash in advance')
        .option('--yes', 'approve whatever the plan is')
        .option('--wait', 'follow it to its end'),
    async (context, options) => {
      const request = parseColdBackup({ ...approvalOf(options), cluster: options.cluster, name: options.name });
      return start(context, 'backup', request, options);
    },
  );
}

export function addColdRestore(define: Define): void {
  define<RunOptions & { copy?: string; stay?: boolean }>(
    'cold restore',
    'put a cold copy of ClickHouse and ZooKeeper back on all hosts',
    (command) =>
      command
        .requiredOption('--cluster <name>')
        .option('--copy <name>', 'default: the newest that all hosts have')
        .option('--stay', 'where validation fails, leave the copy in place instead of rolling back')
        .option('--approve <hash>', 'approve the plan with this hash in advance')
        .option('--yes', 'approve whatever the plan is')
        .option('--wait', 'follow it to its end'),
    async (context, options) => {
      const request = parseColdRestore({
        ...approvalOf(options),
        cluster: options.cluster,
        copy: options.copy,
        onFailure: options.stay ? 'stay' : undefined,
      });
      return start(context, 'restore', request, options);
    },
  );
}

export function addColdStatus(define: Define): void {
  define<CommonOptions>(
    'cold status',
    'where a cold backup or restore stands, and its plan',
    (command) => command.argument('<id>'),
    async (context, options, id) => {
      const recoveries = await context.recoveries();
      const { plan, ...progress } = await recoveries.coldProgress(id).then(
        async (found) => ({ ...found, plan: await recoveries.coldPlan(id) }),
        async (error: unknown) => ({ ...(await stored(context, id, error)), plan: null }),
      );
      if (options.json) printJson(context.streams, { ...progress, plan }, 2);
      else
        printLines(context.streams, [
          `phase ${progress.phase}`,
          ...(progress.report ? coldReportToText(progress.report) : plan ? coldPlanToText(plan) : []),
          ...(progress.report ? [] : nextSteps(progress)),
        ]);
      return 0;
    },
  );
}

export function addColdVerify(define: Define): void {
  define<CommonOptions>(
    'cold verify',
    'read every file of a copy and compare it with its sha256; needs no server and no Temporal',
    (command) => command.argument('<folder>', 'of the copy, below `copies` of agent.yaml'),
    async (context, options, folder) => {
      const verified = await verifyCopy(folder ?? '');
      if (options.json) printJson(context.streams, verified, 2);
      else printLines(context.streams, verifiedLines(verified));
      return verified.ok ? 0 : 1;
    },
  );
}

/** Temporal forgets its runs: what ended is in the report store, too. Throws `error` where it is not. */
async function stored(context: CommandContext, id: string, error: unknown): Promise<ColdProgress> {
  if (!(error instanceof RecoveryError) || error.code !== 'WORKFLOW_UNKNOWN') throw error;
  const found = context.direct().then((direct) => direct.coldReport(id));
  // No configuration, or a store that is away: that is no answer to the question.
  const report = await found.catch(() => null);
  if (!report) throw error;
  const { kind, cluster, steps, plan } = report;
  return { id, kind, cluster, steps, phase: 'closed', planHash: plan.hash, attention: [], report };
}

function approvalOf({ approve, yes }: RunOptions) {
  if (yes && approve !== undefined)
    throw new RecoveryError('INPUT_INVALID', '--yes and --approve exclude each other', { field: 'approve' });
  return { approve, approval: yes ? 'auto' : undefined };
}

async function start(
  context: CommandContext,
  kind: 'backup' | 'restore',
  request: object,
  options: RunOptions,
): Promise<ExitCode> {
  const json = options.json === true;
  const taskQueue = await context.taskQueue();
  const started = await (await context.recoveries()).startCold(kind, request, taskQueue);
  announce(context, started, json);
  if (options.wait) return follow(context, started.id, json);
  if (json) printJson(context.streams, started);
  else printLines(context.streams, [`look at it with: ch-recover cold status ${shellWord(started.id)}`]);
  return 0;
}

/** Prints each step as it ends, and what a person has to do on stderr. Ctrl-C leaves it running. */
async function follow(context: CommandContext, id: string, json: boolean): Promise<ExitCode> {
  const recoveries = await context.recoveries();
  let open = true;
  const result = recoveries.coldReport(id).finally(() => (open = false));
  const ended = result.then(
    () => undefined,
    () => undefined,
  );
  const said = new Set<string>();
  const once = (line: string, say: (lines: string[]) => void) => {
    if (!said.has(line)) say([line]);
    said.add(line);
  };
  const out = (lines: string[]) => (json ? undefined : printLines(context.streams, lines));
  const err = (lines: string[]) => context.streams.err(`${lines.join('\n')}\n`);
  while (open) {
    // Before the first task there is nobody to ask, and a worker may be away: it goes on when one is there.
    const progress = await Promise.race([recoveries.coldProgress(id).catch(() => null), ended]);
    if (progress && open) {
      if (progress.phase === 'waiting-for-approval' && progress.planHash !== null && !said.has(progress.planHash)) {
        said.add(progress.planHash);
        const plan = await recoveries.coldPlan(id);
        if (plan) out(coldPlanToText(plan));
        err(nextSteps(progress));
      }
      for (const step of progress.steps)
        if (step.outcome !== 'not-needed' && step.outcome !== 'running') once(`${step.name} ${step.outcome}`, out);
      for (const line of progress.attention) once(`! ${line}`, err);
    }
    await Promise.race([sleep(POLL_MS), ended]);
  }
  const report = await result;
  if (json) printJson(context.streams, report, 2);
  else printLines(context.streams, ['', ...coldReportToText(report)]);
  return exitCode(report);
}

function nextSteps({ id, phase, planHash, attention }: ColdProgress): string[] {
  return [
    ...(phase === 'waiting-for-approval'
      ? [`approve it with: ch-recover approve ${shellWord(id)} --plan ${planHash}`]
      : []),
    ...attention.map((line) => `! ${line}`),
  ];
}

function exitCode({ outcome, problem }: ColdReport): ExitCode {
  return problem ? ERRORS[problem.code].exitCode : exitCodeOf(outcome);
}

function verifiedLines({ generation, cluster, takenAt, ok, hosts, elsewhere }: VerifiedCopy): string[] {
  const number = (value: number) => value.toLocaleString('en-US');
  return [
    `copy ${generation} of ${cluster}, taken ${takenAt}`,
    ...hosts.flatMap(({ host, files, bytes, findings }) => [
      `${findings.length === 0 ? '✔' : '✖'} ${host}: ${number(files)} files, ${number(bytes)} bytes`,
      ...findings.map((finding) => `    ${finding}`),
    ]),
    ...(elsewhere.length > 0 ? [`on other hosts: ${elsewhere.join(', ')}`] : []),
    ok ? 'every file is what was copied' : 'NOT what was copied',
  ];
}
