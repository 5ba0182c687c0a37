import { z } from 'zod';
import type { AlertMapping } from '../../config/api.js';
import type { RecoveryRequest } from '../../domain/request.js';

/** What we read of Alertmanager's webhook, version 4. */
const alertSchema = z.object({
  status: z.enum(['firing', 'resolved']),
  labels: z.record(z.string(), z.string()),
  // A part of an id, too: a fraction may have any number of digits.
  startsAt: z.iso.datetime({ offset: true }).max(64),
  // Hexadecimal: it becomes a part of an id, so nothing else is taken.
  fingerprint: z.string().regex(/^[0-9a-f]{1,64}$/),
});
export const webhookSchema = z.object({ version: z.string().optional(), alerts: z.array(alertSchema).max(5_000) });

export type Alert = z.infer<typeof alertSchema>;
type Rule = AlertMapping['alerts'][number];
interface Match {
  alert: Alert;
  rule: Rule;
  rank: number;
  cluster: string;
}

/**
 * One request for each cluster that has firing alerts of ours; it waits for approval, whatever the policy. Among several,
 * the alert of the first rule and then the oldest decides. It is the incident: it stays the same while Alertmanager
 * repeats itself, and is another one when the alert fires again.
 */
export function requestsOf(alerts: readonly Alert[], mapping: AlertMapping): RecoveryRequest[] {
  const first = new Map<string, Match>();
  for (const alert of alerts) {
    const match = matchOf(alert, mapping);
    const before = match && first.get(match.cluster);
    if (match && (!before || isBefore(match, before))) first.set(match.cluster, match);
  }
  return [...first.values()].map(({ alert, rule, cluster }) => ({
    cluster,
    ...(rule.backup === undefined ? {} : { backup: rule.backup }),
    ...(rule.tables === undefined ? {} : { tables: rule.tables }),
    incident: `alert ${alert.fingerprint} ${alert.startsAt}`,
    approval: 'required',
  }));
}

function matchOf(alert: Alert, { alerts: rules, clusterLabel, clusters }: AlertMapping): Match | null {
  if (alert.status !== 'firing') return null;
  const label = own(alert.labels, clusterLabel);
  const rank = rules.findIndex(({ match }) =>
    Object.entries(match).every(([name, value]) => own(alert.labels, name) === value),
  );
  const rule = rules[rank];
  return rule && label !== undefined ? { alert, rule, rank, cluster: own(clusters, label) ?? label } : null;
}

function isBefore(one: Match, other: Match): boolean {
  const order =
    one.rank - other.rank ||
    Date.parse(one.alert.startsAt) - Date.parse(other.alert.startsAt) ||
    (one.alert.fingerprint < other.alert.fingerprint ? -1 : 1);
  return order < 0;
}

function own(record: Record<string, string>, key: string): string | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
