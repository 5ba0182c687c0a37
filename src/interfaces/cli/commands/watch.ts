import { follow } from '../follow.js';
import type { CommonOptions, Define } from '../command.js';

export function addWatch(define: Define): void {
  define<CommonOptions>(
    'watch',
    'follow a recovery to its end; Ctrl-C leaves it running',
    (command) => command.argument('<id>'),
    (context, options, id) => follow(context, id, options.json === true),
  );
}
