import { decidePromotion } from '../domain/conversion.js';
import { RecoveryError } from '../domain/errors.js';
import { tableKey } from '../domain/names.js';
import type { PlanItem } from '../domain/plan.js';
import type { Ports } from '../ports.js';
import { pause, type StepContext } from './runtime.js';
import { Unit } from './unit.js';

const POLL_MS = 200;

/** Gives validated tables their names: from then on they are written to. Safe to repeat. */
export async function promoteTables(
  ports: Ports,
  cluster: string,
  items: PlanItem[],
  context: StepContext,
): Promise<void> {
  for (const item of items) {
    const unit = new Unit(ports, cluster, item, context);
    context.progress({ table: tableKey(item), step: 'promote' });
    for (;;) {
      const step = decidePromotion(await unit.observe(false, { comparesParts: false }));
      if (step.do === 'done') break;
      if (step.do === 'refuse')
        throw new RecoveryError(step.code, `${tableKey(item)} on ${item.node.name}: ${step.why}`, {
          objects: [tableKey(item)],
        });
      if (step.do === 'promote') await unit.send('promote');
      else await pause(POLL_MS, context.signal);
      context.assertFresh();
    }
  }
}
