import { describe, expect, it } from 'vitest';
import { finishNode } from '../../src/activities/finish.js';
import { DEFAULT_POLICY } from '../../src/domain/policy.js';
import type { ClickHouseNode } from '../../src/ports.js';

const run = { recovery: 'r', plan: 'p' };

/** A node with these tables in `_recovery`. */
function nodeWith(tables: string[]) {
  const sent: string[] = [];
  const node = {
    ref: { name: 'n1', shard: '01', replica: 'r1' },
    query: async (sql: string) =>
      sql.includes("startsWith(name, 'making ')") ? tables.map((name) => ({ name })) : [{ found: '0' }],
    execute: async (sql: string) => void (sql.startsWith('EXPLAIN') || sent.push(sql)),
  };
  return { node: node as unknown as ClickHouseNode, sent };
}

describe('what a finished recovery leaves', () => {
  const tables = ['clone db.a', 'clone db.b', 'making db.c'];

  it('is renamed aside at once, and the rest dropped', async () => {
    const { node, sent } = nodeWith(tables);
    const done = await finishNode(node, run, DEFAULT_POLICY, { assertFresh: () => undefined });
    expect(done).toEqual({ kept: 2, dropped: 1 });
    expect(sent).toHaveLength(2);
    expect(sent[0]).toMatch(/^RENAME TABLE .*clone db\.a.*, .*clone db\.b/);
    expect(sent[1]).toMatch(/^DROP TABLE .*making db\.c/);
  });

  it.each([true, false])(
    'is kept or dropped as approved, not as configured by now (approved: keepAside %s)',
    async (approved) => {
      const { node, sent } = nodeWith(['clone db.a']);
      const policy = { ...DEFAULT_POLICY, keepAside: !approved };
      await finishNode(node, run, policy, { assertFresh: () => undefined }, approved);
      expect(sent.map((sql) => sql.split(' ')[0])).toEqual([approved ? 'RENAME' : 'DROP']);
    },
  );

  it.each([true, false])('is touched by nobody who was given up (keepAside %s)', async (keepAside) => {
    const { node, sent } = nodeWith(tables);
    let left = 1;
    const assertFresh = () => {
      if (left-- === 0) throw new Error('given up');
    };
    const policy = { ...DEFAULT_POLICY, keepAside, lanesPerNode: 1 };
    await expect(finishNode(node, run, policy, { assertFresh })).rejects.toThrow('given up');
    expect(sent).toHaveLength(1);
  });
});
