/** A destination of BACKUP and RESTORE, taken apart, so that it is put together again with quoting in one place. */
export interface DestinationTemplate {
  engine: 'Disk' | 'File' | 'S3';
  /** Name of a disk, for `Disk`. */
  disk?: string;
  /** Name of a collection, for `S3(collection, 'path')`. */
  collection?: string;
  /** Path or URL with {cluster}, {shard} and {name}. */
  path: string;
}

type Argument = { literal: string } | { identifier: string };

const PLACEHOLDERS = ['cluster', 'shard', 'name'];

/** Returns the complaint as text where `to` is not a destination. It never quotes the text: it may hold a secret. */
export function parseDestination(to: string): DestinationTemplate | string {
  const call = /^\s*(Disk|File|S3)\s*\(([\s\S]*)\)\s*$/.exec(to);
  if (!call) return "write Disk('disk', 'path'), File('path'), S3('url') or S3(collection, 'path')";
  const args = parseArguments(call[2] ?? '');
  if (!args) return "the arguments are not a list of 'texts' between commas";
  const engine = call[1] as DestinationTemplate['engine'];
  const template = assemble(engine, args);
  if (typeof template === 'string') return template;
  return checkPath(template) ?? template;
}

function assemble(engine: DestinationTemplate['engine'], args: Argument[]): DestinationTemplate | string {
  const [first, second] = args;
  if (engine === 'Disk') {
    if (args.length !== 2 || !first || !second || !('literal' in first) || !('literal' in second))
      return "write Disk('disk', 'path')";
    return { engine, disk: first.literal, path: second.literal };
  }
  if (engine === 'File')
    return args.length === 1 && first && 'literal' in first ? { engine, path: first.literal } : "write File('path')";
  if (args.length === 1 && first && 'literal' in first) return { engine, path: first.literal };
  if (args.length === 2 && first && second && 'identifier' in first && 'literal' in second)
    return { engine, collection: first.identifier, path: second.literal };
  // What we send to a server stands in plans, histories and reports.
  return "write S3('url') or S3(collection, 'path'): keys are refused here, put them in a named collection or the server's <s3> section";
}

/** Single-quoted literals with backslash escapes, and bare identifiers. Null when it is anything else. */
function parseArguments(text: string): Argument[] | null {
  const args: Argument[] = [];
  const argument = /\s*(?:'((?:[^'\\]|\\[\s\S])*)'|([A-Za-z_]\w*))\s*(,|$)/y;
  for (;;) {
    const found = argument.exec(text);
    if (!found) return null;
    args.push(
      found[1] !== undefined ? { literal: found[1].replace(/\\([\s\S])/g, '$1') } : { identifier: found[2] ?? '' },
    );
    if (found[3] === '') return args;
  }
}

function checkPath({ engine, disk, collection, path }: DestinationTemplate): string | undefined {
  // eslint-disable-next-line no-control-regex
  if (disk === '' || path === '' || /[\u0000-\u001f\u007f]/.test(path + (disk ?? '')))
    return 'a text is empty or has a control character';
  if (/[{}]/.test(disk ?? '')) return 'placeholders belong in the path';
  const isUrl = engine === 'S3' && collection === undefined;
  if (isUrl) {
    const complaint = checkUrl(path);
    if (complaint) return complaint;
  }
  if (path.split('/').includes('..')) return 'a path may not have the segment ..';
  return checkPlaceholders(path);
}

function checkUrl(path: string): string | undefined {
  if (!/^https?:\/\/[^/]/.test(path)) return 'the URL is not http or https';
  if (/^https?:\/\/[^/]*@/.test(path)) return 'credentials in a URL are refused, put them in a named collection';
  // A signed URL is a secret.
  if (/[?#]/.test(path)) return 'a URL with a query is refused';
  return undefined;
}

function checkPlaceholders(path: string): string | undefined {
  const found = [...path.matchAll(/\{([^{}]*)\}/g)];
  const unknown = found.find(([, name]) => !PLACEHOLDERS.includes(name ?? ''));
  if (unknown || /[{}]/.test(path.replace(/\{[^{}]*\}/g, '')))
    return 'the placeholders are {cluster}, {shard} and {name}';
  if (!found.some(([, name]) => name === 'name')) return '{name} is missing: all backups would have one place';
  for (const [index, match] of found.slice(1).entries()) {
    const before = found[index];
    const between = before ? path.slice(before.index + before[0].length, match.index) : '/';
    // Shard 1, name 1-x and shard 1-1, name x would be one place.
    if (!between.includes('/')) return 'there must be a / between two placeholders';
  }
  return undefined;
}
