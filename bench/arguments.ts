import { parseArgs } from 'node:util';

export interface Arguments {
  quick: boolean;
  /** Names of cases; empty: all. */
  cases: string[];
  sizes: number[] | null;
  rounds: number | null;
  /** Only the table in README, from what is in bench/results.json. */
  tableOnly: boolean;
  jsonFile: string | null;
}

export const USAGE = `npm run bench [-- --quick] [-- --case NAME]… [--sizes N,N] [--rounds N] [--json FILE]
  --quick    small sizes, under three minutes; writes nothing but FILE
  --case     only this one; the figures of the others stay as they are. See bench/cases/
  --sizes    instead of the case's own: tables, or gigabytes
  --rounds   how often each side runs (default 2, quick 1); the better counts
  --table    only writes the table in README anew, from bench/results.json
  --json     where results go instead of bench/results.json and README
`;

/** Null: they cannot be understood. */
export function parseArguments(args: string[], known: readonly string[]): Arguments | null {
  try {
    const { values } = parseArgs({
      args,
      options: {
        quick: { type: 'boolean', default: false },
        case: { type: 'string', multiple: true, default: [] },
        sizes: { type: 'string' },
        rounds: { type: 'string' },
        table: { type: 'boolean', default: false },
        json: { type: 'string' },
      },
    });
    const sizes = values.sizes?.split(',').map(Number) ?? null;
    const rounds = values.rounds === undefined ? null : Number(values.rounds);
    if (values.case.some((name) => !known.includes(name))) return null;
    if (sizes?.some((size) => !(size > 0)) || (rounds !== null && !(rounds >= 1))) return null;
    return {
      ...{ quick: values.quick, cases: values.case, sizes, rounds, tableOnly: values.table },
      jsonFile: values.json ?? null,
    };
  } catch {
    return null;
  }
}
