import { RecoveryError } from '../../../domain/errors.js';
import { planToText } from '../../../domain/render-plan.js';
import { printJson, printLines } from '../output.js';
import type { CommonOptions, Define } from '../command.js';
import { statusLines } from '../status-text.js';

export function addStatus(define: Define): void {
  define<CommonOptions & { plan?: boolean }>(
    'status',
    'where a recovery stands, and what to type next',
    (command) => command.argument('<id>').option('--plan', 'its plan instead, with the exact SQL'),
    async (context, options, id) => {
      const recoveries = await context.recoveries();
      if (options.plan) {
        const plan = await recoveries.plan(id);
        if (!plan) throw new RecoveryError('NOT_YET', `${id.slice(0, 300)} has no plan yet`);
        if (options.json) printJson(context.streams, plan, 2);
        else context.streams.out(planToText(plan));
        return 0;
      }
      const progress = await recoveries.progress(id);
      if (options.json) printJson(context.streams, progress, 2);
      else printLines(context.streams, statusLines(progress));
      return 0;
    },
  );
}
