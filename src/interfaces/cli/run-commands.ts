import { RecoveryError } from '../../domain/errors.js';
import type { Progress } from '../../domain/messages.js';
import { TASK_QUEUE } from '../../domain/messages.js';
import { printable } from '../../domain/render-plan.js';
import { reportToMarkdown } from '../../domain/render-report.js';
import type { Report } from '../../domain/report.js';
import { startBackup, startRecovery, type Started } from '../../service/recoveries.js';
import { exitCodeOf, type ExitCode } from './output.js';
import { ProgressView } from './progress-view.js';
import { collect, required, type CommandContext, type CommonOptions, type Define } from './program.js';

interface StartOptions extends CommonOptions {
  cluster: string;
  backup?: string;
  tables?: string[];
  incident?: string;
  approve?: string;
  yes?: boolean;
  adopt?: boolean;
  wait?: boolean;
}

interface BackupOptions extends CommonOptions {
  cluster: string;
  to: string;
  name?: string;
  wait?: boolean;
}

/** The task queue of recovery.yaml where there is one: starting needs no other part of it. */
async function taskQueueOf(context: CommandContext): Promise<string> {
  try {
    return (await context.direct()).taskQueue;
  } catch (error) {
    if (error instanceof RecoveryError && error.code === 'CONFIG_NOT_FOUND') return TASK_QUEUE;
    throw error;
  }
}

function announce(context: CommandContext, started: Started, json: boolean): void {
  if (started.workers === 0)
    context.streams.err('warning: no worker polls the task queue; start one with `ch-recover worker`\n');
  if (!json)
    context.streams.out(
      printable(started.started ? `started ${started.id}\n` : `this incident has a recovery already: ${started.id}\n`),
    );
}

async function follow(context: CommandContext, id: string, json: boolean): Promise<ExitCode> {
  const { recoveries } = await context.temporal();
  const view = new ProgressView(context.streams);
  const report = await recoveries.watch(id, (progress) => {
    if (!json) view.show(progress);
  });
  context.streams.out(json ? JSON.stringify(report, null, 2) + '\n' : `\n${summary(report)}`);
  return exitCodeOf(report.outcome);
}

function summary(report: Report): string {
  const recovered = report.tables.filter((table) => table.outcome === 'recovered').length;
  const lines = [
    `${report.outcome}: ${recovered} tables recovered, ${report.unrecovered.length} not, RTO ${report.rtoSeconds} s, fence ${report.fence}`,
  ];
  if (report.problem) lines.push(`${report.problem.code}: ${report.problem.message}`, `hint: ${report.problem.hint}`);
  for (const warning of report.warnings) lines.push(`warning: ${warning}`);
  return lines.map(printable).join('\n') + '\n';
}

