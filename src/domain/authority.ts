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
 * Whether the rows of `part` are in `parts`: the same bytes, a part that covers it (a later merge), or exactly all of
 * the parts it was merged from. Names are of one Keeper path's block numbers, so this holds for replicas of one table as
 * long as they are registered at the same one (`sameBlocks`): who registers anew numbers its parts anew.
 */
export function contains(parts: PartRef[], part: PartRef, sameBlocks = true): boolean {
  const sources: PartRef[] = [];
  for (const other of parts) {
    if (other.partitionId !== part.partitionId) continue;
    if (other.hash === part.hash && other.rows === part.rows) return true;
    if (!sameBlocks) continue;
    if (other.minBlock <= part.minBlock && other.maxBlock >= part.maxBlock && other.level > part.level) return true;
    if (other.minBlock >= part.minBlock && other.maxBlock <= part.maxBlock && other.level < part.level)
      sources.push(other);
  }
  if (sources.length === 0) return false;
  // A Replacing or Summing merge has fewer rows than its sources: then nothing says that all of them are here.
  const rows = sources.reduce((sum, source) => sum + source.rows, 0);
  const first = Math.min(...sources.map((source) => source.minBlock));
  const last = Math.max(...sources.map((source) => source.maxBlock));
  return rows === part.rows && first === part.minBlock && last === part.maxBlock;
}

const twinKey = (part: PartRef) => `${part.partitionId}/${part.hash}/${part.rows}`;

/** The parts that `own` does not hold. Of twins, byte for byte the same, every one counts. */
function missingFrom(own: PartRef[], parts: PartRef[], sameBlocks: boolean): PartRef[] {
  const count = (refs: PartRef[], key: string) => refs.filter((ref) => twinKey(ref) === key).length;
  return parts.filter((part) => {
    if (!contains(own, part, sameBlocks)) return true;
    const here = count(own, twinKey(part));
    return here > 0 && here < count(parts, twinKey(part));
  });
}

/** An unknown list of parts is not an empty one: it contains nothing and is contained nowhere. */
function holds(own: Candidate, peer: Candidate, sameBlocks: boolean): boolean {
  if (sameParts(own.digest, peer.digest) || peer.digest.parts === 0) return true;
  if (!own.parts || !peer.parts) return false;
  return missingFrom(own.parts, peer.parts, sameBlocks).length === 0;
}

/**
 * Who goes first decides what survives (a later replica attaches nothing of its own), so it is the replica whose parts
 * contain every other's. When no replica's do, nobody goes first: a person decides, from the exact difference.
 */
export function chooseAuthority(candidates: Candidate[], sameBlocks = true): AuthorityDecision {
  const sorted = [...candidates].sort((a, b) => b.digest.rows - a.digest.rows || (a.replica < b.replica ? -1 : 1));
  const first = sorted[0];
  if (!first) return { authority: null, difference: [] };
  if (sorted.every((candidate) => sameParts(candidate.digest, first.digest)))
    return { authority: first.replica, equal: true };
  const whole = sorted.find((candidate) =>
    sorted.every((peer) => peer === candidate || holds(candidate, peer, sameBlocks)),
  );
  if (whole) return { authority: whole.replica, equal: false };
  return {
    authority: null,
    difference: sorted.map((candidate) => ({
      replica: candidate.replica,
      onlyThere: (candidate.parts ?? [])
        .filter((part) =>
          sorted.some(
            (peer) =>
              peer !== candidate && missingFrom(peer.parts ?? [], candidate.parts ?? [], sameBlocks).includes(part),
          ),
        )
        .slice(0, 20)
        .map((part) => part.name),
    })),
  };
}
