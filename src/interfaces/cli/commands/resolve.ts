import { RecoveryError } from '../../../domain/errors.js';
import { parseRequest } from '../../../domain/request.js';
import { printJson, printLines } from '../output.js';
import { collect, whoIsHere, type CommonOptions, type Define } from '../command.js';

export function addResolve(define: Define): void {
  define<CommonOptions & { tables?: string[]; by?: string }>(
    'resolve',
    'decide about failed tables: retry, skip or abort',
    (command) =>
      command
        .argument('<id>')
        .argument('<action>', 'retry, skip or abort')
        .option('--tables <pattern>', 'repeatable; none: all that failed', collect)
        .option('--by <name>', 'who decides; default: the user of this machine'),
    async (context, options, id, action) => {
      if (action !== 'retry' && action !== 'skip' && action !== 'abort')
        throw new RecoveryError('INPUT_INVALID', 'action is retry, skip or abort', { field: 'action' });
      // Only the patterns are of interest: the rules for them are those of a request.
      const { tables } = parseRequest({ cluster: 'any', tables: options.tables });
      await (await context.recoveries()).resolve(id, { action, tables, by: options.by ?? whoIsHere() });
      if (options.json) printJson(context.streams, { id, action });
      else printLines(context.streams, [`${action} sent to ${id}`]);
      return 0;
    },
  );
}
