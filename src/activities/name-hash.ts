import type { Ports } from '../ports.js';

export type Sha256 = Ports['sha256'];

/** The names of a table's active parts in two values, made on the node. */
export interface NameHash {
  /** UInt64 as text. */
  names: string;
  /** SHA-256 of the names in order, a line each. */
  hash: string;
}

export const NO_NAMES: NameHash = { names: '0', hash: '' };

/** Whether a list is exactly that of which the node made the hash. Names leave a node only where it is not. */
export function isOfHash(listed: readonly string[], { names, hash }: NameHash, sha256: Sha256): boolean {
  if (listed.length !== Number(names)) return false;
  return listed.length === 0 || sha256([...listed].sort().join('\n')) === hash;
}
