export const USAGE = 'usage: npm run demo -- [--keep] [--json FILE]\n';

export interface DemoArguments {
  /** Leave everything running at the end, until Ctrl-C. */
  keep: boolean;
  /** Where the report goes as JSON. */
  jsonFile: string | null;
}

/** Null where the arguments are not ours. */
export function parseArguments(argv: readonly string[]): DemoArguments | null {
  const found: DemoArguments = { keep: false, jsonFile: null };
  const rest = [...argv];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--keep') found.keep = true;
    else if (arg === '--json') {
      const file = rest.shift();
      if (file === undefined || file.startsWith('--')) return null;
      found.jsonFile = file;
    } else return null;
  }
  return found;
}
