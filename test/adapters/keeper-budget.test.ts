import { describe, expect, it } from 'vitest';
import { KeeperBudget, keeperWithin } from '../../src/adapters/keeper/budget.js';
import { keeperCost } from '../../src/domain/keeper-cost.js';
import type { Keeper } from '../../src/ports.js';

/** Time passes only while somebody sleeps. */
function clock() {
  let now = 0;
  return {
    now: () => now,
    sleep: async (ms: number) => {
      now += ms;
    },
    pass: (ms: number) => (now += ms),
  };
}

describe('a budget of requests to ZooKeeper', () => {
  it('lets a second through at once, and the rest at its pace', async () => {
    const time = clock();
    const budget = new KeeperBudget(100, time);
    for (let i = 0; i < 100; i++) await budget.take(1);
    expect(time.now()).toBe(0);
    for (let i = 0; i < 300; i++) await budget.take(1);
    expect(time.now()).toBeGreaterThanOrEqual(3_000);
    expect(time.now()).toBeLessThan(3_100);
  });

  it('saves up one second, no more', async () => {
    const time = clock();
    const budget = new KeeperBudget(100, time);
    time.pass(60_000);
    await budget.take(100);
    const before = time.now();
    await budget.take(50);
    expect(time.now() - before).toBe(500);
  });

  it('lets through what costs more than a second, once it is full', async () => {
    const time = clock();
    const budget = new KeeperBudget(10, time);
    await budget.take(1_000);
    await budget.take(1_000);
    expect(time.now()).toBe(1_000);
  });

  it('counts our own reads, and gives back what they find', async () => {
    const time = clock();
    const fake = { exists: async () => true, children: async () => ['a'], get: async () => 'x' } as unknown as Keeper;
    const keeper = keeperWithin(new KeeperBudget(1, time), fake);
    expect([await keeper.exists('/'), await keeper.children('/'), await keeper.get('/')]).toEqual([true, ['a'], 'x']);
    expect(time.now()).toBe(2_000);
  });
});

describe('what a statement costs ZooKeeper', () => {
  it.each([
    ['/* ch-recover 0123456789abcdef */ SYSTEM RESTORE REPLICA `db`.`t`', true],
    ["SYSTEM DROP REPLICA 'r1' FROM ZKPATH '/p'", true],
    ["CREATE TABLE `db`.`t`\n(`n` UInt8)\nENGINE = ReplicatedMergeTree('/p', 'r1') ORDER BY n", true],
    ['ATTACH TABLE `db`.`t` AS REPLICATED', true],
    ["ALTER TABLE `db`.`t` REPLACE PARTITION ID '1' FROM `_recovery`.`clone db.t`", true],
    ['CREATE TABLE `_recovery`.`clone db.t` CLONE AS `db`.`t` ENGINE = MergeTree', false],
    ['RENAME TABLE `_recovery`.`making db.t` TO `_recovery`.`clone db.t`', false],
    ['SELECT 1', false],
  ])('%s', (statement, costs) => {
    expect(keeperCost(statement) > 0).toBe(costs);
  });
});
