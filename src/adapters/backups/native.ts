import { RecoveryError } from '../../domain/errors.js';
import { checkPathSegment, literal } from '../../domain/names.js';
import type { NativeRepository } from '../../ports.js';

/** A destination of BACKUP and RESTORE, taken apart by the configuration. */
export interface DestinationTemplate {
  engine: 'Disk' | 'File' | 'S3';
  /** Name of a disk, for `Disk`. */
  disk?: string;
  /** Name of a collection, for `S3(collection, 'path')`. */
  collection?: string;
  /** Path or URL with {cluster}, {shard} and {name}. */
  path: string;
}

/** The manifest of `nightly-1` is a backup named `nightly-1.manifest`, beside it. */
export const MANIFEST_SUFFIX = '.manifest';

/** Native BACKUP and RESTORE. Throws RecoveryError `INPUT_INVALID` for a name that is no path segment. */
export function createNativeRepository(name: string, to: DestinationTemplate, cluster: string): NativeRepository {
  checkPathSegment(cluster, 'cluster');
  function render(shard: string, backup: string): string {
    const values: Record<string, string> = {
      cluster,
      shard: checkPathSegment(shard, 'shard'),
      name: checkPathSegment(backup, 'backup'),
    };
    // One pass: a value is never searched for placeholders.
    const path = to.path.replace(/\{(\w+)\}/g, (_, placeholder: string) => {
      const value = Object.hasOwn(values, placeholder) ? values[placeholder] : undefined;
      if (value === undefined) throw new RecoveryError('INTERNAL', `backups.${name}.to: unknown placeholder`);
      return value;
    });
    return toSql(to, path);
  }
  return {
    name,
    kind: 'native',
    destination: (shard, backup) => {
      // Otherwise it would be where the manifest of another backup is.
      if (backup.endsWith(MANIFEST_SUFFIX))
        throw new RecoveryError('INPUT_INVALID', `backup: a name may not end with ${MANIFEST_SUFFIX}`, {
          field: 'backup',
        });
      return render(shard, backup);
    },
    manifestDestination: (shard, backup) => render(shard, backup + MANIFEST_SUFFIX),
  };
}

function toSql(to: DestinationTemplate, path: string): string {
  switch (to.engine) {
    case 'Disk':
      return `Disk(${literal(to.disk ?? '')}, ${literal(path)})`;
    case 'File':
      return `File(${literal(path)})`;
    case 'S3':
      return to.collection === undefined ? `S3(${literal(path)})` : `S3(${to.collection}, ${literal(path)})`;
  }
}
