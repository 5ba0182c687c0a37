import { z } from 'zod';
import { RecoveryError } from '../../../domain/errors.js';
import type { RecoveryRequest } from '../../../domain/request.js';
import { requestsOf, webhookSchema } from '../alerts.js';
import { json, type ApiParts, type Define } from '../endpoint.js';
import { urlOf } from '../views.js';

const answerSchema = z.object({
  recoveries: z.array(
    z.object({
      cluster: z.string(),
      id: z.string(),
      url: z.string(),
      outcome: z
        .enum(['started', 'known', 'in-recovery'])
        .describe('known: this alert has this recovery; in-recovery: the cluster has another one'),
    }),
  ),
});
type Outcome = z.infer<typeof answerSchema>['recoveries'][number]['outcome'];

export function addAlertmanager(define: Define, parts: ApiParts): void {
  define({
    method: 'post',
    path: '/v1/webhooks/alertmanager',
    summary: 'Alertmanager (version 4): alerts of recovery.yaml start recoveries that wait for approval',
    may: 'operate',
    body: webhookSchema,
    answers: { 200: json('what came of the firing alerts; others are ignored', answerSchema) },
    handle: async ({ caller, body, context }) => {
      if (!parts.alertmanager)
        throw new RecoveryError('ENDPOINT_UNKNOWN', 'recovery.yaml has no api.alertmanager: no alert starts anything');
      const requests = requestsOf(body.alerts, parts.alertmanager).filter(
        ({ cluster }) => parts.clusters.includes(cluster) && caller.sees(cluster),
      );
      const recoveries = [];
      for (const request of requests)
        recoveries.push({ cluster: request.cluster, ...(await startFor(parts, request)) });
      return context.json({ recoveries });
    },
  });
}

/** Alertmanager repeats itself: a recovery that is there already is no error. What it should try again, it does on 5xx. */
async function startFor(
  { recoveries, taskQueue }: ApiParts,
  request: RecoveryRequest,
): Promise<{ id: string; url: string; outcome: Outcome }> {
  const answer = (id: string, outcome: Outcome) => ({ id, url: urlOf(id), outcome });
  try {
    const { id, started } = await recoveries.startOnce(request, taskQueue);
    return answer(id, started ? 'started' : 'known');
  } catch (error) {
    if (!(error instanceof RecoveryError)) throw error;
    const id = error.details.objects?.[0];
    // The rule was changed since the alert came first.
    if (error.code === 'REQUEST_CONFLICT' && id !== undefined) return answer(id, 'known');
    if (error.code === 'RECOVERY_RUNNING' && id !== undefined) return answer(id, 'in-recovery');
    throw error;
  }
}
