import { userInfo } from 'node:os';
import type { Command } from 'commander';
import type { DirectActions } from '../../service/direct.js';
import type { DrillService } from '../../service/drills.js';
import type { RecoveryService } from '../../service/recoveries.js';
import type { ExitCode, Streams } from './output.js';

/** What a command gets: its streams, and what it may ask for. Both are opened at first use and closed at the end. */
export interface CommandContext {
  streams: Streams;
  direct(): Promise<DirectActions>;
  recoveries(): Promise<RecoveryService>;
  drills(): Promise<DrillService>;
  /** The task queue of recovery.yaml; the default one where no file is named and none is there. */
  taskQueue(): Promise<string>;
}

export interface CommonOptions {
  json?: boolean;
}

/** A command's body: prints, and says how it ended. */
type Body<Options> = (context: CommandContext, options: Options, ...args: string[]) => Promise<ExitCode>;

export type Define = <Options extends CommonOptions>(
  name: string,
  description: string,
  configure: (command: Command) => Command,
  body: Body<Options>,
) => void;

export function collect(value: string, before: string[] | undefined): string[] {
  return [...(before ?? []), value];
}

/** Who decides, as far as this machine knows: it goes into the report, marked as stated. `$USER` is unset under cron. */
export function whoIsHere(): string {
  if (process.env['USER']) return process.env['USER'];
  try {
    return userInfo().username;
  } catch {
    return 'unknown';
  }
}
