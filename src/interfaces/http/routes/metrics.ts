import { z } from 'zod';
import { RecoveryError } from '../../../domain/errors.js';
import type { ApiParts, Define } from '../endpoint.js';

/** For Prometheus, with the token of a viewer of all clusters. */
export function addMetrics(define: Define, { metrics }: ApiParts): void {
  define({
    method: 'get',
    path: '/metrics',
    summary: 'Metrics for Prometheus; for tokens with clusters: ["*"]',
    may: 'read',
    answers: { 200: { description: 'metrics', content: { 'text/plain': { schema: z.string() } } } },
    handle: async ({ caller, context }) => {
      // They are of all clusters, and Prometheus has no notion of who sees which.
      if (!caller.sees(null))
        throw new RecoveryError('FORBIDDEN', 'metrics are of all clusters: this needs clusters: ["*"]');
      return context.body(await metrics.text(), 200, { 'Content-Type': metrics.contentType });
    },
  });
}
