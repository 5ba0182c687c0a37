import type { PartsDigest, TableDefinition } from './inventory.js';

export const MANIFEST_VERSION = 1;

export interface ManifestTable extends TableDefinition {
  /** Null: this backup cannot say (a plain one, or the parts moved while it was taken). */
  parts: PartsDigest | null;
  partitionIds: string[];
  /** What a source without the server's part hashes knows (clickhouse-backup, cold copies). */
  counted?: CountedParts;
  /** The backup holds no data of this table, though it may have had some: only its definition comes back. */
  definitionOnly?: true;
  /** Name of the object in the backup that holds this table's data: a view holds its inner table's. */
  source: { database: string; table: string };
}

/** A weaker PartsDigest, for comparing what was restored with. */
export interface CountedParts {
  parts: number;
  /** Null: not known. */
  rows: number | null;
  /** Bytes on disk of all parts together; null: not known. */
  bytes: number | null;
}

/** What one shard's backup holds. Written last, beside the backup: a backup without one is a plain one. */
export interface Manifest {
  version: number;
  cluster: string;
  shard: string;
  replica: string;
  /** Name of the backup in its repository, the same on all shards. */
  backup: string;
  takenAt: string;
  serverVersion: string;
  macros: Record<string, string>;
  databases: { name: string; engine: string }[];
  tables: ManifestTable[];
  unfinishedMutations: { database: string; table: string; mutationId: string; command: string }[];
  /** What else lived in Keeper when the backup was taken. */
  keeperState: { what: string; detail: string }[];
}

/** What the planner knows of a backup for one shard. */
export interface BackupContents {
  /** `manifest`: exact, or of a cold copy the server's own files. `backup`: read from a plain native backup (DDL without UUID), or from clickhouse-backup's JSON. */
  evidence: 'manifest' | 'backup';
  repository: string;
  name: string;
  /** The clickhouse-backup, or the agent, of this node has it; null: native, any node can restore it. */
  node: string | null;
  /** A cold copy: sha256 of its manifest. */
  cold?: { manifest: string };
  /** As SQL: `Disk('backups', 'prod/01/nightly-1')`; of the others, for people. Holds no credentials: the configuration refuses them. */
  destination: string;
  takenAt: string;
  tables: ManifestTable[];
  databases: { name: string; engine: string }[];
  unfinishedMutations: Manifest['unfinishedMutations'];
  keeperState: Manifest['keeperState'];
}
