import type { Plan, PlanItem } from './plan.js';

/** Names come from the cluster: a terminal must not obey them. */
export function printable(text: string): string {
  return text.replace(
    // eslint-disable-next-line no-control-regex
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const labelOf = (item: PlanItem) => `${item.database}.${item.table} @ ${item.node.shard}/${item.node.replica}`;

/** The plan for people: what is wrong, what would be done, the exact SQL, and the hash to approve. */
export function planToText(plan: Plan, { sql = true }: { sql?: boolean } = {}): string {
  const lines: string[] = [`cluster ${plan.cluster}, plan ${plan.hash}`];
  if (plan.backup)
    lines.push(
      `backup  ${plan.backup.repository}/${plan.backup.name}${plan.backup.takenAt === '' ? '' : `, taken ${plan.backup.takenAt}`} (evidence: ${plan.backup.evidence})`,
    );
  for (const refusal of plan.refusals)
    lines.push(`REFUSED ${refusal.code}: ${refusal.message}`, `        hint: ${refusal.hint}`);
  for (const warning of plan.warnings) lines.push(`warning ${warning}`);
  lines.push('');
  const healthy = plan.items.filter((item) => item.action === 'none').length;
  for (const item of plan.items.filter((each) => each.action !== 'none')) {
    lines.push(
      `${labelOf(item).padEnd(48)} ${item.situation} → ${item.action}${item.expected ? ` (${item.expected.rows} rows, ${item.expected.parts} parts)` : ''}`,
    );
    if (item.problem) lines.push(`    ${item.problem.code}: ${item.problem.message}`, `    hint: ${item.problem.hint}`);
  }
  lines.push(`${healthy} tables are healthy and stay as they are`);
  for (const line of plan.keeperState) lines.push(`in ZooKeeper too: ${line.what}: ${line.verdict} — ${line.detail}`);
  if (sql) lines.push(...statements(plan));
  return lines.map(printable).join('\n') + '\n';
}

function statements(plan: Plan): string[] {
  const lines: string[] = [];
  for (const { node, fence, databases } of plan.nodes) {
    const items = plan.items.filter((item) => item.node.name === node.name && item.statements.length > 0);
    if (items.length === 0 && databases.length === 0) continue;
    lines.push(
      '',
      `-- node ${node.name} (${node.shard}/${node.replica})`,
      ...fence.map((sql) => `${sql};`),
      ...databases.map((sql) => `${sql};`),
    );
    for (const item of items) lines.push(`-- ${labelOf(item)}`, ...item.statements.map(({ sql }) => `${sql};`));
  }
  return lines;
}
