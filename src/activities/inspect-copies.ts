import { contentsOfCopy, refuseCopies, type CopyContents } from '../domain/cold-place.js';
import { RecoveryError } from '../domain/errors.js';
import type { BackupContents } from '../domain/manifest.js';
import { parseBackupRef } from '../domain/request.js';
import type { ClusterPorts } from '../ports.js';
import { unpack } from './packed.js';

/** The name of a repository of cold copies; null: it is another kind, or there is none of this name. */
export function coldRepository(cluster: ClusterPorts, ref: string): string | null {
  const { repository } = parseBackupRef(ref);
  const found = cluster.repositories.find(({ name }) => name === repository);
  return found?.kind === 'cold' ? found.name : null;
}

/** What the agents found in their copies, by shard. */
export async function inspectCopies(
  cluster: ClusterPorts,
  repository: string,
  packed: readonly string[] | null,
): Promise<Map<string, BackupContents>> {
  if (!packed)
    throw new RecoveryError(
      'INPUT_INVALID',
      `${repository} holds cold copies, which their agents read: \`ch-recover start\` makes the plan and waits for its approval, \`ch-recover status ID --plan\` prints it`,
      { field: 'backup' },
    );
  const { cluster: name, nodes } = cluster.topology;
  const found = await Promise.all(packed.map((text) => unpack<CopyContents>(text)));
  const refusal = refuseCopies(name, nodes, found);
  if (refusal) throw new RecoveryError(refusal.code, refusal.message, { objects: refusal.objects });
  return new Map(
    found.map((contents) => [
      nodes.find((node) => node.name === contents.host)?.shard ?? '',
      contentsOfCopy(contents, repository),
    ]),
  );
}
