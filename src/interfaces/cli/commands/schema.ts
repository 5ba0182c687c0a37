import { z } from 'zod';
import { configJsonSchema } from '../../../config/schema.js';
import { RecoveryError } from '../../../domain/errors.js';
import { reportSchema } from '../../../domain/report-schema.js';
import { requestSchema } from '../../../domain/request.js';
import { printJson } from '../output.js';
import type { CommonOptions, Define } from '../command.js';

const SCHEMAS: Record<string, () => unknown> = {
  config: configJsonSchema,
  input: () => z.toJSONSchema(requestSchema),
  report: () => z.toJSONSchema(reportSchema),
};

export function addSchema(define: Define): void {
  define<CommonOptions>(
    'schema',
    'print the JSON Schema of config, input or report',
    (command) => command.argument('[what]', 'config, input or report; none: all three'),
    async (context, _options, what) => {
      const schemaOf = what !== undefined && Object.hasOwn(SCHEMAS, what) ? SCHEMAS[what] : undefined;
      if (what !== undefined && !schemaOf)
        throw new RecoveryError('INPUT_INVALID', `there is no schema '${what}'; there are config, input and report`, {
          field: 'what',
        });
      const all = () => Object.fromEntries(Object.entries(SCHEMAS).map(([name, schema]) => [name, schema()]));
      printJson(context.streams, schemaOf ? schemaOf() : all(), 2);
      return 0;
    },
  );
}
