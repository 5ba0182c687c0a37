import type { Plan } from '../domain/plan.js';
import { planToText } from '../domain/render-plan.js';
import type { Ports } from '../ports.js';
import { toProblem } from './runtime.js';

/** For the report, which shows what was approved. A recovery does not wait for a store that is away. */
export async function keepPlan({ reports, log }: Pick<Ports, 'reports' | 'log'>, plan: Plan): Promise<void> {
  try {
    await reports.savePlan(plan.hash, planToText(plan));
  } catch (error) {
    log.warn({ plan: plan.hash, reason: toProblem(error).message }, 'the plan could not be stored for the report');
  }
}
