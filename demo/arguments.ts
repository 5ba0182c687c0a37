export const DEMO_PROVIDERS = ['embedded', 'servers'] as const;
export type DemoProvider = (typeof DEMO_PROVIDERS)[number];

export const USAGE = `usage: npm run demo -- [--provider ${DEMO_PROVIDERS.join('|')}] [--keep] [--json FILE]\n`;

export interface DemoArguments {
  /** @default 'embedded' */
  provider: DemoProvider;
  /** Leave everything running at the end, until Ctrl-C. */
  keep: boolean;
  /** Where the report goes as JSON. */
  jsonFile: string | null;
}

/** Null where the arguments are not ours. */
export function parseArguments(argv: readonly string[]): DemoArguments | null {
  const found: DemoArguments = { provider: 'embedded', keep: false, jsonFile: null };
  const rest = [...argv];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--keep') found.keep = true;
    else if (arg === '--provider') {
      const name = rest.shift();
      const provider = DEMO_PROVIDERS.find((each) => each === name);
      if (provider === undefined) return null;
      found.provider = provider;
    } else if (arg === '--json') {
      const file = rest.shift();
      if (file === undefined || file.startsWith('--')) return null;
      found.jsonFile = file;
    } else return null;
  }
  return found;
}
