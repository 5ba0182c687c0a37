import type { RecoveryRequest } from './request.js';

/**
 * A template is a run of `recoverCluster` that ends at once: the form of the Temporal UI pre-fills from a run of the same
 * type. Its memo says what it is; a run that is started like it has no memo, and is a recovery.
 */
export const TEMPLATE_MEMO = { template: true } as const;

export function isTemplate(memo: Record<string, unknown> | undefined): boolean {
  return memo?.['template'] === true;
}

/**
 * Asks for approval, whatever the policy says: who starts it sees the plan first. And a worker of before 0.3, which takes
 * a template for a recovery, changes nothing before somebody approves.
 */
export function templateRequest(request: RecoveryRequest): RecoveryRequest {
  return { ...request, approval: 'required' };
}

/** What the run shows in the UI. */
export const TEMPLATE_DETAILS =
  '**A template: nothing was done.** *Start Workflow Like This One* opens a form with its input. Give it a Workflow ID of its own.';

/** The form of the Temporal UI, filled in from this run. A workflow id in the link would be looked for as well. */
export function templateLink(
  ui: string,
  run: { namespace: string; runId: string; workflowType: string; taskQueue: string },
): string {
  const query = ['runId', 'workflowType', 'taskQueue'] as const;
  const fields = query.map((name) => `${name}=${encodeURIComponent(run[name])}`);
  return `${ui.replace(/\/+$/, '')}/namespaces/${encodeURIComponent(run.namespace)}/workflows/start-workflow?${fields.join('&')}`;
}
