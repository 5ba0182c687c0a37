/**
 * `npm run demo [-- --provider embedded|servers] [--keep] [--json FILE]`: a cluster loses ZooKeeper and data (shows.ts)
 * and gets both back, while the worker is killed in the middle. Exit 0 only if the report says so and an independent
 * check finds what was there before.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { processStreams } from '../src/interfaces/cli/output.js';
import { ProgressView } from '../src/interfaces/cli/progress-view.js';
import type { Progress } from '../src/domain/messages.js';
import type { Report } from '../src/domain/report.js';
import { Recoveries, connect } from '../src/service/recoveries.js';
import { compareSnapshots, takeSnapshot } from '../test/support/oracle.js';
import { kill, scratchDir, type Child } from '../test/support/processes.js';
import { CLUSTER, type CliResult } from '../test/support/recovery-rig.js';
import { parseArguments, USAGE } from './arguments.js';
import { STAGES, type DemoRig, type Show } from './shows.js';

/** How often the progress is asked for: often enough to meet a stage that takes half a second. */
const POLL_MS = 100;

const startedAt = performance.now();
const say = (text: string) => process.stdout.write(`${text}\n`);
const heading = (text: string) =>
  say(`\n[${((performance.now() - startedAt) / 1000).toFixed(1).padStart(5)} s] ${text}`);
const newView = () => new ProgressView(processStreams);

function mustSucceed(what: string, result: CliResult): string {
  if (result.exitCode !== 0)
    throw new Error(`${what} ended with exit code ${result.exitCode}\n${result.stderr}${result.stdout}`);
  return result.stdout;
}

/** A third of the tables have their replica, and at least one is about to get it: the worst moment to die. */
function isTheMiddle({ phase, units }: Progress): boolean {
  const restored = units.filter(({ state }) => state === 'validate' || state === 'done').length;
  return phase === 'executing' && restored >= units.length / 3 && inFlight(units).length > 0;
}

const inFlight = (units: Progress['units']) => units.filter(({ state }) => state === 'restore-replica');

/** Follows the recovery to its end. Kills the worker in the middle, and starts another. */
async function followAndKill(rig: DemoRig, recoveries: Recoveries, id: string, worker: Child): Promise<boolean> {
  let view = newView();
  let replacement: Promise<Child> | null = null;
  const replaceWorker = async (progress: Progress): Promise<Child> => {
    await kill(worker);
    const labels = inFlight(progress.units).map(({ label }) => label);
    say(`\n>>> worker ${worker.pid} killed with SIGKILL, with ${labels.length} tables in restore-replica:`);
    for (const label of labels) say(`      ${label}`);
    // On a terminal the picture goes on below these lines instead of over them.
    if (processStreams.isTty) view = newView();
    const next = await rig.startWorker();
    say(`>>> worker ${next.pid} took over\n`);
    if (processStreams.isTty) view = newView();
    return next;
  };
  // Without a second worker the recovery would wait for ever, so its failure to start ends the demo.
  let fail: (cause: unknown) => void;
  const failed = new Promise<never>((_, reject) => (fail = reject));
  const watching = recoveries.watch(
    id,
    (progress) => {
      view.show(progress);
      if (replacement !== null || !isTheMiddle(progress)) return;
      replacement = replaceWorker(progress);
      replacement.catch(fail);
    },
    POLL_MS,
  );
  await Promise.race([watching, failed]);
  return replacement !== null;
}

async function recover({ rig, startArguments }: Show, worker: Child): Promise<{ report: Report; killed: boolean }> {
  const command = ['start', '--cluster', CLUSTER, ...startArguments, '--yes'];
  heading(`ch-recover ${command.join(' ')}`);
  const started = mustSucceed('start', await rig.cli(...command, '--json'));
  const { id } = JSON.parse(started) as { id: string };
  say(`watch it in the Temporal UI: ${rig.temporal.uiAddress}/namespaces/default/workflows/${id}`);
  const temporal = await connect();
  const killed = await followAndKill(rig, new Recoveries(temporal.client), id, worker);
  await temporal.close();

  heading(`ch-recover report ${id}`);
  say((await rig.cli('report', id)).stdout.trimEnd());
  return { report: JSON.parse((await rig.cli('report', id, '--json')).stdout) as Report, killed };
}

