/** A worker that stops at chosen points of a recovery, so that a fault falls exactly there. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from './processes.js';
import type { ServersRig } from './recovery-rig.js';
import { repoRoot } from './tools.js';

export interface Hold {
  /** Waits until somebody has come to the point, and waits there. */
  reached(point: string): Promise<void>;
  /** All who wait there go on, and who comes later does not wait. */
  release(point: string): void;
}

const REACH_MS = 120_000;

const fileOf = (dir: string, state: string, point: string) => join(dir, `${state} ${encodeURIComponent(point)}`);
export const heldFile = (dir: string, point: string) => fileOf(dir, 'held', point);
export const goFile = (dir: string, point: string) => fileOf(dir, 'go', point);

/** `points`: see crash-worker.ts. */
export async function startHeldWorker(rig: ServersRig, points: readonly string[]): Promise<Hold> {
  const dir = join(rig.dir, 'holds');
  mkdirSync(dir);
  const worker = await rig.startWorker({
    script: join(repoRoot, 'test/support/crash-worker.ts'),
    workerEnv: { HOLD_POINTS: JSON.stringify(points), CRASH_DIR: dir },
  });
  return {
    reached: async (point) => {
      const look = () => existsSync(heldFile(dir, point)) || (worker.isRunning() ? false : 'ended');
      const state = await waitFor(look, { what: `the recovery to come to ${point}`, deadlineMs: REACH_MS });
      if (state === 'ended') throw new Error(`the worker ended; its log ends with:\n${worker.logTail(30)}`);
    },
    release: (point) => writeFileSync(goFile(dir, point), ''),
  };
}
