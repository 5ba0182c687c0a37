/** Fields of a log line. */
export interface Subject {
  cluster?: string;
  node?: string;
  shard?: string;
  replica?: string;
  /** `db.table`, as it is: whoever writes the line escapes it. */
  table?: string;
  /** How many, where an activity is about several. */
  tables?: number;
}

/** All of them, for whoever lets only known fields into a log. */
export const SUBJECT_FIELDS: readonly (keyof Subject)[] = ['cluster', 'node', 'shard', 'replica', 'table', 'tables'];

type Fields = Record<string, unknown>;

/** What an activity is about, from its argument. The shapes are those of activities/index.ts. */
export function subjectOf(argument: unknown): Subject {
  const input = fieldsOf(argument);
  const [run, item, request] = [fieldsOf(input['run']), fieldsOf(input['item']), fieldsOf(input['report'])];
  const node = fieldsOf(input['node'] ?? item['node']);
  const { items } = input;
  const found = {
    cluster: text(run['cluster'] ?? request['cluster'] ?? input['cluster']),
    node: text(node['name']),
    shard: text(node['shard'] ?? input['shard']),
    replica: text(node['replica']),
    table: tableOf(item),
    tables: Array.isArray(items) ? items.length : undefined,
  };
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}

function tableOf({ database, table }: Fields): string | undefined {
  return typeof database === 'string' && typeof table === 'string' ? text(`${database}.${table}`) : undefined;
}

const text = (value: unknown) => (typeof value === 'string' ? value.slice(0, 500) : undefined);
