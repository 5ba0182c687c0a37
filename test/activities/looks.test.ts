import { describe, expect, it } from 'vitest';
import { beforeLook, beforePatientLook, lookAt, PATIENT } from '../../src/activities/looks.js';
import { RecoveryError } from '../../src/domain/errors.js';
import type { TableName } from '../../src/domain/names.js';
import { ServerError, type ClickHouseNode, type StatementOptions } from '../../src/ports.js';

type Row = TableName & { seen: number };

/** A node whose answers say in which query they were made; each waits for `release`. */
function fakeNode(
  fails: (tables: string[]) => boolean = () => false,
  failure: Error = new ServerError(60, 'no', 'n1'),
) {
  const asked: string[][] = [];
  const gates: (() => void)[] = [];
  const query = async (_sql: string, { params = {} }: StatementOptions = {}) => {
    const { databases, tables } = params as { databases: string[]; tables: string[] };
    const seen = asked.push(tables);
    await new Promise<void>((resolve) => gates.push(resolve));
    if (fails(tables)) throw failure;
    // As the server would: crossed names, too.
    return databases.flatMap((database) => tables.map((table) => ({ database, table, seen })));
  };
  const node = { ref: { name: 'n1', shard: '01', replica: 'r1' }, query, execute: async () => undefined };
  const release = async () => {
    for (const open of gates.splice(0)) open();
    await new Promise<void>((resolve) => setImmediate(resolve));
  };
  return { node: node as unknown as ClickHouseNode, asked, release };
}

const t = (table: string, database = 'db') => ({ database, table });

describe('looks at many tables at once', () => {
  it('wait for the query that is under way, and are answered by the next one together', async () => {
    const { node, asked, release } = fakeNode();
    const first = lookAt<Row>(node, 'q', [t('a')]);
    await Promise.resolve();
    await Promise.resolve();
    const others = ['b', 'c', 'a'].map((name) => lookAt<Row>(node, 'q', [t(name)]));
    await release();
    await release();
    expect(await first).toEqual([{ ...t('a'), seen: 1 }]);
    // From after its question, also about a table that was just looked at.
    expect(await Promise.all(others)).toEqual(['b', 'c', 'a'].map((name) => [{ ...t(name), seen: 2 }]));
    expect(asked).toEqual([['a'], ['b', 'c', 'a']]);
  });

  it('wait for a step after which somebody else will look, and go together', async () => {
    const { node, asked, release } = fakeNode();
    let end = () => undefined as void;
    const step = beforeLook(node, () => new Promise<void>((resolve) => (end = resolve)));
    const looks = [lookAt<Row>(node, 'q', [t('a')]), step.then(() => lookAt<Row>(node, 'q', [t('b')]))];
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect(asked).toEqual([]);
    end();
    await expect.poll(() => asked).toEqual([['a', 'b']]);
    await release();
    expect(await Promise.all(looks)).toHaveLength(2);
  });

  it('wait for a step that waits itself only where they are patient, since it may wait for one of them', async () => {
    const { node, asked, release } = fakeNode();
    let end = () => undefined as void;
    const step = beforePatientLook(node, () => new Promise<void>((resolve) => (end = resolve)));
    const patient = lookAt<Row>(node, 'p', [t('a')], PATIENT);
    const other = lookAt<Row>(node, 'q', [t('b')]);
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect(asked).toEqual([['b']]);
    end();
    await expect.poll(() => asked).toEqual([['b'], ['a']]);
    await release();
    await Promise.all([step, patient, other]);
  });

  it('do not wait for ever for a step that takes long', async () => {
    const { node, asked, release } = fakeNode();
    let end = () => undefined as void;
    const step = beforeLook(node, () => new Promise<void>((resolve) => (end = resolve)));
    const look = lookAt<Row>(node, 'q', [t('a')]);
    await expect.poll(() => asked).toEqual([['a']]);
    await release();
    expect(await look).toHaveLength(1);
    end();
    await step;
  });

  it('get their own tables only, and other queries do not wait for them', async () => {
    const { node, asked, release } = fakeNode();
    const looks = [
      lookAt<Row>(node, 'q', [t('a'), t('clone a', '_recovery')]),
      lookAt<Row>(node, 'q', [t('b')]),
      lookAt<Row>(node, 'other', [t('a')]),
    ];
    await new Promise<void>((resolve) => setImmediate(resolve));
    expect(asked).toHaveLength(2);
    await release();
    const [a, b] = await Promise.all(looks);
    expect(a?.map(({ database, table }) => `${database}.${table}`)).toEqual(['db.a', '_recovery.clone a']);
    expect(b).toHaveLength(1);
  });

  it('are asked one by one where a query fails: one table takes no other with it', async () => {
    const { node, release } = fakeNode((tables) => tables.includes('bad'));
    const settled = Promise.allSettled(['a', 'bad', 'b'].map((name) => lookAt<Row>(node, 'q', [t(name)])));
    for (let turn = 0; turn < 5; turn++) await release();
    expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    const again = lookAt<Row>(node, 'q', [t('a')]);
    await release();
    await release();
    expect(await again).toHaveLength(1);
  });

  it('fail together, after one query, where the node does not answer', async () => {
    let isAway = true;
    const away = new RecoveryError('NODE_UNAVAILABLE', 'n1 gave no answer');
    const { node, asked, release } = fakeNode(() => isAway, away);
    const names = Array.from({ length: 70 }, (_, index) => `t${index}`);
    const settled = Promise.allSettled(names.map((name) => lookAt<Row>(node, 'q', [t(name)])));
    await new Promise<void>((resolve) => setImmediate(resolve));
    await release();
    expect((await settled).every((each) => each.status === 'rejected' && each.reason === away)).toBe(true);
    expect(asked).toHaveLength(1);
    isAway = false;
    const again = lookAt<Row>(node, 'q', [t('a')]);
    await new Promise<void>((resolve) => setImmediate(resolve));
    await release();
    expect(await again).toHaveLength(1);
  });

  it('go in several queries where the names are longer than a server takes', async () => {
    const { node, asked, release } = fakeNode();
    const name = (index: number) => `${index}`.padStart(30_000, 'é');
    const all = Promise.all([0, 1, 2, 3].map((index) => lookAt<Row>(node, 'q', [t(name(index))])));
    for (let turn = 0; turn < 8; turn++) await release();
    expect((await all).map((rows) => rows.length)).toEqual([1, 1, 1, 1]);
    expect(asked.map((tables) => tables.length)).toEqual([1, 1, 1, 1]);
  });

  it('go in queries of so many as they say', async () => {
    const { node, asked, release } = fakeNode();
    const names = ['a', 'b', 'c', 'd', 'e'];
    const all = Promise.all(names.map((name) => lookAt<Row>(node, 'q', [t(name)], { maxTables: 2 })));
    for (let turn = 0; turn < 4; turn++) await release();
    await all;
    expect(asked).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
  });

  it('are of their own tables alone where they ask for names: none of another database', async () => {
    const asked: unknown[] = [];
    const query = async (_: string, { params }: StatementOptions = {}) => {
      asked.push(params);
      return [];
    };
    const node = { query } as unknown as ClickHouseNode;
    const sql = '{names:Array(String)}';
    await Promise.all([lookAt<Row>(node, sql, [t('a', 'd1')]), lookAt<Row>(node, sql, [t('b', 'd2')])]);
    expect(asked).toEqual([{ names: ['d1.a', 'd2.b'] }]);
  });
});
