import { drillExitCode, parseDrillRequest, type DrillReport } from '../../../domain/drill.js';
import { drillLines, drillListText } from '../../../domain/drill-history.js';
import { RecoveryError } from '../../../domain/errors.js';
import { drillToMarkdown } from '../../../domain/render-drill.js';
import type { DrillSchedule } from '../../../service/drills.js';
import { announce } from '../announce.js';
import type { CommandContext, CommonOptions, Define } from '../command.js';
import { printJson, printLines, type ExitCode } from '../output.js';

interface DrillOptions extends CommonOptions {
  cluster: string;
  backup?: string;
  wait?: boolean;
  cron?: string;
  limit: string;
}

type Action = (context: CommandContext, options: DrillOptions) => Promise<ExitCode>;

const ACTIONS: Record<string, Action> = { run, schedule, unschedule, list };
/** Which options each action knows, beside those of all. */
const OPTIONS = { backup: ['run', 'schedule'], wait: ['run'], cron: ['schedule'] } as const;
const MAX_LISTED = 1_000;

export function addDrill(define: Define): void {
  define<DrillOptions>(
    'drill',
    'rehearse the recovery of a cluster in its scratch target: run, schedule, unschedule, list',
    (command) =>
      command
        .argument('<action>', Object.keys(ACTIONS).join(', '))
        .requiredOption('--cluster <name>', 'whose backup is restored')
        .option('--backup <ref>', 'run, schedule: latest, REPO or REPO/NAME; default: that of recovery.yaml')
        .option('--wait', 'run: wait for its end')
        .option('--cron <expression>', "schedule: such as '0 4 * * 0'; UTC, or with a prefix CRON_TZ=Europe/Berlin")
        .option('--limit <n>', 'list: the newest', '20'),
    async (context, options, name) => {
      const action = Object.hasOwn(ACTIONS, name ?? '') ? ACTIONS[name ?? ''] : undefined;
      if (!action || name === undefined)
        throw new RecoveryError('INPUT_INVALID', `action is one of ${Object.keys(ACTIONS).join(', ')}`, {
          field: 'action',
        });
      for (const [option, actions] of Object.entries(OPTIONS))
        if (options[option as keyof typeof OPTIONS] !== undefined && !(actions as readonly string[]).includes(name))
          throw new RecoveryError('INPUT_INVALID', `--${option} is not for \`drill ${name}\``, { field: option });
      // Before anything is opened: bad input needs no server to be refused.
      requestOf(options);
      return action(context, options);
    },
  );
}

function requestOf({ cluster, backup }: DrillOptions) {
  return parseDrillRequest({ cluster, ...(backup === undefined ? {} : { backup }) });
}

async function run(context: CommandContext, options: DrillOptions): Promise<ExitCode> {
  const json = options.json === true;
  const drills = await context.drills();
  const started = await drills.start(requestOf(options), await context.taskQueue());
  announce(context, started, json);
  if (!options.wait) {
    if (json) printJson(context.streams, started);
    return 0;
  }
  const report = await drills.result(started.id);
  if (json) printJson(context.streams, report, 2);
  else context.streams.out(drillToMarkdown(report));
  return drillExitCode(report);
}

async function schedule(context: CommandContext, options: DrillOptions): Promise<ExitCode> {
  const { cron, cluster } = options;
  if (cron === undefined) throw new RecoveryError('INPUT_INVALID', '--cron is missing', { field: 'cron' });
  const drills = await context.drills();
  const { created } = await drills.schedule(requestOf(options), cron, await context.taskQueue());
  const scheduled = await drills.scheduled(cluster);
  if (options.json) printJson(context.streams, { created, ...scheduled });
  else
    printLines(context.streams, [
      `${created ? 'scheduled' : 'changed the schedule of'} drills of ${cluster}: ${scheduleLine(scheduled)}`,
    ]);
  return 0;
}

async function unschedule(context: CommandContext, { cluster, json }: DrillOptions): Promise<ExitCode> {
  const removed = await (await context.drills()).unschedule(cluster);
  if (json) printJson(context.streams, { removed });
  else
    printLines(context.streams, [
      removed ? `drills of ${cluster} are no longer scheduled` : `drills of ${cluster} were not scheduled`,
    ]);
  return 0;
}

/** From the report store: drills that Temporal has forgotten, too. Its schedule only where Temporal answers. */
async function list(context: CommandContext, { cluster, json, limit }: DrillOptions): Promise<ExitCode> {
  const count = Number(limit);
  if (!Number.isInteger(count) || count < 1 || count > MAX_LISTED)
    throw new RecoveryError('INPUT_INVALID', `--limit is a number from 1 to ${MAX_LISTED}`, { field: 'limit' });
  const reports: DrillReport[] = await (await context.direct()).drillHistory(cluster, count);
  const scheduled = await scheduleOf(context, cluster);
  if (json) printJson(context.streams, { schedule: scheduled, drills: drillLines(reports) }, 2);
  else
    printLines(context.streams, [
      `schedule: ${scheduled === undefined ? 'not known, Temporal does not answer' : scheduleLine(scheduled)}`,
      ...drillListText(reports, Date.now()),
    ]);
  return 0;
}

async function scheduleOf(context: CommandContext, cluster: string): Promise<DrillSchedule | null | undefined> {
  try {
    return await (await context.drills()).scheduled(cluster);
  } catch (error) {
    if (error instanceof RecoveryError && error.code === 'TEMPORAL_UNAVAILABLE') return undefined;
    throw error;
  }
}

function scheduleLine(scheduled: DrillSchedule | null): string {
  if (!scheduled) return 'none';
  if (scheduled.paused) return `PAUSED: ${scheduled.note || 'no reason is given'}`;
  return `next ${scheduled.next ?? 'never'}`;
}
