import { hostTaskQueue } from './cold.js';
import { definitionOf } from './clickhouse-backup.js';
import { carriesSecret } from './ddl-secrets.js';
import { parseEngine } from './ddl.js';
import { problem, RecoveryError, type Problem } from './errors.js';
import { tableKind } from './inventory.js';
import type { BackupContents, CountedParts, ManifestTable } from './manifest.js';
import { OWN_DATABASES, quoteTable, tableKey, type TableName } from './names.js';
import { partBlocks } from './part-name.js';
import type { NodeRef } from './topology.js';
import { agentMissing } from './cold-plan.js';

/**
 * A cold copy as a backup of a recovery, for servers without BACKUP and without clickhouse-backup: agents place the part
 * folders of a copy into `detached/` of staging tables, from where SQL attaches them.
 */

/** Beside the queue for steps of the host's service, so that neither waits for the other. */
export function partsTaskQueue(cluster: string, host: string): string {
  return `${hostTaskQueue(cluster, host)}/parts`;
}

/** Tables for which one agent places parts at once. No more are sent: one that waited would look as if the agent were away. */
export const PLACE_LANES = 4;

/** Where the plan takes a table's parts from. All of it was looked at: another copy under this name is refused. */
export interface PlaceOrder {
  /** Whose copy, and whose agent. */
  host: string;
  generation: string;
  /** sha256 of the copy's manifest, which has those of its lists, which have those of its files. */
  manifest: string;
  counted: CountedParts;
}

/** A table as its copy holds it. */
export interface CopiedTable extends TableName {
  /** CREATE, with the database; without what may be a credential. */
  query: string;
  /** Non-empty active parts; null: it is no MergeTree table. */
  parts: number | null;
  /** Null: a part does not say. */
  rows: number | null;
}

/** What the agent of one host finds in its copy. */
export interface CopyContents {
  host: string;
  cluster: string;
  generation: string;
  takenAt: string;
  manifest: string;
  macros: Record<string, string>;
  databases: { name: string; engine: string }[];
  tables: CopiedTable[];
}

/** Of one host: its contents, packed, or why there are none. */
export interface CopyAnswer {
  host: string;
  packed: string | null;
  problem: Problem | null;
}

/**
 * The first whole copy of each shard, in the order of the configuration: all replicas of a shard were in sync when they
 * were copied. Where there is none, the problem of the shard's first replica that has one which a person can solve.
 */
export function chooseCopies(
  cluster: string,
  nodes: readonly NodeRef[],
  answers: readonly CopyAnswer[],
): { chosen: CopyAnswer[] } | { problem: Problem } {
  const chosen: CopyAnswer[] = [];
  for (const shard of new Set(nodes.map((node) => node.shard))) {
    const members = nodes.filter((node) => node.shard === shard);
    const found = members.flatMap(({ name }) => answers.filter(({ host }) => host === name));
    const whole = found.find(({ packed }) => packed !== null);
    if (whole) chosen.push(whole);
    else {
      const problems = found.flatMap((answer) => answer.problem ?? []);
      // A damaged copy is what it is; an agent that is away may have a good one.
      const away = problems.find(({ code }) => code === 'AGENT_UNAVAILABLE');
      const first = away ?? problems[0] ?? agentMissing(cluster, { name: members[0]?.name ?? '', role: 'clickhouse' });
      return { problem: first };
    }
  }
  return { chosen };
}

/** What the planner knows of a copy, for the shard of its host. */
export function contentsOfCopy(contents: CopyContents, repository: string): BackupContents {
  const { host, generation, takenAt, manifest, databases } = contents;
  return {
    // Its definitions are the server's own.
    evidence: 'manifest',
    ...{ repository, name: generation, node: host, takenAt, databases, cold: { manifest } },
    destination: `cold copy '${generation}' of ${host}`,
    tables: contents.tables.map(toManifestTable),
    unfinishedMutations: [],
    keeperState: [],
  };
}

function toManifestTable({ query, parts, rows, ...name }: CopiedTable): ManifestTable {
  const definition = definitionOf({ ...name, uuid: '00000000-0000-0000-0000-000000000000', query, ...UNKNOWN });
  const kind = tableKind(definition.engine);
  const isMergeTree = kind === 'replicated' || kind === 'merge-tree';
  return {
    ...definition,
    ...{ parts: null, partitionIds: [], source: name },
    ...(isMergeTree && parts !== null && { counted: { parts, rows, bytes: null } }),
    ...(kind === 'other-data' && { definitionOnly: true as const }),
  };
}

const UNKNOWN = { bytes: null, mutations: [] };

/** Whether these are copies of the cluster's own shards, of one moment. */
export function refuseCopies(
  cluster: string,
  nodes: readonly NodeRef[],
  found: readonly CopyContents[],
): Problem | null {
  for (const { host, macros, cluster: copied, generation, manifest } of found) {
    const node = nodes.find(({ name }) => name === host);
    if (copied !== cluster || !node)
      return problem('MANIFEST_MISMATCH', `the copy of ${host} is of cluster ${copied}, not of ${cluster}`, {
        objects: [host],
      });
    const wrong = (['shard', 'replica'] as const).find((key) => macros[key] !== undefined && macros[key] !== node[key]);
    if (wrong)
      return problem(
        'WRONG_MACROS',
        `the copy of ${host} is of ${wrong} ${macros[wrong]}, recovery.yaml says ${node[wrong]}`,
        { objects: [host] },
      );
    if (manifest !== found[0]?.manifest)
      return problem(
        'MANIFEST_MISMATCH',
        `mixed generations: ${generation} of ${host} is another than that of ${found[0]?.host}`,
        { objects: [host] },
      );
  }
  return null;
}

