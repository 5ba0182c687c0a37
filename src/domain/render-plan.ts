import { nothingToDo, workOf, type Plan, type PlanItem } from './plan.js';

// C0 and C1 controls, direction marks and overrides, zero-width characters, line and paragraph separators: what a
// terminal obeys, and what makes one name look like another. The second keeps line feeds and tabs.
const UNPRINTABLE =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const UNPRINTABLE_IN_BLOCK =
  // eslint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

const escaped = (char: string) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** One line. Names come from the cluster: a terminal must not obey them, nor may they begin a line of their own. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escaped);
}

/** Several lines of ours: JSON, Markdown, SQL. In JSON the escapes are JSON's own, so it stays the same JSON. */
export function printableBlock(text: string): string {
  return text.replace(UNPRINTABLE_IN_BLOCK, escaped);
}

const labelOf = (item: PlanItem) => `${item.database}.${item.table} @ ${item.node.shard}/${item.node.replica}`;
const counted = (count: number, one: string, many = `${one}s`) =>
  `${count.toLocaleString('en-US')} ${count === 1 ? one : many}`;

/** The plan for people: what is wrong, what would be done, the exact SQL, and the hash to approve. */
export function planToText(plan: Plan, { sql = true }: { sql?: boolean } = {}): string {
  const healthy = plan.stored
    ? plan.stored.items - plan.stored.work
    : plan.items.filter((item) => item.action === 'none').length;
  const lines = [
    `cluster ${plan.cluster}, plan ${plan.hash}`,
    ...backupLine(plan),
    ...plan.refusals.flatMap((refusal) => [
      `REFUSED ${refusal.code}: ${refusal.message}`,
      `        hint: ${refusal.hint}`,
    ]),
    ...plan.warnings.map((warning) => `warning ${warning}`),
    '',
    ...plan.items.filter((item) => item.action !== 'none').flatMap(itemLines),
    ...(plan.stored
      ? [`${counted(plan.stored.work, 'unit')} of work: plans/${plan.hash}.sql in the report store has them all`]
      : []),
    ...(nothingToDo(plan) ? ['nothing to do'] : []),
    `${counted(healthy, 'table is', 'tables are')} healthy and ${healthy === 1 ? 'stays' : 'stay'} as ${healthy === 1 ? 'it is' : 'they are'}`,
    ...plan.keeperState.map((line) => `in ZooKeeper too: ${line.what}: ${line.verdict} — ${line.detail}`),
  ].map(printable);
  return [...lines, ...(sql ? statements(plan) : [])].join('\n') + '\n';
}

function backupLine({ backup }: Plan): string[] {
  if (!backup) return [];
  const taken = backup.takenAt === '' ? '' : `, taken ${backup.takenAt}`;
  return [`backup  ${backup.repository}/${backup.name}${taken} (evidence: ${backup.evidence})`];
}

function itemLines(item: PlanItem): string[] {
  const { problem, place } = item;
  const expected = item.expected ?? (place && { parts: place.counted.parts, rows: place.counted.rows ?? 0 });
  const found = expected ? ` (${counted(expected.rows, 'row')}, ${counted(expected.parts, 'part')})` : '';
  const first = item.authority && item.action !== 'needs-operator' ? ', goes first' : '';
  const line = `${labelOf(item).padEnd(48)} ${item.situation} → ${item.action}${found}${first}`;
  return problem ? [line, `    ${problem.code}: ${problem.message}`, `    hint: ${problem.hint}`] : [line];
}

/** Every statement that would be sent, by node and table. Where there is no work, none is. */
function statements(plan: Plan): string[] {
  if (workOf(plan).length === 0) return [];
  const lines = [
    '',
    '-- In the order of the undisturbed run, repairs after a crash last. {partition} stands for a partition id,',
    '-- {part} for the name of a part, {operation} for the id of a RESTORE; after validation, {clone} for a safety',
    '-- clone, {aside} for the name it is kept under, {left behind} for what attempts left in _recovery, {recovery}',
    '-- for the id of this recovery, {n} for a number.',
  ];
  for (const { node, fence, databases, closing = [] } of plan.nodes) {
    const items = plan.items.filter((item) => item.node.name === node.name && item.statements.length > 0);
    if (items.length === 0 && databases.length + fence.length + closing.length === 0) continue;
    lines.push('', printable(`-- node ${node.name} (${node.shard}/${node.replica})`));
    lines.push(...[...fence, ...databases].map(statement));
    for (const item of items)
      lines.push(printable(`-- ${labelOf(item)}`), ...item.statements.map((each) => statement(each.sql)));
    if (closing.length > 0) lines.push('-- after validation', ...closing.map(statement));
  }
  return lines;
}

/** Further lines are indented, so that a name with a line feed cannot pass for a line of the plan. */
function statement(sql: string): string {
  return `${printableBlock(sql).replaceAll('\n', '\n    ')};`;
}
