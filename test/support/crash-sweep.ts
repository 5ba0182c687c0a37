/** The worker is killed at one point after the other of one recovery; whoever comes next goes on. */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Report } from '../../src/domain/report.js';
import { CLUSTER, type Rig, type ServersRig } from './recovery-rig.js';
import { repoRoot } from './tools.js';

export interface CrashSweep {
  /** See crash-worker.ts. */
  points: readonly string[];
  /** Of `ch-recover start`, after `--cluster`. */
  args?: readonly string[];
  /** Folder for the markers of the points that were spent; made here. */
  markers: string;
}

export interface SweepResult {
  report: Report;
  /** Points that no worker came to. */
  missed: string[];
}

/**
 * Each with one activity at a time: a kill then costs one activity an attempt, whose back-off grows with every one, and
 * several points are come to at once.
 */
const WORKERS = 4;
/** Further workers that may be started; more, and they end by themselves. */
const SPARE = 2;

/**
 * Starts a recovery and keeps some workers at it, so that others are there when one is killed.
 * @throws Error when workers end that were not killed
 */
export async function sweepCrashes(rig: Rig | ServersRig, { points, args = [], markers }: CrashSweep) {
  mkdirSync(markers);
  const started = await rig.cli('start', '--cluster', CLUSTER, ...args, '--yes', '--json');
  if (started.exitCode !== 0) throw new Error(`the recovery did not start: ${started.stderr}`);
  const { id } = JSON.parse(started.stdout) as { id: string };
  const script = join(repoRoot, 'test/support/crash-worker.ts');
  const workerEnv = { CRASH_POINTS: JSON.stringify(points), CRASH_DIR: markers, SLOTS: '1' };
  let isOver = false;
  let starts = 0;
  const over = rig.cli('report', id, '--json').finally(() => {
    isOver = true;
  });
  const keepOneRunning = async () => {
    let last = '';
    while (!isOver) {
      if (++starts > points.length + WORKERS + SPARE)
        throw new Error(`workers end by themselves; the last one said: ${last}`);
      const worker = await rig.startWorker({ script, workerEnv });
      await Promise.race([worker.exited, over]);
      last = worker.logTail(30);
    }
  };
  const [{ stdout, stderr }] = await Promise.all([over, ...Array.from({ length: WORKERS }, keepOneRunning)]);
  if (stdout === '') throw new Error(`there is no report: ${stderr}`);
  const spent = readdirSync(markers);
  const missed = points.filter((point) => !spent.includes(encodeURIComponent(point)));
  return { report: JSON.parse(stdout) as Report, missed } satisfies SweepResult;
}

/** Before, and after its last step but before Temporal hears of it. */
export const aroundActivities = (types: readonly string[]) =>
  types.flatMap((type) => [`activity/${type}/start`, `activity/${type}/ack`]);

/** After the first statement, before its answer. */
export const inActivities = (types: readonly string[]) => types.map((type) => `activity/${type}/statement`);

export const atStatements = (texts: readonly string[], when: 'before' | 'after') =>
  texts.map((text) => `sql/${text}/${when}`);
