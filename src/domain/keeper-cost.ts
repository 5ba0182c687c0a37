/**
 * About how many requests a statement costs ZooKeeper: what the server creates, reads and watches for it. Estimates, by
 * the nodes of a replicated table; a table of many parts costs more. They are for keeping a pace, not for accounts.
 */
const COSTS: readonly [pattern: RegExp, requests: number][] = [
  [/^SYSTEM RESTORE REPLICA\b/i, 40],
  [/^SYSTEM DROP REPLICA\b/i, 25],
  [/^SYSTEM RESTART REPLICA\b/i, 15],
  [/^CREATE TABLE\b.*\bENGINE = Replicated/is, 30],
  [/^ATTACH TABLE\b/i, 15],
  [/^DETACH TABLE\b/i, 3],
  [/^ALTER TABLE\b.*\bREPLACE PARTITION\b/is, 10],
];

export function keeperCost(statement: string): number {
  const text = statement.replace(/^\s*\/\*.*?\*\/\s*/s, '');
  return COSTS.find(([pattern]) => pattern.test(text))?.[1] ?? 0;
}
