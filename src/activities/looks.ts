import { tableKey, type TableName } from '../domain/names.js';
import { ServerError, type ClickHouseNode } from '../ports.js';

/** Tables in one query: their names go with it. */
const MAX_TABLES = 64;

interface Waiting<Row> {
  names: TableName[];
  resolve: (rows: Row[]) => void;
  reject: (reason: unknown) => void;
}

type NamedRow = TableName;

/**
 * One kind of look at tables of a node. While a query is under way, those who want to look wait, and are answered
 * together by the next one. So of many tables in flight each costs a part of a query, and every answer is from after
 * its question: nothing is believed that was seen before, however short ago.
 */
class Look<Row extends NamedRow> {
  private waiting: Waiting<Row>[] = [];
  private isBusy = false;

  constructor(private readonly ask: (names: TableName[]) => Promise<Row[]>) {}

  at(names: TableName[]): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ names, resolve, reject });
      if (!this.isBusy) void this.work();
    });
  }

  private async work(): Promise<void> {
    this.isBusy = true;
    // Whoever asks in the same turn is answered by the first query already.
    await Promise.resolve();
    while (this.waiting.length > 0) await this.answer(this.waiting.splice(0, MAX_TABLES));
    this.isBusy = false;
  }

  private async answer(asked: Waiting<Row>[]): Promise<void> {
    try {
      const found = new Map<string, Row[]>();
      for (const row of await this.ask(asked.flatMap(({ names }) => names)))
        found.set(tableKey(row), [...(found.get(tableKey(row)) ?? []), row]);
      for (const { names, resolve } of asked) resolve(names.flatMap((name) => found.get(tableKey(name)) ?? []));
    } catch (error) {
      const isAnswer = error instanceof ServerError;
      // A node that does not answer: one after the other, each would wait as long again.
      const refused = isAnswer ? asked : [...asked, ...this.waiting.splice(0)];
      if (!isAnswer || asked.length === 1) return refused.forEach(({ reject }) => reject(error));
      // It may be about one of the tables: the others are not to suffer from it.
      for (const each of asked) await this.answer([each]);
    }
  }
}

const looks = new WeakMap<ClickHouseNode, Map<string, Look<never>>>();

export interface LookOptions {
  settings?: Record<string, string | number>;
}

/**
 * Rows about these tables from a query that has `{databases:Array(String)}` and `{tables:Array(String)}` and says in
 * `database` and `table` what a row is about.
 */
export function lookAt<Row extends NamedRow>(
  node: ClickHouseNode,
  sql: string,
  names: TableName[],
  { settings = {} }: LookOptions = {},
): Promise<Row[]> {
  const ofNode = looks.get(node) ?? new Map<string, Look<never>>();
  looks.set(node, ofNode);
  const known = ofNode.get(sql) as Look<Row> | undefined;
  if (known) return known.at(names);
  const look = new Look<Row>((all) =>
    node.query<Row>(sql, {
      params: {
        databases: [...new Set(all.map(({ database }) => database))],
        tables: [...new Set(all.map(({ table }) => table))],
      },
      settings,
    }),
  );
  ofNode.set(sql, look as unknown as Look<never>);
  return look.at(names);
}
