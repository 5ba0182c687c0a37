// Adds to package-lock.json the entries of other platforms' binaries that npm left out.
//
// Run it after an `npm install` that changed @swc/core or chdb. npm leaves an optional package out of the lock
// where the registry it asks does not serve it (a mirror without the macOS builds, say), and `npm ci` then refuses
// the lock for being incomplete: 'Missing: @swc/core-darwin-arm64@ from lock file'. Their versions are known, since
// the package that wants them pins them; their hashes are not, so these entries have no `integrity`, and npm fills
// it in on a machine of that platform.

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const file = join(dirname(dirname(fileURLToPath(import.meta.url))), 'package-lock.json');
const lock = JSON.parse(readFileSync(file, 'utf8'));
const added = [];

for (const parent of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`;
    if (path in lock.packages) continue;
    lock.packages[path] = platformEntry(name, version, parent);
    added.push(name);
  }
}

if (added.length > 0) {
  const entries = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
  writeFileSync(file, `${JSON.stringify({ ...lock, packages: Object.fromEntries(entries) }, null, 2)}\n`);
}
console.log(
  added.length > 0 ? `package-lock.json: added ${added.join(', ')}` : 'package-lock.json: nothing is missing',
);

function platformEntry(name, version, parent) {
  const platform = /-(?<os>darwin|linux|win32)-(?<cpu>arm64|arm|x64|ia32|ppc64|s390x)/.exec(name)?.groups;
  if (platform === undefined || !/^\d+\.\d+\.\d+/.test(version)) {
    throw new Error(`${name}@${version} is not a platform's binary with a pinned version: look at it by hand`);
  }
  return {
    version,
    cpu: [platform.cpu],
    ...(parent.dev ? { dev: true } : {}),
    ...(name.endsWith('-gnu') ? { libc: ['glibc'] } : {}),
    optional: true,
    os: [platform.os],
  };
}