/** As ClickHouse names files after tables and databases: every byte but letters, digits and _ is %XX. */
export function fileNameOf(name: string): string {
  return encodeURIComponent(name).replace(
    /[-.!~*'()]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}

/** The reverse; null: the server did not name it. */
export function nameOfFile(file: string): string | null {
  try {
    const name = decodeURIComponent(file);
    return fileNameOf(name) === file ? name : null;
  } catch {
    return null;
  }
}

/** Database and table of a file below `metadata/`; null: it is that of neither a table nor a view, or one of the server's own. */
export function tableOfMetadata(path: string): TableName | null {
  const [folder, database, file, ...rest] = path.split('/');
  if (folder !== 'metadata' || rest.length > 0 || !file?.endsWith('.sql')) return null;
  const name = { database: nameOfFile(database ?? ''), table: nameOfFile(file.slice(0, -'.sql'.length)) };
  if (name.database === null || name.table === null || OWN_DATABASES.includes(name.database)) return null;
  return { database: name.database, table: name.table };
}

const HEAD = /^ATTACH (TABLE|(?:MATERIALIZED )?VIEW) (?:`(?:[^`\\]|\\[^])*`|\w+)/;
/** Of which the files are not of this form, and may carry a credential: they are left to a person, and nothing else is. */
const LEFT_OUT = /^ATTACH (DICTIONARY|LIVE VIEW|WINDOW VIEW) /;

/**
 * The server's own file has ATTACH and no database. What may be a credential goes into no history: such a table keeps its
 * engine's name, and shows that something is hidden.
 */
export function createQueryOf(name: TableName, metadata: string): string {
  const leftOut = LEFT_OUT.exec(metadata);
  if (leftOut) return `CREATE ${leftOut[1]} ${quoteTable(name)} AS SELECT '[HIDDEN]'`;
  const head = HEAD.exec(metadata);
  if (!head)
    throw new RecoveryError('MANIFEST_INVALID', `the definition of ${tableKey(name)} in the copy cannot be read`, {
      objects: [tableKey(name)],
    });
  const query = `CREATE ${head[1]} ${quoteTable(name)}${metadata.slice(head[0].length)}`;
  if (!carriesSecret(query)) return query;
  if (head[1] !== 'TABLE') return `CREATE ${head[1]} ${quoteTable(name)} AS SELECT '[HIDDEN]'`;
  const { engine } = definitionOf({ ...name, uuid: '', query, ...UNKNOWN });
  const shown = parseEngine(engine).name.replace(/^Replicated/, '');
  return `CREATE TABLE ${quoteTable(name)} (hidden String DEFAULT '[HIDDEN]') ENGINE = ${shown}`;
}

/** The folder of a table's parts, from its tree. */
export function folderOf({ database, table }: TableName): string {
  return `data/${fileNameOf(database)}/${fileNameOf(table)}`;
}

/** A part that comes later may replace rows of one before it: Replacing and Collapsing tables count on the order. */
export function inAttachOrder(parts: readonly string[]): string[] {
  const known = parts.map((name) => ({ name, blocks: partBlocks(name) }));
  return known
    .sort((a, b) => (a.blocks?.min ?? 0) - (b.blocks?.min ?? 0) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    .map(({ name }) => name);
}

/** A part's name becomes a folder and a word of SQL. */
export function isPartName(name: string): boolean {
  return /^[A-Za-z0-9-]{1,200}_\d+_\d+_\d+(_\d+)?$/.test(name) || /^\d{8}_\d{8}_\d+_\d+_\d+$/.test(name);
}

/**
 * What is still to be attached, in the order given, and how many attached parts are none of the copy's, or came before their
 * turn: rows of a part that comes later may replace those of one before it. An attached part has a new name and its old checksums; twins, which have the same, count. `checksums`: of each part's own list of its files'
 * checksums; '' where it has none.
 */
export function toAttach(
  parts: readonly { name: string; checksums: string }[],
  attached: readonly string[],
): { waiting: string[]; extra: number } {
  const left = new Map<string, number>();
  for (const checksums of attached) left.set(checksums, (left.get(checksums) ?? 0) + 1);
  let early = 0;
  const waiting: { name: string }[] = [];
  for (const part of parts) {
    const count = part.checksums === '' ? 0 : (left.get(part.checksums) ?? 0);
    if (count === 0) waiting.push(part);
    else {
      left.set(part.checksums, count - 1);
      if (waiting.length > 0) early++;
    }
  }
  return {
    waiting: waiting.map(({ name }) => name),
    extra: [...left.values()].reduce((sum, count) => sum + count, early),
  };
}
