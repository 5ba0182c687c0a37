import { open, type FileHandle } from 'node:fs/promises';
import { isScalar, LineCounter, parseDocument, Parser, visit, type CST, type Document } from 'yaml';
import { RecoveryError } from '../domain/errors.js';
import { parseConfig, type Config } from './checks.js';

const MAX_BYTES = 1_048_576;
const MAX_ALIASES = 50;
const MAX_DEPTH = 50;
const PROTOTYPE_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

/** Reads recovery.yaml. Throws RecoveryError `CONFIG_NOT_FOUND` or `CONFIG_INVALID`. */
export async function loadConfig(path: string): Promise<Config> {
  return parseConfig(parseYaml(await readConfigFile(path)));
}

export async function readConfigFile(path: string): Promise<string> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    throw new RecoveryError(
      'CONFIG_NOT_FOUND',
      `${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'error'})`,
    );
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new RecoveryError('CONFIG_NOT_FOUND', `${path} is not a file`);
    if (stat.size > MAX_BYTES) throw invalid(`the file has more than ${MAX_BYTES} bytes`);
    return new TextDecoder('utf-8', { fatal: true }).decode(await file.readFile());
  } catch (cause) {
    if (cause instanceof RecoveryError) throw cause;
    if (cause instanceof TypeError) throw invalid('the file is not UTF-8');
    throw new RecoveryError('CONFIG_NOT_FOUND', `${path} cannot be read`);
  } finally {
    await file.close();
  }
}

/** YAML 1.2 without what makes one text mean two things: duplicate keys, tags, several documents. */
export function parseYaml(text: string): unknown {
  const lines = new LineCounter();
  checkDepth(text);
  try {
    // prettyErrors would quote the line, which may hold a secret.
    const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, strict: true, prettyErrors: false });
    const problem = document.errors[0] ?? document.warnings[0];
    if (problem) throw invalid(firstLine(problem.message), lines.linePos(problem.pos[0]).line);
    checkTree(document, lines);
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    if (cause instanceof RecoveryError) throw cause;
    throw invalid(cause instanceof ReferenceError ? 'too many or unknown aliases' : 'it cannot be read as YAML');
  }
}

/**
 * The composer calls itself for each level, and at the end of the stack V8 does not throw but ends the process (a
 * regular expression cannot be compiled there). The parser before it does not, so the depth is counted on what it gives.
 */
function checkDepth(text: string): void {
  const open: { token: CST.Token | null | undefined; depth: number }[] = [];
  for (const root of new Parser().parse(text))
    open.push({ token: root.type === 'document' ? root.value : root, depth: 0 });
  for (let next = open.pop(); next; next = open.pop()) {
    const { token, depth } = next;
    if (depth > MAX_DEPTH) throw invalid('nested too deep');
    if (!token || !('items' in token)) continue;
    for (const { key, value } of token.items)
      open.push({ token: key, depth: depth + 1 }, { token: value, depth: depth + 1 });
  }
}

function checkTree(document: Document.Parsed, lines: LineCounter): void {
  visit(document, (key, node) => {
    const range = typeof node === 'object' && node !== null && 'range' in node ? (node.range as number[] | null) : null;
    const line = range ? lines.linePos(range[0] ?? 0).line : undefined;
    if (key !== 'key') return;
    const name: unknown = isScalar(node) ? node.value : undefined;
    if (typeof name !== 'string' && typeof name !== 'number') throw invalid('a key is not plain text', line);
    if (PROTOTYPE_KEYS.has(String(name))) throw invalid(`the key ${name} is refused`, line);
  });
}

/** The parser's text without what it quotes from the file. */
function firstLine(message: string): string {
  const line = message.split('\n')[0] ?? '';
  return line
    .replace(/: .*$/, '')
    .replace(/(["'`]).*\1/g, '…')
    .slice(0, 200);
}

function invalid(complaint: string, line?: number): RecoveryError {
  return new RecoveryError('CONFIG_INVALID', line === undefined ? complaint : `line ${line}: ${complaint}`);
}
