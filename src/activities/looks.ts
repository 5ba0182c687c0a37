import { tableKey, type TableName } from '../domain/names.js';
import { ServerError, type ClickHouseNode } from '../ports.js';
import { perNode } from './per-node.js';

/** A thread for each part of a union costs more than what it reads. */
export const LIGHT = { settings: { max_threads: 1 } };

/** For a look that holds up no statement: it waits longer, also for those that wait for their turn, so that more share it. */
export const PATIENT = { ...LIGHT, isPatient: true };
const PATIENCE = 8;

/** Those that wait, answered by one query. */
const MAX_TABLES = 256;
/** Of names in one query: old servers take 256 KiB of text, in which they stand up to three times. */
const MAX_NAME_BYTES = 64 * 1024;

/** A look waits no longer for what is under way than about as long as it takes itself, in milliseconds within these. */
const MIN_WAIT_MS = 10;
const MAX_WAIT_MS = 100;

/** Steps of tables on a node, after which each will look. */
class UnderWay {
  private count = 0;
  private readonly waiting = new Set<() => void>();

  async during<T>(work: () => Promise<T>): Promise<T> {
    this.count++;
    try {
      return await work();
    } finally {
      if (--this.count === 0) for (const go of this.waiting) go();
    }
  }

  /** Until nothing is under way, or for so long. */
  async over(ms: number): Promise<void> {
    if (this.count === 0) return;
    await new Promise<void>((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.waiting.delete(go);
        // Whoever has ended asks now.
        setImmediate(resolve);
      };
      const timer = setTimeout(go, ms);
      this.waiting.add(go);
    });
  }
}

const underWayOn = perNode(() => ({ now: new UnderWay(), soon: new UnderWay() }));

/** A step of a table: looks at the node wait a little for it, so that what comes after it is looked at together. */
export function beforeLook<T>(node: ClickHouseNode, step: () => Promise<T>): Promise<T> {
  const { now, soon } = underWayOn(node);
  return soon.during(() => now.during(step));
}

/** One that has to wait itself, for a look at that: only patient looks wait for it. */
export const beforePatientLook = <T>(node: ClickHouseNode, step: () => Promise<T>): Promise<T> =>
  underWayOn(node).soon.during(step);

interface Waiting<Row> {
  names: TableName[];
  resolve: (rows: Row[]) => void;
  reject: (reason: unknown) => void;
}

type NamedRow = TableName;

/**
 * One kind of look at tables of a node. While a query is under way, those who want to look wait, and are answered
 * together by the next one; so they do, for a moment, while others are about to look as well. A look at many tables
 * costs a server little more than at one (seen on 26.7: 15 ms of CPU for 1 and for 16). Every answer is from after its
 * question: nothing is believed that was seen before, however short ago.
 */
class Look<Row extends NamedRow> {
  private waiting: Waiting<Row>[] = [];
  private isBusy = false;
  private lastMs = 0;

  constructor(
    private readonly ask: (names: TableName[]) => Promise<Row[]>,
    private readonly others: UnderWay,
    private readonly options: Required<Pick<LookOptions, 'isPatient' | 'maxTables'>>,
  ) {}

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
    while (this.waiting.length > 0) {
      const waitMs = Math.min(Math.max(this.lastMs, MIN_WAIT_MS), MAX_WAIT_MS);
      await this.others.over(this.options.isPatient ? PATIENCE * waitMs : waitMs);
      const startedAt = performance.now();
      await this.answer(this.waiting.splice(0, this.atOnce()));
      this.lastMs = performance.now() - startedAt;
    }
    this.isBusy = false;
  }

  /** How many of those that wait fit into one query. */
  private atOnce(): number {
    let bytes = 0;
    const tooFar = this.waiting.findIndex(({ names }, index) => {
      for (const { table } of names) bytes += Buffer.byteLength(JSON.stringify(table)) + 1;
      return index > 0 && (index >= this.options.maxTables || bytes > MAX_NAME_BYTES);
    });
    return tooFar === -1 ? this.waiting.length : tooFar;
  }

  private async answer(asked: Waiting<Row>[]): Promise<void> {
    try {
      const found = new Map<string, Row[]>();
      for (const row of await this.ask(asked.flatMap(({ names }) => names))) {
        const known = found.get(tableKey(row));
        if (known) known.push(row);
        else found.set(tableKey(row), [row]);
      }
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
  /** It holds up no statement. @default false */
  isPatient?: boolean;
  /** Of those that wait, answered by one query: fewer where each has many rows, or takes its time. @default 256 */
  maxTables?: number;
}

/**
 * Rows about these tables from a query that has `{databases:Array(String)}` and `{tables:Array(String)}`, or
 * `{names:Array(String)}` with a point between the two, and says in `database` and `table` what a row is about.
 */
export function lookAt<Row extends NamedRow>(
  node: ClickHouseNode,
  sql: string,
  names: TableName[],
  { settings = {}, isPatient = false, maxTables = MAX_TABLES }: LookOptions = {},
): Promise<Row[]> {
  const ofNode = looks.get(node) ?? new Map<string, Look<never>>();
  looks.set(node, ofNode);
  const known = ofNode.get(sql) as Look<Row> | undefined;
  if (known) return known.at(names);
  const look = new Look<Row>(
    (all) =>
      node.query<Row>(sql, {
        params: sql.includes('{names:')
          ? { names: all.map(({ database, table }) => `${database}.${table}`) }
          : {
              databases: [...new Set(all.map(({ database }) => database))],
              tables: [...new Set(all.map(({ table }) => table))],
            },
        settings,
      }),
    isPatient ? underWayOn(node).soon : underWayOn(node).now,
    { isPatient, maxTables },
  );
  ofNode.set(sql, look as unknown as Look<never>);
  return look.at(names);
}
