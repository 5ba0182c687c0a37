import type { ObjectDisk } from '../domain/drill-separation.js';
import { ServerError, type ClickHouseNode } from '../ports.js';

/** Reads only: where the object storage disks of a server are, as far as it tells. */

/** All columns: which there are differs between versions. Only disks that tables may be on. */
const DISKS = `SELECT * FROM system.disks WHERE name IN (SELECT arrayJoin(disks) FROM system.storage_policies)`;
/** The keys of one file tell the prefix of them all. */
const PREFIX = `SELECT common_prefix_for_blobs AS prefix FROM system.remote_data_paths WHERE disk_name = {disk:String} AND common_prefix_for_blobs != '' LIMIT 1`;
const BUCKET = `SELECT bucket FROM system.blob_storage_log WHERE disk_name = {disk:String} AND bucket != '' ORDER BY event_time DESC LIMIT 1`;
/** Seconds. Files of other disks may be looked through first: then it is not known. */
const PATIENCE = { max_execution_time: 10 };

interface DiskRow {
  name: string;
  type: string;
  object_storage_type?: string;
  is_remote?: number | string;
  is_read_only?: number | string;
}

export async function objectDisksOf(node: ClickHouseNode): Promise<ObjectDisk[]> {
  const rows = (await tolerant<DiskRow>(node, DISKS)).filter(isObjectStorage);
  const disks: ObjectDisk[] = [];
  for (const { name, type, object_storage_type: kind = '' } of rows) {
    const params = { disk: name };
    const [prefix] = await tolerant<{ prefix: string }>(node, PREFIX, params);
    const [bucket] = await tolerant<{ bucket: string }>(node, BUCKET, params);
    disks.push({
      name,
      kind: (kind === '' || kind === 'None' ? type : kind).toLowerCase(),
      prefix: prefix?.prefix ?? null,
      bucket: bucket?.bucket ?? null,
    });
  }
  return disks;
}

/** On a disk that is only read nothing is written, so nothing is shared. */
function isObjectStorage({ type, object_storage_type: kind = 'None', is_remote, is_read_only }: DiskRow): boolean {
  if (Number(is_read_only ?? 0) === 1) return false;
  return Number(is_remote ?? 0) === 1 || kind !== 'None' || !/^(?:local|memory)$/i.test(type);
}

/** A server that has no such table or column, or needs too long, does not tell. */
async function tolerant<Row>(node: ClickHouseNode, sql: string, params?: Record<string, string>): Promise<Row[]> {
  try {
    return await node.query<Row>(sql, { params, settings: PATIENCE });
  } catch (error) {
    if (error instanceof ServerError) return [];
    throw error;
  }
}
