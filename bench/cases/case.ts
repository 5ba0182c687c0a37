import type { Results, Row } from '../model.js';
import type { Arena, ArenaOptions } from '../support/arena.js';

/** What a case gets. */
export interface Bench {
  quick: boolean;
  /** How often each side runs; the better counts. */
  rounds: number;
  /** Instead of the case's own sizes. */
  sizes: number[] | null;
  say: (text: string) => void;
  /** The one that runs, or a new one where it is another: only one at a time takes CPU. */
  arena(options: Omit<ArenaOptions, 'dir'>): Promise<Arena>;
  /** What was measured so far, by earlier cases and earlier runs. */
  results(): Results;
  /** For a case that brings its own. */
  closeArena(): Promise<void>;
  /** A new folder, removed at the end. */
  dir(name: string): string;
}

export interface Case {
  name: string;
  /** Runs with `--quick`, in small. */
  quick: boolean;
  run(bench: Bench): Promise<Row[]>;
}
