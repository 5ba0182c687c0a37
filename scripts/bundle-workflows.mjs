// Bundles the compiled workflows once, at build time: a worker then starts without webpack, and every
// worker of one version runs the same bytes.

import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';

const dist = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist');

const { code } = await bundleWorkflowCode({
  workflowsPath: join(dist, 'workflows/index.js'),
  logger: new DefaultLogger('WARN'),
});
writeFileSync(join(dist, 'workflow-bundle.js'), code);
// A bundle fits the SDK it was made with, and no other: src/bundle.ts looks.
const { version } = createRequire(import.meta.url)('@temporalio/worker/package.json');
writeFileSync(join(dist, 'workflow-bundle.json'), `${JSON.stringify({ sdk: version })}\n`);