async function run(show: Show, jsonFile: string | null): Promise<boolean> {
  const { rig, live, lostForGood } = show;
  heading(show.dataset);
  await show.fill();
  const snapshot = () => takeSnapshot({ nodes: rig.cluster.nodes, keeperHosts: rig.ensemble.hosts, live });
  const before = await snapshot();
  say(`the independent check has seen ${before.size} tables and views`);

  const worker = await rig.startWorker();
  if (show.backup !== null) {
    const command = ['backup', '--cluster', CLUSTER, ...show.backup, '--wait'];
    heading(`ch-recover ${command.join(' ')}`);
    say(mustSucceed('the backup', await rig.cli(...command)).trimEnd());
  }

  heading(show.disaster);
  await show.lose();
  const damage = compareSnapshots(before, await snapshot());
  say(`the independent check finds ${damage.length} differences, such as:`);
  for (const difference of damage.slice(0, 3)) say(`  ${difference.slice(0, 110)}`);
  if (damage.length === 0) throw new Error('the disaster did nothing: what follows would prove nothing');

  const { report, killed } = await recover(show, worker);
  if (jsonFile !== null) writeFileSync(jsonFile, `${JSON.stringify(report, null, 2)}\n`);

  heading('independent check: rows, content hashes, parts and ZooKeeper against what was there before');
  const missing = lostForGood.map(({ node, database, table }) => `${node} \`${database}\`.\`${table}\` is missing`);
  const differences = compareSnapshots(before, await snapshot());
  const wrong = differences.filter((difference) => !missing.includes(difference));
  for (const { node, database, table } of lostForGood) {
    const isSaid = report.warnings.some((warning) => warning.startsWith(`${database}.${table} is not on ${node}`));
    if (!isSaid) wrong.push(`the report does not say that ${database}.${table} of ${node} is lost`);
    say(
      `  ${database}.${table} of ${node} was not replicated: nobody has a copy${isSaid ? ', and the report says so' : ''}`,
    );
  }
  for (const difference of wrong) say(`  DIFFERENT ${difference}`);
  const good = wrong.length === 0 && report.outcome === 'succeeded' && killed;
  const verdict = `report ${report.outcome}, ${wrong.length} differences, worker killed: ${killed ? 'yes' : 'no'}`;
  const same = before.size - lostForGood.length;
  say(good ? `  ${same} tables and views as before: no row lost, none doubled (${verdict})` : `  ${verdict}`);
  return good;
}

/** The logs that tell most: the newest worker's first. */
function logTails(rig: DemoRig): string {
  return [...rig.workers]
    .reverse()
    .slice(0, 2)
    .map(
      (worker) =>
        `--- ${worker.name} (${worker.isRunning() ? 'running' : 'ended'}), end of its log:\n${worker.logTail()}`,
    )
    .join('\n');
}

/** Rejects at Ctrl-C or SIGTERM, so that the cleaning up below runs; a second one ends the process at once. */
function interruption(): { happened: Promise<never>; code: () => number | null } {
  let code: number | null = null;
  let firstAt = 0;
  const happened = new Promise<never>((_, reject) => {
    for (const [signal, number] of [
      ['SIGINT', 2],
      ['SIGTERM', 15],
    ] as const)
      process.on(signal, () => {
        // One Ctrl-C can come twice: from the terminal, and passed on by tsx and npm.
        if (code !== null && performance.now() - firstAt > 1_000) process.exit(128 + number);
        if (code !== null) return;
        firstAt = performance.now();
        code = 128 + number;
        reject(new Error(`${signal}: cleaning up`));
      });
  });
  happened.catch(() => undefined);
  return { happened, code: () => code };
}

async function main(): Promise<number> {
  const args = parseArguments(process.argv.slice(2));
  if (args === null) {
    process.stderr.write(USAGE);
    return 2;
  }
  const dir = scratchDir('ch-recover-demo');
  const { happened, code } = interruption();
  let rig: DemoRig | null = null;
  const stage = STAGES[args.provider];
  heading(stage.title);
  const starting = stage.start({ dir: dir.path, ui: true });
  try {
    const show = await Promise.race([starting, happened]);
    rig = show.rig;
    process.env['TEMPORAL_ADDRESS'] = rig.temporal.address;
    say(
      `Temporal UI: ${rig.temporal.uiAddress}   Temporal: ${rig.temporal.address}   configuration: ${rig.configPath}`,
    );
    const good = await Promise.race([run(show, args.jsonFile), happened]);
    heading(good ? 'the demo succeeded' : 'THE DEMO FAILED');
    if (!good) say(logTails(rig));
    if (args.keep) {
      say(`everything stays up until Ctrl-C (or: kill ${process.pid}), which removes ${dir.path}`);
      for (const node of rig.nodes) say(`  ${node.name}: ${node.url}`);
      say(`  ZooKeeper: ${rig.ensemble.connectString}`);
      say(
        `  try: TEMPORAL_ADDRESS=${rig.temporal.address} node dist/cli.js doctor --cluster ${CLUSTER} --config ${rig.configPath}`,
      );
      await Promise.race([delay(2 ** 31 - 1), happened]).catch(() => undefined);
    }
    return good ? 0 : 1;
  } catch (error) {
    const interrupted = code();
    process.stderr.write(`\nthe demo ${interrupted === null ? 'failed' : 'was interrupted'}: ${messageOf(error)}\n`);
    if (rig && interrupted === null) process.stderr.write(`${logTails(rig)}\n`);
    return interrupted ?? 1;
  } finally {
    rig ??= await starting.then((show) => show.rig).catch(() => null);
    await rig?.stop();
    dir.remove();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

process.exit(await main());
