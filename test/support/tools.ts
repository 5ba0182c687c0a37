import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout's root folder. */
export const repoRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const missing = (what: string) => new Error(`${what} not found: run \`npm run setup\``);

export function findOnPath(name: string): string | undefined {
  for (const dir of (process.env['PATH'] ?? '').split(delimiter)) {
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

/** The Temporal CLI: the one `npm run setup` installed, else the one on PATH. */
export function findTemporal(): string {
  const installed = join(repoRoot, '.tools/temporal/bin/temporal');
  if (existsSync(installed)) return installed;
  const found = findOnPath('temporal');
  if (found === undefined) throw missing('the Temporal CLI');
  return found;
}

/** Prometheus's checker of rules; undefined where there is none, since only a check of documentation needs it. */
export function findPromtool(): string | undefined {
  const installed = join(repoRoot, '.tools/prometheus/promtool');
  return existsSync(installed) ? installed : findOnPath('promtool');
}

export function findJava(): string {
  const found = findOnPath('java');
  if (found === undefined) throw missing('java');
  return found;
}

/**
 * What goes on Java's class path to run ZooKeeper, first an unpacked distribution (`.tools/zookeeper/lib`, then
 * `$ZOOKEEPER_HOME/lib`), then Debian's jars.
 */
export function findZooKeeperJars(): string[] {
  const home = process.env['ZOOKEEPER_HOME'];
  for (const dir of [join(repoRoot, '.tools/zookeeper/lib'), ...(home ? [join(home, 'lib')] : [])]) {
    if (existsSync(dir) && readdirSync(dir).some((file) => /^zookeeper.*\.jar$/.test(file))) return [join(dir, '*')];
  }
  // Debian's zookeeper.jar names what it needs in its manifest, all but a logger. Not /usr/share/java/*: on a
  // machine with other Java programs that is hundreds of jars, with several loggers among them.
  const debian = '/usr/share/java';
  if (!existsSync(join(debian, 'zookeeper.jar'))) throw missing('ZooKeeper');
  return ['zookeeper.jar', 'slf4j-log4j12.jar', 'log4j-1.2.jar'].map((jar) => join(debian, jar));
}
