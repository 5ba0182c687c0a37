/** `temporal-clickhouse-recovery/bundle`: our workflows, bundled when this package was built. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { RecoveryError } from './domain/errors.js';

/**
 * For `Worker.create({ workflowBundle: workflowBundle() })` in a worker that has no workflows of its own: it starts
 * without bundling. Throws RecoveryError `BUNDLE_MISMATCH` where the worker's SDK is not the one it was made with.
 */
export function workflowBundle(): { codePath: string } {
  const built = JSON.parse(readFileSync(new URL('./workflow-bundle.json', import.meta.url), 'utf8')) as { sdk: string };
  const { version } = createRequire(import.meta.url)('@temporalio/worker/package.json') as { version: string };
  if (version !== built.sdk)
    throw new RecoveryError('BUNDLE_MISMATCH', `the bundle is of @temporalio/worker ${built.sdk}, here is ${version}`);
  return { codePath: fileURLToPath(new URL('./workflow-bundle.js', import.meta.url)) };
}
