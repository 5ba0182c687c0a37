/**
 * A scenario is written once and runs on every provider that can do what it needs. What did not run where, and why, is
 * in the names of the tests: `… [servers: lacks nativeBackup]`; matrix-reporter.ts makes a table of them.
 */
import { describe, inject, it } from 'vitest';
import type { ProviderFacts } from './probe-providers.js';
import { Scene } from './scene.js';
import type { Capability, Provider } from './test-cluster.js';

export interface Needs {
  /** @default none */
  needs?: readonly Capability[];
}

const SCENARIO_MS = 300_000;

function obstacleOf({ capabilities, obstacle }: ProviderFacts, needs: readonly Capability[]): string | null {
  const lacking = needs.filter((need) => !capabilities.includes(need));
  if (lacking.length > 0) return `lacks ${lacking.join(', ')}`;
  return obstacle ?? null;
}

/** Registers a scenario on each provider of this run. */
export function scenario(name: string, { needs = [] }: Needs, run: (scene: Scene) => Promise<void>): void {
  for (const facts of inject('providers')) {
    const obstacle = obstacleOf(facts, needs);
    if (obstacle !== null) {
      it.skip(`${name} [${facts.provider}: ${obstacle}]`, () => undefined);
      continue;
    }
    it(`${name} [${facts.provider}]`, { timeout: SCENARIO_MS }, async () => {
      const scene = new Scene(facts.provider);
      try {
        await run(scene);
      } finally {
        await scene.close();
      }
    });
  }
}

/** The same for a table of cases. `%s` in the name is the first of a case. */
scenario.each =
  <Rest extends unknown[]>(cases: readonly [string, ...Rest][]) =>
  (name: string, needs: Needs, run: (scene: Scene, ...rest: Rest) => Promise<void>): void => {
    for (const [text, ...rest] of cases)
      scenario(
        name.replace('%s', () => text),
        needs,
        (scene) => run(scene, ...rest),
      );
  };

/** Scenarios that only one provider can have, such as those that reach into its files. The others say what they lack, or nothing. */
export function describeOn(provider: Provider, title: string, { needs = [] }: Needs, body: () => void): void {
  const providers = inject('providers');
  const elsewhere = providers.flatMap((facts) => {
    const obstacle = facts.provider === provider ? null : obstacleOf(facts, needs);
    return obstacle === null ? [] : [` [${facts.provider}: ${obstacle}]`];
  });
  const isChosen = providers.some((facts) => facts.provider === provider);
  describe.skipIf(!isChosen)(`${title} [${provider}]${elsewhere.join('')}`, { timeout: SCENARIO_MS }, body);
}
