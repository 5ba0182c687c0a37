import { printJson, printLines } from '../output.js';
import type { CommonOptions, Define } from '../command.js';
import { statusLines } from '../status-text.js';

export function addStatus(define: Define): void {
  define<CommonOptions>(
    'status',
    'where a recovery stands, and what to type next',
    (command) => command.argument('<id>'),
    async (context, options, id) => {
      const progress = await (await context.recoveries()).progress(id);
      if (options.json) printJson(context.streams, progress, 2);
      else printLines(context.streams, statusLines(progress));
      return 0;
    },
  );
}
