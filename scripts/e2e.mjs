// `npm run e2e -- [--provider embedded|servers|external]… [--scenario NAME]`: set-up, build, and the scenarios of
// test/e2e on these providers. Without a provider: embedded, servers, and external where E2E_RECOVERY_YAML is set.
// NAME is a part of a scenario's name, as the table at the end of a run prints it.

import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const PROVIDERS = ['embedded', 'servers', 'external'];
const USAGE = `usage: npm run e2e -- [--provider ${PROVIDERS.join('|')}]… [--scenario NAME]
  external: the cluster of E2E_RECOVERY_YAML, broken by the commands of E2E_CLUSTER_COMMANDS; all it holds is lost
`;

const { provider: providers, scenario } = parse(process.argv.slice(2));
run('setup.mjs');
const filter = scenario === undefined ? [] : ['-t', scenario.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')];
const env = providers.length > 0 ? { E2E_PROVIDERS: providers.join(',') } : {};
run('test.mjs', ['--project', 'e2e', ...scenarioFiles(), ...filter], env);

function parse(args) {
  try {
    const options = { provider: { type: 'string', multiple: true, default: [] }, scenario: { type: 'string' } };
    const { values } = parseArgs({ args, options });
    const unknown = values.provider.find((name) => !PROVIDERS.includes(name));
    if (unknown !== undefined) throw new Error(`${unknown} is no provider`);
    if (values.provider.includes('external') && process.env.E2E_RECOVERY_YAML === undefined)
      throw new Error('external needs E2E_RECOVERY_YAML, the path of the recovery.yaml of that cluster');
    return values;
  } catch (error) {
    process.stderr.write(`${error.message}\n${USAGE}`);
    process.exit(2);
  }
}

/** Those that register scenarios, by what they import. */
function scenarioFiles() {
  const dir = join(root, 'test/e2e');
  return readdirSync(dir)
    .filter((file) => readFileSync(join(dir, file), 'utf8').includes("'../support/scenarios.js'"))
    .map((file) => `test/e2e/${file}`);
}

function run(script, args = [], env = {}) {
  const command = [join(root, 'scripts', script), ...args];
  const { status } = spawnSync(process.execPath, command, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (status !== 0) process.exit(status ?? 1);
}
