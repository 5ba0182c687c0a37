import { NO_PARTS, type PartsDigest } from '../domain/inventory.js';
import { tableKey, type TableName } from '../domain/names.js';
import { NO_NAMES, type NameHash } from './name-hash.js';

/** A row of UNIT_STATE: which facts, in which order, depends on the kind. Numbers are text. */
export interface StateRow extends TableName {
  kind: 'table' | 'parts' | 'replica';
  facts: string[];
}

export interface KeeperPath {
  tablePath: string;
  replicaName: string;
}

/** Of a replication queue: numbers of entries, and seconds of the server's time. */
export interface QueueRow {
  queue: string;
  merges: string;
  oldest: number;
  now: number;
}

interface PartsState {
  /** Of those with rows: REPLACE PARTITION leaves empty covering parts. */
  digest: PartsDigest;
  /** Block numbers that they cover. */
  blocks: number;
  /** Of all. */
  names: NameHash;
}

/** What one look tells of some tables. */
export class UnitState {
  private readonly rows: ReadonlyMap<string, string[]>;

  constructor(rows: StateRow[]) {
    this.rows = new Map(rows.map((row) => [`${row.kind} ${tableKey(row)}`, row.facts]));
  }

  private facts(kind: StateRow['kind'], name: TableName): string[] | undefined {
    return this.rows.get(`${kind} ${tableKey(name)}`);
  }

  /** Null: it is not attached. */
  table(name: TableName): { engine: string; uuid: string } | null {
    const facts = this.facts('table', name);
    if (!facts) return null;
    const [engine = '', uuid = ''] = facts;
    return { engine, uuid };
  }

  parts(name: TableName): PartsState {
    const facts = this.facts('parts', name);
    if (!facts) return { digest: NO_PARTS, blocks: 0, names: NO_NAMES };
    const [parts, rows, digest = '0', blocks, names = '0', hash = ''] = facts;
    return {
      digest: { parts: Number(parts), rows: Number(rows), digest },
      blocks: Number(blocks),
      names: { names, hash },
    };
  }

  /** Null: it is not replicated. */
  replica(name: TableName): (KeeperPath & QueueRow & { readonly: boolean; sessionExpired: boolean }) | null {
    const facts = this.facts('replica', name);
    if (!facts) return null;
    const [readonly, sessionExpired, queue = '0', merges = '0', oldest, now, tablePath = '', replicaName = ''] = facts;
    return {
      ...{ readonly: readonly === '1', sessionExpired: sessionExpired === '1', queue, merges },
      ...{ oldest: Number(oldest), now: Number(now), tablePath, replicaName },
    };
  }
}
