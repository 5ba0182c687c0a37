/** The package as another team gets it: packed, installed into a fresh project, and run beside that project's own workflow. */
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Report } from '../../src/domain/report.js';
import { createDataset } from '../support/dataset.js';
import { compareSnapshots, takeSnapshot } from '../support/oracle.js';
import { scratchDir, start, stop, waitFor } from '../support/processes.js';
import { CLUSTER, startRig, type Rig } from '../support/recovery-rig.js';
import { repoRoot } from '../support/tools.js';

const run = promisify(execFile);
const { version, name } = JSON.parse(readFileSync(join(repoRoot, 'package.json'), 'utf8')) as Record<string, string>;
const bin = (tool: string) => join(repoRoot, 'node_modules/.bin', tool);

let scratch: ReturnType<typeof scratchDir>;
let host: string;
let tarball: string;

const node = (...args: string[]) => run(process.execPath, args, { cwd: host });

/** What runs in the host is the host's: the exit code and all that it prints. */
const failureOf = (script: string) =>
  node('--input-type=module', '-e', script).then(
    () => '',
    (error: { stderr: string }) => error.stderr,
  );

beforeAll(async () => {
  scratch = scratchDir('tcr-package');
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', scratch.path], { cwd: repoRoot });
  tarball = join(scratch.path, `${name}-${version}.tgz`);
  host = join(scratch.path, 'host');
  mkdirSync(host);
  const sdk = Object.fromEntries(['client', 'worker', 'workflow'].map((each) => [`@temporalio/${each}`, sdkVersion()]));
  writeFileSync(
    join(host, 'package.json'),
    JSON.stringify({
      name: 'host',
      private: true,
      type: 'module',
      dependencies: { ...sdk, [name!]: `file:${tarball}` },
    }),
  );
  cpSync(join(repoRoot, 'test/support/host'), host, { recursive: true });
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];
  // The one install script that counts compiles the ZooKeeper client for a minute: `npm run setup` has done it.
  await run('npm', ['install', '--ignore-scripts', ...quiet], { cwd: host, maxBuffer: 1e8 });
  cpSync(join(repoRoot, 'node_modules/zookeeper/build'), join(host, 'node_modules/zookeeper/build'), {
    recursive: true,
  });
}, 300_000);

afterAll(() => scratch?.remove());

function sdkVersion(): string {
  const file = join(repoRoot, 'node_modules/@temporalio/worker/package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

describe('the package', () => {
  it('is what publint and attw expect', async () => {
    await run(bin('publint'), ['run', tarball, '--strict'], { cwd: repoRoot });
    await run(bin('attw'), [tarball, '--profile', 'esm-only'], { cwd: repoRoot });
  });

  it('brings one Temporal SDK, and no engine', () => {
    expect(existsSync(join(host, 'node_modules', name!, 'dist/plugin.js'))).toBe(true);
    expect(existsSync(join(host, 'node_modules', name!, 'node_modules'))).toBe(false);
    expect(existsSync(join(host, 'node_modules/chdb'))).toBe(false);
    expect(existsSync(join(host, 'node_modules/@temporalio/interceptors-opentelemetry'))).toBe(false);
    const files = readdirSync(join(host, 'node_modules', name!), { recursive: true }) as string[];
    expect(files.filter((file) => /\.map$|\.build-stamp|^(test|src)\b/.test(file))).toEqual([]);
  });

  it('has types that a strict host compiles, our own declarations with them', async () => {
    const types = ['--types', 'node', '--typeRoots', join(repoRoot, 'node_modules/@types')];
    const options = [
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--strict',
      '--noEmit',
      '--pretty',
      'false',
      ...types,
    ];
    const said = await run(bin('tsc'), [...options, 'types.mts'], { cwd: host }).catch((error: unknown) => error);
    const errors = (said as { stdout: string }).stdout.split('\n').filter((line) => line.includes('error TS'));
    // Temporal's own want @types/ms, which they do not bring.
    expect(errors.filter((line) => !line.startsWith('node_modules/@temporalio/'))).toEqual([]);
  });

  it('has a command line', async () => {
    expect((await node(join('node_modules', name!, 'dist/cli.js'), '--version')).stdout.trim()).toBe(version);
  });

  it('can be required from CommonJS, and its client loads no native code', async () => {
    const script = `
      const { Recoveries } = require('${name}/client');
      const native = Object.keys(require.cache).concat(process.report.getReport().sharedObjects).filter((f) => /core-bridge|zookeeper/.test(f));
      const { ClickHouseRecoveryPlugin } = require('${name}');
      console.log(typeof Recoveries, typeof ClickHouseRecoveryPlugin, native.length);`;
    writeFileSync(join(host, 'required.cjs'), script);
    expect((await node('--no-warnings', 'required.cjs')).stdout.trim()).toBe('function function 0');
  });

  it('says what to install where traces are wanted', async () => {
    const script = `import { startTracing } from './node_modules/${name}/dist/observability/tracing.js'; await startTracing({ OTEL_TRACES_EXPORTER: 'otlp' });`;
    expect(await failureOf(script)).toContain('npm install @temporalio/interceptors-opentelemetry');
  });

  it('refuses a bundle that was made with another version of the SDK', async () => {
    const file = join(host, 'node_modules', name!, 'dist/workflow-bundle.json');
    const before = readFileSync(file, 'utf8');
    writeFileSync(file, '{"sdk":"1.0.0"}');
    const said = await failureOf(`import { workflowBundle } from '${name}/bundle'; workflowBundle();`);
    writeFileSync(file, before);
    expect(said).toContain('BUNDLE_MISMATCH');
  });
});

describe('in a worker of its host, on real systems', () => {
  let rig: Rig;

  beforeAll(async () => {
    rig = await startRig({ dir: join(scratch.path, 'rig'), shards: 1 });
  });
  afterAll(async () => {
    await rig?.stop();
  });

  async function ask(kind: 'path' | 'bundle'): Promise<{ said: string | null; report: Report }> {
    const worker = await start({
      name: `host-${kind}`,
      command: process.execPath,
      args: ['worker.mjs', kind, kind],
      cwd: host,
      logFile: join(scratch.path, `host-${kind}.log`),
      env: rig.env,
    });
    try {
      const isReady = () => worker.logTail(Infinity).includes('worker ready') || !worker.isRunning();
      await waitFor(isReady, { what: 'the host', deadlineMs: 60_000 });
      expect(worker.isRunning(), worker.logTail()).toBe(true);
      const request = JSON.stringify({ cluster: CLUSTER, approval: 'auto' });
      const { stdout } = await run(process.execPath, ['ask.mjs', kind, kind, request], { cwd: host, env: rig.env });
      return JSON.parse(stdout) as { said: string; report: Report };
    } finally {
      expect(await stop(worker, 30_000)).toEqual({ code: 0, signal: null });
    }
  }

  it('the host’s workflow runs, and a recovery brings a cluster without ZooKeeper’s metadata back', async () => {
    const judged = { nodes: rig.nodes, keeperHosts: rig.ensemble.hosts };
    await createDataset(rig.nodes, 'small');
    const before = await takeSnapshot(judged);
    await rig.disaster();
    const { said, report } = await ask('path');
    expect(said).toBe('hello you');
    expect(report.outcome).toBe('succeeded');
    expect(report.tables.filter(({ outcome }) => outcome === 'recovered').length).toBeGreaterThan(0);
    expect(compareSnapshots(before, await takeSnapshot(judged))).toEqual([]);
  });

  it('with the prebuilt bundle too: now there is nothing to do', async () => {
    expect((await ask('bundle')).report.outcome).toBe('nothing-to-do');
  });
});