/** Commands that start, follow and steer workflows. */
export function addRunCommands(define: Define): void {
  define<StartOptions>(
    'start',
    'start a recovery',
    (command) =>
      command
        .requiredOption('--cluster <name>')
        .option('--backup <ref>', 'latest, REPO or REPO/NAME')
        .option('--tables <pattern>', "such as 'db.*'; repeatable", collect)
        .option('--incident <id>', 'a repeat with the same id finds the run instead of starting another')
        .option('--approve <hash>', 'approve the plan with this hash in advance')
        .option('--yes', 'approve whatever the plan is')
        .option('--adopt', 'go on from the safety clones of an unfinished recovery')
        .option('--wait', 'follow it to its end'),
    async (context, options) => {
      if (options.yes && options.approve !== undefined)
        throw new RecoveryError('INPUT_INVALID', '--yes and --approve exclude each other', { field: 'approve' });
      const request = {
        cluster: options.cluster,
        backup: options.backup,
        tables: options.tables,
        incident: options.incident,
        approve: options.approve,
        adopt: options.adopt,
        approval: options.yes ? 'auto' : undefined,
      };
      const taskQueue = await taskQueueOf(context);
      const { client } = await context.temporal();
      const started = await startRecovery(client, request, taskQueue);
      announce(context, started, options.json === true);
      if (options.wait) return follow(context, started.id, options.json === true);
      if (options.json) context.streams.out(JSON.stringify(started) + '\n');
      else context.streams.out(printable(`watch it with: ch-recover watch ${started.id}\n`));
      return 0;
    },
  );

  define<CommonOptions>(
    'status',
    'where a recovery stands, and what to type next',
    (command) => command.argument('<id>'),
    async (context, options, id) => {
      const { recoveries } = await context.temporal();
      const progress = await recoveries.progress(required(id, 'id'));
      context.streams.out(options.json ? JSON.stringify(progress, null, 2) + '\n' : statusText(progress));
      return 0;
    },
  );

  define<CommonOptions>(
    'watch',
    'follow a recovery to its end; Ctrl-C leaves it running',
    (command) => command.argument('<id>'),
    async (context, options, id) => {
      const watched = required(id, 'id');
      process.once('SIGINT', () => {
        context.streams.err(printable(`\nthe recovery goes on; come back with: ch-recover watch ${watched}\n`));
        process.exit(0);
      });
      return follow(context, watched, options.json === true);
    },
  );

  define<CommonOptions & { plan?: string; by?: string }>(
    'approve',
    'approve the plan with this hash',
    (command) => command.argument('<id>').argument('[hash]').option('--plan <hash>').option('--by <name>'),
    async (context, options, id, hash) => {
      const { recoveries } = await context.temporal();
      const planHash = required(options.plan ?? hash, 'plan');
      const answer = await recoveries.approve(required(id, 'id'), {
        planHash,
        by: options.by ?? process.env['USER'] ?? 'unknown',
      });
      context.streams.out(options.json ? JSON.stringify({ id, planHash, answer }) + '\n' : printable(`${answer}\n`));
      return 0;
    },
  );

  define<CommonOptions & { tables?: string[]; by?: string }>(
    'resolve',
    'decide about failed tables: retry, skip or abort',
    (command) =>
      command
        .argument('<id>')
        .argument('<action>', 'retry, skip or abort')
        .option('--tables <pattern>', 'repeatable; none: all that failed', collect)
        .option('--by <name>'),
    async (context, options, id, action) => {
      if (action !== 'retry' && action !== 'skip' && action !== 'abort')
        throw new RecoveryError('INPUT_INVALID', 'action is retry, skip or abort', { field: 'action' });
      const { recoveries } = await context.temporal();
      await recoveries.resolve(required(id, 'id'), {
        action,
        tables: options.tables,
        by: options.by ?? process.env['USER'],
      });
      context.streams.out(
        options.json ? JSON.stringify({ id, action }) + '\n' : printable(`${action} sent to ${id ?? ''}\n`),
      );
      return 0;
    },
  );

  for (const [name, description] of [
    ['abort', 'stop a recovery at the next safe point'],
    ['pause', 'start no further step until resume'],
    ['resume', 'go on after pause'],
  ] as const)
    define<CommonOptions>(
      name,
      description,
      (command) => command.argument('<id>'),
      async (context, options, id) => {
        const { recoveries } = await context.temporal();
        await recoveries.signal(required(id, 'id'), name);
        context.streams.out(
          options.json ? JSON.stringify({ id, sent: name }) + '\n' : printable(`${name} sent to ${id ?? ''}\n`),
        );
        return 0;
      },
    );

  define<CommonOptions & { format: string }>(
    'report',
    'the report of a recovery; waits for its end',
    (command) => command.argument('<id>').option('--format <format>', 'json or markdown', 'markdown'),
    async (context, options, id) => {
      if (options.format !== 'json' && options.format !== 'markdown')
        throw new RecoveryError('INPUT_INVALID', 'format is json or markdown', { field: 'format' });
      const { recoveries } = await context.temporal();
      const report = await recoveries.report(required(id, 'id'));
      context.streams.out(
        options.json || options.format === 'json' ? JSON.stringify(report, null, 2) + '\n' : reportToMarkdown(report),
      );
      return exitCodeOf(report.outcome);
    },
  );

  define<BackupOptions>(
    'backup',
    'back up every shard, with a manifest',
    (command) =>
      command
        .requiredOption('--cluster <name>')
        .requiredOption('--to <repository>')
        .option('--name <name>', 'default: the time')
        .option('--wait', 'wait for its end'),
    async (context, options) => {
      const taskQueue = await taskQueueOf(context);
      const { client, recoveries } = await context.temporal();
      const started = await startBackup(
        client,
        { cluster: options.cluster, to: options.to, name: options.name },
        taskQueue,
      );
      announce(context, started, options.json === true);
      if (!options.wait) {
        if (options.json) context.streams.out(JSON.stringify(started) + '\n');
        return 0;
      }
      const result = await recoveries.backupResult(started.id);
      if (options.json) context.streams.out(JSON.stringify(result, null, 2) + '\n');
      else {
        for (const shard of result.shards)
          context.streams.out(
            printable(
              `shard ${shard.shard} from ${shard.node}: ${shard.tables} tables, ${shard.rows.toLocaleString('en-US')} rows, ${shard.parts} parts, ${shard.bytes.toLocaleString('en-US')} bytes\n`,
            ),
          );
        context.streams.out(printable(`backup ${result.repository}/${result.name}\n`));
      }
      return 0;
    },
  );
}

/** Where it stands, and exactly what to type next. */
export function statusText(progress: Progress): string {
  const lines = [`${progress.recoveryId}: ${progress.outcome ?? progress.phase}${progress.paused ? ' (paused)' : ''}`];
  for (const stage of progress.stages)
    if (stage.startedAt !== null)
      lines.push(`  ${stage.name}: ${stage.finishedAt === null ? 'running' : stage.outcome}`);
  const done = progress.units.filter((unit) => unit.state === 'done').length;
  lines.push(`  ${done} of ${progress.units.length} tables done`);
  for (const unit of progress.units.filter((each) => each.state === 'failed'))
    lines.push(`  failed ${unit.label}: ${unit.problem ? `${unit.problem.code}: ${unit.problem.message}` : ''}`);
  if (progress.problem)
    lines.push(`  ${progress.problem.code}: ${progress.problem.message}`, `  hint: ${progress.problem.hint}`);
  if (progress.phase === 'waiting-for-approval')
    lines.push(`next: ch-recover approve ${progress.recoveryId} --plan ${progress.planHash ?? ''}`);
  if (progress.phase === 'waiting-for-resolve')
    lines.push(`next: ch-recover resolve ${progress.recoveryId} retry   (or skip, or abort)`);
  if (progress.paused) lines.push(`next: ch-recover resume ${progress.recoveryId}`);
  return lines.map(printable).join('\n') + '\n';
}
