/**
 * `npm run demo [-- --keep] [--json FILE]`: a cluster loses ZooKeeper and a shard's data and gets both back, while the
 * worker is killed in the middle. Exit 0 only if an independent check finds what was there before.
 */
import { writeFileSync } from 'node:fs';
import { Recoveries, connect } from '../src/service/recoveries.js';
import { ProgressView } from '../src/interfaces/cli/progress-view.js';
import type { Progress } from '../src/domain/messages.js';
import type { Report } from '../src/domain/report.js';
import { createDataset } from '../test/support/dataset.js';
import { compareSnapshots, takeSnapshot } from '../test/support/oracle.js';
import { scratchDir, waitFor, type Child } from '../test/support/processes.js';
import { CLUSTER, REPOSITORY, startRig, type CliResult, type Rig } from '../test/support/recovery-rig.js';

const args = process.argv.slice(2);
const keep = args.includes('--keep');
const jsonAt = args.indexOf('--json');
const jsonFile = jsonAt < 0 ? null : args[jsonAt + 1];
const unknown = args.find((arg, index) => arg !== '--keep' && arg !== '--json' && (jsonAt < 0 || index !== jsonAt + 1));
if (unknown !== undefined || (jsonAt >= 0 && (jsonFile === undefined || jsonFile === null))) {
  process.stderr.write(`usage: npm run demo -- [--keep] [--json FILE]\n`);
  process.exit(2);
}

const startedAt = Date.now();
const say = (text: string) => process.stdout.write(`${text}\n`);
const heading = (text: string) => say(`\n[${((Date.now() - startedAt) / 1000).toFixed(1).padStart(5)} s] ${text}`);

function mustSucceed(what: string, result: CliResult): CliResult {
  if (result.exitCode !== 0)
    throw new Error(`${what} ended with exit code ${result.exitCode}\n${result.stderr}${result.stdout}`);
  return result;
}

/** Follows the recovery; kills the worker once a third of the tables are done or under way, and starts another. */
async function followAndKill(rig: Rig, recoveries: Recoveries, id: string, first: Child): Promise<{ killed: boolean }> {
  const view = new ProgressView({
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    isTty: process.stdout.isTTY === true,
  });
  let killed = false;
  let worker: Child = first;
  const started = (progress: Progress) =>
    progress.units.filter((unit) => unit.state === 'validate' || unit.state === 'restore-replica').length;
  await recoveries.watch(
    id,
    (progress) => {
      view.show(progress);
      const third = Math.ceil(progress.units.length / 3);
      if (killed || progress.phase !== 'executing' || started(progress) < third) return;
      killed = true;
      process.kill(worker.pid, 'SIGKILL');
      say(`\n>>> worker ${worker.pid} killed with SIGKILL in the middle; starting another\n`);
      void rig.startWorker().then((next) => {
        worker = next;
      });
    },
    100,
  );
  return { killed };
}

async function run(rig: Rig): Promise<boolean> {
  heading('creating three databases of replicated tables on each of three shards');
  await createDataset(rig.nodes, 'demo');
  const judge = { nodes: rig.nodes, keeperHosts: rig.ensemble.hosts };
  const before = await takeSnapshot(judge);
  heading('ch-recover backup --cluster demo --to local --wait');
  const worker = await rig.startWorker();
  say(
    mustSucceed(
      'the backup',
      await rig.cli('backup', '--cluster', CLUSTER, '--to', REPOSITORY, '--wait'),
    ).stdout.trimEnd(),
  );

  heading("disaster: every node stopped, ZooKeeper's data wiped, the data of shard 02 deleted");
  await rig.disaster({ lostShards: [1] });

  heading('ch-recover start --cluster demo --backup latest --yes');
  const started = JSON.parse(
    mustSucceed('start', await rig.cli('start', '--cluster', CLUSTER, '--backup', 'latest', '--yes', '--json')).stdout,
  ) as { id: string };
  if (rig.temporal.uiAddress)
    say(`watch it in the Temporal UI: ${url(rig)}/namespaces/default/workflows/${started.id}`);
  process.env['TEMPORAL_ADDRESS'] = rig.temporal.address;
  const connected = await connect();
  const { killed } = await followAndKill(rig, new Recoveries(connected.client), started.id, worker);
  await connected.close();

  heading(`ch-recover report ${started.id}`);
  const markdown = await rig.cli('report', started.id);
  say(markdown.stdout.trimEnd());
  const report = JSON.parse((await rig.cli('report', started.id, '--json')).stdout) as Report;
  if (typeof jsonFile === 'string') writeFileSync(jsonFile, `${JSON.stringify(report, null, 2)}\n`);

  heading('independent check: rows, content hashes, part hashes and ZooKeeper against what was there before');
  const differences = compareSnapshots(before, await takeSnapshot(judge));
  for (const difference of differences) say(`  DIFFERENT ${difference}`);
  const good = differences.length === 0 && report.outcome === 'succeeded' && killed;
  say(
    good
      ? '  the same: no row lost, none doubled'
      : `  outcome ${report.outcome}, worker killed: ${String(killed)}, ${differences.length} differences`,
  );
  return good;
}

function url(rig: Rig): string {
  const address = rig.temporal.uiAddress ?? '';
  return address.startsWith('http') ? address : `http://${address}`;
}

const dir = scratchDir('ch-recover-demo');
let code = 1;
let rig: Rig | null = null;
process.once('SIGINT', () => process.exit(130));
try {
  heading('starting Temporal, a ZooKeeper ensemble of three and three ClickHouse 26.7 nodes');
  rig = await startRig({ dir: dir.path, shards: 3, keepers: 3, ui: true });
  say(`Temporal UI: ${url(rig)}   Temporal: ${rig.temporal.address}   configuration: ${rig.configPath}`);
  code = (await run(rig)) ? 0 : 1;
  heading(code === 0 ? 'the demo succeeded' : 'THE DEMO FAILED');
  if (keep) {
    say(
      `everything stays up until Ctrl-C; try: TEMPORAL_ADDRESS=${rig.temporal.address} node dist/cli.js doctor --cluster ${CLUSTER} --config ${rig.configPath}`,
    );
    await waitFor(() => false, { what: 'Ctrl-C', deadlineMs: 2 ** 31 - 1, everyMs: 1_000 });
  }
} catch (error) {
  process.stderr.write(`\nthe demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
} finally {
  if (rig) await rig.stop();
  dir.remove();
}
process.exit(code);
