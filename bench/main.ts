/**
 * `npm run bench`: what a recovery takes, against the same SQL from a bare script and against what one would use
 * instead, in one run on one machine. Writes bench/results.json and the table in README, which is made of it.
 *
 * Exit 1 only where it could not measure at all: a target that is missed is a result, and stands in the table.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { scratchDir } from '../test/support/processes.js';
import { repoRoot } from '../test/support/tools.js';
import { parseArguments, USAGE } from './arguments.js';
import type { Bench, Case } from './cases/case.js';
import { CASES } from './cases/index.js';
import { NO_RESULTS, withCase, type CaseResult, type Machine, type Results } from './model.js';
import { scaleMarkdown } from './scale.js';
import { startArena, type Arena } from './support/arena.js';
import { spliced, toMarkdown } from './table.js';

const RESULTS = join(repoRoot, 'bench/results.json');
const README = join(repoRoot, 'README.md');
const SCALE = join(repoRoot, 'docs/scale.md');

/** After so long `--quick` begins no further case: a machine that is busy is not made to wait for figures of no use. */
const QUICK_SECONDS = 120;

const startedAt = performance.now();
const seconds = () => (performance.now() - startedAt) / 1000;
const say = (text: string) => process.stdout.write(`[${seconds().toFixed(0).padStart(5)} s] ${text}\n`);

function machine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    os: `${type()} ${release()}`,
    node: process.versions.node,
  };
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { cwd: repoRoot, encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

function readResults(): Results {
  try {
    return JSON.parse(readFileSync(RESULTS, 'utf8')) as Results;
  } catch {
    return NO_RESULTS;
  }
}

/** As `npm run format` would leave it, so that the table stays what this wrote. */
async function pretty(file: string, text: string): Promise<string> {
  return format(text, { ...(await resolveConfig(file)), filepath: file });
}

async function writeTables(results: Results): Promise<void> {
  for (const [file, section] of [
    [README, toMarkdown(results)],
    [SCALE, scaleMarkdown(results)],
  ] as const) {
    const text = spliced(readFileSync(file, 'utf8'), section);
    if (text === null) throw new Error(`${file} has no place for the table`);
    writeFileSync(file, await pretty(file, text));
  }
}

async function runCase(each: Case, bench: Bench): Promise<CaseResult> {
  const before = seconds();
  const rows = await each.run(bench);
  return {
    ...{ at: new Date().toISOString(), commit: commit(), machine: machine(), rounds: bench.rounds },
    seconds: Math.round(seconds() - before),
    rows,
  };
}

async function main(): Promise<number> {
  const args = parseArguments(
    process.argv.slice(2),
    CASES.map(({ name }) => name),
  );
  if (args === null) {
    process.stderr.write(`${USAGE}cases: ${CASES.map(({ name }) => name).join(', ')}\n`);
    return 2;
  }
  if (args.tableOnly) {
    await writeTables(readResults());
    return 0;
  }
  const scratch = scratchDir('ch-recover-bench');
  // Also where a signal ends us.
  process.on('exit', () => scratch.remove());
  const chosen = CASES.filter(({ name, quick }) =>
    args.cases.length > 0 ? args.cases.includes(name) : quick || !args.quick,
  );
  let results: Results = args.quick ? NO_RESULTS : readResults();
  let current: { key: string; arena: Arena } | null = null;
  let folders = 0;
  const newFolder = (name: string) => join(scratch.path, `${++folders}-${name}`);
  const closeArena = async () => {
    await current?.arena.stop();
    current = null;
  };
  const bench: Bench = {
    quick: args.quick,
    rounds: args.rounds ?? (args.quick ? 1 : 2),
    sizes: args.sizes,
    say,
    dir: newFolder,
    closeArena,
    results: () => results,
    arena: async (options) => {
      const key = JSON.stringify(options);
      if (current?.key !== key) {
        await closeArena();
        current = { key, arena: await startArena({ ...options, dir: newFolder('arena') }) };
      }
      return current.arena;
    },
  };
  const keep = async () => {
    if (args.jsonFile !== null) writeFileSync(args.jsonFile, `${JSON.stringify(results, null, 2)}\n`);
    if (args.jsonFile !== null || args.quick) return;
    writeFileSync(RESULTS, await pretty(RESULTS, JSON.stringify(results)));
    await writeTables(results);
  };
  let broken = 0;
  try {
    for (const each of chosen) {
      if (args.quick && seconds() > QUICK_SECONDS) {
        say(`case ${each.name} left out: ${QUICK_SECONDS} s are over`);
        continue;
      }
      say(`case ${each.name}`);
      try {
        results = withCase(results, each.name, await runCase(each, bench));
        // After each: hours of figures do not go with the last one's failure.
        await keep();
      } catch (error) {
        broken++;
        say(`case ${each.name} could not be measured: ${error instanceof Error ? error.stack : String(error)}`);
        await closeArena();
      }
    }
  } finally {
    await closeArena();
  }
  process.stdout.write(`\n${toMarkdown(results)}\n`);
  return broken > 0 ? 1 : 0;
}

process.exit(await main());
