import { printJson, printLines } from '../output.js';
import type { CommonOptions, Define } from '../command.js';

function addSignal(name: 'abort' | 'pause' | 'resume', description: string): (define: Define) => void {
  return (define) =>
    define<CommonOptions>(
      name,
      description,
      (command) => command.argument('<id>'),
      async (context, options, id) => {
        await (await context.recoveries()).signal(id, name);
        if (options.json) printJson(context.streams, { id, sent: name });
        else printLines(context.streams, [`${name} sent to ${id}`]);
        return 0;
      },
    );
}

export const addAbort = addSignal('abort', 'stop a recovery at the next safe point');
export const addPause = addSignal('pause', 'start no further step until resume');
export const addResume = addSignal('resume', 'go on after pause');
