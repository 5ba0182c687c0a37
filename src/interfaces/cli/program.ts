import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { problem, RecoveryError } from '../../domain/errors.js';
import { TASK_QUEUE } from '../../domain/messages.js';
import type { DirectActions } from '../../service/direct.js';
import { Drills, type DrillService } from '../../service/drills.js';
import { connect, Recoveries, toRecoveryError, type RecoveryService } from '../../service/recoveries.js';
import { addApi } from './commands/api.js';
import { addAbort, addPause, addResume } from './commands/signals.js';
import { addApprove } from './commands/approve.js';
import { addAgent } from './commands/agent.js';
import { addBackup } from './commands/backup.js';
import { addColdBackup, addColdRestore, addColdStatus, addColdVerify } from './commands/cold.js';
import { addDrill } from './commands/drill.js';
import { addDoctor } from './commands/doctor.js';
import { addPlan } from './commands/plan.js';
import { addReport } from './commands/report.js';
import { addResolve } from './commands/resolve.js';
import { addSchema } from './commands/schema.js';
import { addStart } from './commands/start.js';
import { addStatus } from './commands/status.js';
import { addTemplate } from './commands/template.js';
import { addUnfence } from './commands/unfence.js';
import { addWatch } from './commands/watch.js';
import { addWorker } from './commands/worker.js';
import type { CommandContext, Define } from './command.js';
import { fail, failWith, processStreams, type ExitCode, type Streams } from './output.js';

const { version } = createRequire(import.meta.url)('../../../package.json') as { version: string };

export type Load = (configPath: string) => Promise<DirectActions>;
export type Open = () => Promise<{ recoveries: RecoveryService; drills: DrillService; close(): Promise<void> }>;

/** One file a command. In the order of `--help`. */
const COMMANDS: readonly ((define: Define) => void)[] = [
  addWorker,
  addDoctor,
  addPlan,
  addStart,
  addTemplate,
  addStatus,
  addWatch,
  addApprove,
  addResolve,
  addPause,
  addResume,
  addAbort,
  addReport,
  addBackup,
  addDrill,
  addUnfence,
  addColdBackup,
  addColdRestore,
  addColdStatus,
  addColdVerify,
  addAgent,
  addApi,
  addSchema,
];

/** Commands that have commands. */
const GROUPS: Record<string, string> = {
  cold: 'stop the world: copy ClickHouse and ZooKeeper together, and put them back',
};

async function openTemporal(): ReturnType<Open> {
  const temporal = await connect();
  return {
    recoveries: new Recoveries(temporal.client),
    drills: new Drills(temporal.client),
    close: () => temporal.close(),
  };
}

/** `ch-recover`: exit 0 done or nothing to do, 1 failed, 2 bad usage or input, 3 needs an operator. */
export function createProgram(
  load: Load,
  streams: Streams = processStreams,
  open: Open = openTemporal,
): { run(argv: string[]): Promise<ExitCode> } {
  let exitCode: ExitCode = 0;
  const program = new Command('ch-recover')
    .description('disaster recovery of a replicated ClickHouse cluster, as one durable Temporal workflow')
    .version(version)
    .option('--config <file>', 'recovery.yaml, or CH_RECOVER_CONFIG')
    .exitOverride()
    // Usage errors are printed by `run`, in the form of all the others.
    .configureOutput({ writeOut: streams.out, writeErr: streams.err, outputError: () => undefined });
  const define: Define = (name, description, configure, body) => {
    const command = configure(nested(program, name).description(description))
      .option('--json', 'print the result as JSON')
      .option('--config <file>', 'recovery.yaml, or CH_RECOVER_CONFIG');
    command.action(async (...all: unknown[]) => {
      const args = all.slice(0, -2) as string[];
      const options = command.opts<Parameters<typeof body>[1] & { config?: string }>();
      const named = options.config ?? program.opts<{ config?: string }>().config ?? process.env['CH_RECOVER_CONFIG'];
      const context = openContext({ load, open, named, streams });
      try {
        exitCode = await body(context, options, ...args);
      } catch (error) {
        exitCode = fail(toRecoveryError(error), { json: options.json === true, streams });
      } finally {
        await context.close();
      }
    });
  };
  for (const add of COMMANDS) add(define);
  return {
    run: async (argv) => {
      try {
        await program.parseAsync(argv);
        return exitCode;
      } catch (error) {
        const json = argv.includes('--json');
        return error instanceof CommanderError ? usage(error, { json, streams }) : fail(error, { json, streams });
      }
    },
  };
}

/** `cold backup` is the command `backup` of the group `cold`. */
function nested(program: Command, path: string): Command {
  const groups = path.split(' ');
  const name = groups.pop() ?? '';
  const parent = groups.reduce(
    (outer, group) =>
      outer.commands.find((command) => command.name() === group) ??
      outer
        .command(group)
        .description(GROUPS[group] ?? '')
        .exitOverride(),
    program,
  );
  return parent.command(name);
}

/** `--help` and `--version` end here too, having printed what they should. */
function usage(error: CommanderError, { json, streams }: { json: boolean; streams: Streams }): ExitCode {
  if (error.exitCode === 0) return 0;
  // No command at all: commander has printed the help.
  const message = error.code === 'commander.help' ? 'no command given' : error.message.replace(/^error: /, '');
  return failWith(
    {
      ...problem('INPUT_INVALID', message),
      hint: '`ch-recover --help` and `ch-recover COMMAND --help` show the usage',
    },
    { json, streams },
  );
}

function openContext({
  load,
  open,
  named,
  streams,
}: {
  load: Load;
  open: Open;
  named: string | undefined;
  streams: Streams;
}): CommandContext & { close(): Promise<void> } {
  let direct: DirectActions | null = null;
  let temporal: Awaited<ReturnType<Open>> | null = null;
  const context = {
    streams,
    direct: async () => (direct ??= await load(named ?? 'recovery.yaml')),
    recoveries: async () => (temporal ??= await open()).recoveries,
    drills: async () => (temporal ??= await open()).drills,
    taskQueue: async () => {
      try {
        return (await context.direct()).taskQueue;
      } catch (error) {
        // Starting needs no other part of the file. One that was named and is not there is a mistake all the same.
        if (named === undefined && error instanceof RecoveryError && error.code === 'CONFIG_NOT_FOUND')
          return TASK_QUEUE;
        throw error;
      }
    },
    close: async () => {
      await Promise.all([direct?.close(), temporal?.close()]);
    },
  };
  return context;
}
