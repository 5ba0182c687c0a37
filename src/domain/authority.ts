import { sameParts, type PartsDigest } from './inventory.js';

/** A part as a peer has it. Names count only to see which part covers which. */
export interface PartRef {
  name: string;
  partitionId: string;
  minBlock: number;
  maxBlock: number;
  level: number;
  rows: number;
  hash: string;
}

export interface Candidate {
  replica: string;
  digest: PartsDigest;
  /** Null when all digests are equal, so that no part list was needed. */
  parts: PartRef[] | null;
}

export type AuthorityDecision =
  { authority: string; equal: boolean } | { authority: null; difference: { replica: string; onlyThere: string[] }[] };

/**
 * Whether the rows of `part` are in `parts`: the same bytes, a part that covers it (a later merge), or all of the
 * parts it was merged from. Names are of one Keeper path's block numbers, so this holds for replicas of one table.
 */
export function contains(parts: PartRef[], part: PartRef): boolean {
  let inside = 0;
  for (const other of parts) {
    if (other.hash === part.hash && other.rows === part.rows && other.partitionId === part.partitionId) return true;
    if (other.partitionId !== part.partitionId) continue;
    if (other.minBlock <= part.minBlock && other.maxBlock >= part.maxBlock && other.level > part.level) return true;
    if (other.minBlock >= part.minBlock && other.maxBlock <= part.maxBlock && other.level < part.level)
      inside += other.rows;
  }
  return inside >= part.rows && inside > 0;
}

/**
 * Who goes first decides what survives (a later replica attaches nothing of its own), so it is the replica whose parts
 * contain every other's. When no replica's do, nobody goes first: a person decides, from the exact difference.
 */
export function chooseAuthority(candidates: Candidate[]): AuthorityDecision {
  const sorted = [...candidates].sort((a, b) => b.digest.rows - a.digest.rows || (a.replica < b.replica ? -1 : 1));
  const first = sorted[0];
  if (!first) return { authority: null, difference: [] };
  if (sorted.every((candidate) => sameParts(candidate.digest, first.digest)))
    return { authority: first.replica, equal: true };
  for (const candidate of sorted) {
    const own = candidate.parts ?? [];
    if (sorted.every((peer) => peer === candidate || (peer.parts ?? []).every((part) => contains(own, part))))
      return { authority: candidate.replica, equal: false };
  }
  return {
    authority: null,
    difference: sorted.map((candidate) => ({
      replica: candidate.replica,
      onlyThere: (candidate.parts ?? [])
        .filter((part) => sorted.some((peer) => peer !== candidate && !contains(peer.parts ?? [], part)))
        .slice(0, 20)
        .map((part) => part.name),
    })),
  };
}
