/**
 * Finds out, once a run and before the files are read, what the providers of clusters can do: scenarios are registered
 * by it (scenarios.ts). `E2E_PROVIDERS`, comma-separated, chooses among them; without it: embedded, servers, and external
 * where `E2E_RECOVERY_YAML` says which.
 */
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { EMBEDDED_CAPABILITIES } from './embedded-cluster.js';
import { connectExternalCluster } from './external-cluster.js';
import { scratchDir } from './processes.js';
import { startServerCluster } from './server-cluster.js';
import { PROVIDERS, type Capability, type Provider } from './test-cluster.js';

export interface ProviderFacts {
  readonly provider: Provider;
  readonly capabilities: readonly Capability[];
  /** Why no scenario can run there, besides capabilities. */
  readonly obstacle?: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    /** Of those that were chosen. */
    providers: readonly ProviderFacts[];
  }
}

export async function setup(project: TestProject): Promise<void> {
  project.provide('providers', await Promise.all(chosen().map(probe)));
}

/** @throws Error for a name that is none */
function chosen(): Provider[] {
  const names = process.env['E2E_PROVIDERS'];
  if (names === undefined)
    return PROVIDERS.filter((name) => name !== 'external' || process.env['E2E_RECOVERY_YAML'] !== undefined);
  return names.split(',').map((name) => {
    const provider = PROVIDERS.find((each) => each === name);
    if (provider === undefined) throw new Error(`E2E_PROVIDERS: ${name} is none of ${PROVIDERS.join(', ')}`);
    return provider;
  });
}

async function probe(provider: Provider): Promise<ProviderFacts> {
  if (provider === 'embedded') return { provider, capabilities: [...EMBEDDED_CAPABILITIES, 'backups'] };
  // Set-up brings their clickhouse-backup.
  if (provider === 'servers') return { provider, capabilities: [...(await capabilitiesOfServers()), 'backups'] };
  const { capabilities, missingCommands, config, clusterName } = await connectExternalCluster();
  const backups = config.clusters[clusterName]?.backups ? (['backups'] as const) : [];
  const said = missingCommands.slice(0, 3).join(', ');
  const obstacle = missingCommands.length > 0 ? { obstacle: `no command: ${said}` } : {};
  return { provider, capabilities: [...capabilities, ...backups], ...obstacle };
}

/** One server, no Keeper: about a second. */
async function capabilitiesOfServers(): Promise<Capability[]> {
  const scratch = scratchDir('probe');
  try {
    const dir = join(scratch.path, 'clickhouse');
    const cluster = await startServerCluster({ dir, keeperHosts: [], shards: 1, replicas: 1 });
    await cluster.killAll();
    return [...cluster.capabilities];
  } finally {
    scratch.remove();
  }
}
