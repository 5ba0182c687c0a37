import { RecoveryError } from '../../../domain/errors.js';
import { printJson, printLines } from '../output.js';
import { whoIsHere, type CommonOptions, type Define } from '../command.js';

export function addApprove(define: Define): void {
  define<CommonOptions & { plan?: string; by?: string }>(
    'approve',
    'approve the plan with this hash',
    (command) =>
      command
        .argument('<id>')
        .argument('[hash]', 'the same as --plan')
        .option('--plan <hash>')
        .option('--by <name>', 'who decides; default: the user of this machine'),
    async (context, options, id, hash) => {
      const planHash = oneHash(options.plan, hash);
      const by = options.by ?? whoIsHere();
      const answer = await (await context.recoveries()).approve(id, { planHash, by });
      if (options.json) printJson(context.streams, { id, planHash, answer });
      else printLines(context.streams, [answer]);
      return 0;
    },
  );
}

function oneHash(option: string | undefined, argument: string | undefined): string {
  if (option !== undefined && argument !== undefined && option !== argument)
    throw new RecoveryError('INPUT_INVALID', 'two different hashes are given', { field: 'plan' });
  const hash = option ?? argument ?? '';
  if (hash === '')
    throw new RecoveryError('INPUT_INVALID', 'the hash of the plan is missing: --plan HASH', { field: 'plan' });
  return hash;
}
