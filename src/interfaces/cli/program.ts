import { Command, CommanderError } from 'commander';
import { RecoveryError } from '../../domain/errors.js';
import type { DirectActions } from '../../service/direct.js';
import { connect, Recoveries, toRecoveryError } from '../../service/recoveries.js';
import type { Client } from '@temporalio/client';
import { addDirectCommands } from './direct-commands.js';
import { addRunCommands } from './run-commands.js';
import { fail, type ExitCode, type Streams } from './output.js';

/** What a command gets: its streams, and what it may ask for. Both are opened at first use and closed at the end. */
export interface CommandContext {
  streams: Streams;
  direct(): Promise<DirectActions>;
  temporal(): Promise<{ client: Client; recoveries: Recoveries }>;
}

export interface CommonOptions {
  json?: boolean;
}

/** A command's body: prints, and says how it ended. */
export type Body<Options> = (context: CommandContext, options: Options, ...args: string[]) => Promise<ExitCode>;

export type Define = <Options extends CommonOptions>(
  name: string,
  description: string,
  configure: (command: Command) => Command,
  body: Body<Options>,
) => void;

const processStreams: Streams = {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  isTty: process.stdout.isTTY === true,
};

/** `ch-recover`: exit 0 done or nothing to do, 1 failed, 2 bad usage or input, 3 needs an operator. */
export function createProgram(
  load: (configPath: string) => Promise<DirectActions>,
  streams: Streams = processStreams,
): { run(argv: string[]): Promise<ExitCode> } {
  let exitCode: ExitCode = 0;
  const program = new Command('ch-recover')
    .description('disaster recovery of a replicated ClickHouse cluster, as one durable Temporal workflow')
    .version('0.1.0')
    .option('--config <file>', 'recovery.yaml', process.env['CH_RECOVER_CONFIG'] ?? 'recovery.yaml')
    .exitOverride()
    .configureOutput({ writeOut: streams.out, writeErr: streams.err })
    .showHelpAfterError('(--help shows the usage)');
  const define: Define = (name, description, configure, body) => {
    const command = configure(program.command(name).description(description))
      .option('--json', 'print the result as JSON')
      .option('--config <file>', 'recovery.yaml');
    command.action(async (...all: unknown[]) => {
      const args = all.slice(0, -2) as string[];
      const options = command.opts<Parameters<typeof body>[1] & { config?: string }>();
      const context = openContext(load, options.config ?? program.opts<{ config: string }>().config, streams);
      try {
        exitCode = await body(context, options, ...args);
      } catch (error) {
        exitCode = fail(toRecoveryError(error), { json: options.json === true, streams });
      } finally {
        await context.close();
      }
    });
  };
  addDirectCommands(define);
  addRunCommands(define);
  return {
    run: async (argv) => {
      try {
        await program.parseAsync(argv);
      } catch (error) {
        // Commander has printed what was wrong; --help and --version end here too.
        if (!(error instanceof CommanderError)) throw error;
        return error.exitCode === 0 ? 0 : 2;
      }
      return exitCode;
    },
  };
}

function openContext(
  load: (configPath: string) => Promise<DirectActions>,
  configPath: string,
  streams: Streams,
): CommandContext & { close(): Promise<void> } {
  let direct: DirectActions | null = null;
  let temporal: Awaited<ReturnType<typeof connect>> | null = null;
  return {
    streams,
    direct: async () => (direct ??= await load(configPath)),
    temporal: async () => {
      temporal ??= await connect();
      return { client: temporal.client, recoveries: new Recoveries(temporal.client) };
    },
    close: async () => {
      await direct?.close();
      await temporal?.close();
    },
  };
}

export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

export function required(value: string | undefined, field: string): string {
  if (value === undefined || value === '') throw new RecoveryError('INPUT_INVALID', `${field} is missing`, { field });
  return value;
}
