import { describe, expect, it } from 'vitest';
import { entryFor, tableIn } from '../../src/domain/table-index.js';
import { contents, definition, facts, GONE, node, planOf, saved } from './planner-facts.js';

describe('the entry of a list for a table', () => {
  const list = [
    { database: 'a', table: 'b.c', n: 1 },
    { database: 'a.b', table: 'c', n: 2 },
    { database: 'a', table: 'b.c', n: 3 },
  ];

  it('is the first of that name, and a dot makes no two names one', () => {
    expect(tableIn(list, { database: 'a', table: 'b.c' })?.n).toBe(1);
    expect(tableIn(list, { database: 'a.b', table: 'c' })?.n).toBe(2);
    expect(tableIn(list, { database: 'a', table: 'c' })).toBeUndefined();
    expect(entryFor([{ of: list[1]! }], ({ of }) => of, { database: 'a.b', table: 'c' })?.of.n).toBe(2);
  });

  it('keeps the time of a plan in proportion: 2,000 tables on 4 nodes, in the backup too', { timeout: 60_000 }, () => {
    const tables = Array.from({ length: 2_000 }, (_, index) => facts(definition('db', `t${index}`), { keeper: GONE }));
    const nodes = ['01', '02'].flatMap((shard) =>
      ['r1', 'r2'].map((replica) => node(`${shard}-${replica}`, shard, replica, [...tables], { embedded: false })),
    );
    const backup = contents(tables.map((table) => saved(table.definition)));
    const before = process.cpuUsage();
    const plan = planOf(nodes, { backups: new Map(['01', '02'].map((shard) => [shard, backup])) });
    expect(plan.items).toHaveLength(8_000);
    // Of the processor, in microseconds: half a minute before there was an index, two seconds with it.
    expect(process.cpuUsage(before).user).toBeLessThan(10_000_000);
  });
});
