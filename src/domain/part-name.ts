/** What the name of a part says of it. */
export interface PartBlocks {
  partition: string;
  min: number;
  max: number;
  level: number;
  mutation: number;
}

/** `all_1_4_2`, with a mutation `all_1_4_2_7`, or, of before 1.1.54310, `20260101_20260131_1_4_2`. */
export function partBlocks(name: string): PartBlocks | null {
  const old = /^(\d{6})\d\d_\1\d\d_(\d+)_(\d+)_(\d+)$/.exec(name);
  const match = old ? [...old, undefined] : /^([^_]+(?:_[^_]+)*?)_(\d+)_(\d+)_(\d+)(?:_(\d+))?$/.exec(name);
  if (!match) return null;
  const [, partition, min, max, level, mutation] = match;
  return {
    partition: partition ?? '',
    min: Number(min),
    max: Number(max),
    level: Number(level),
    mutation: Number(mutation ?? 0),
  };
}

/** Whether the server takes `part` for replaced when it finds `other`. */
export function covers(other: PartBlocks, part: PartBlocks): boolean {
  return (
    other.partition === part.partition &&
    other.min <= part.min &&
    other.max >= part.max &&
    other.level >= part.level &&
    other.mutation >= part.mutation
  );
}
