import { z } from 'zod';
import { configJsonSchema } from '../../config/schema.js';
import { ERRORS } from '../../domain/errors.js';
import { nothingToDo } from '../../domain/plan.js';
import { planToText, printable } from '../../domain/render-plan.js';
import { reportSchema } from '../../domain/report-schema.js';
import { parseRequest, requestSchema } from '../../domain/request.js';
import type { ExitCode } from './output.js';
import { collect, type CommonOptions, type Define } from './program.js';

interface ClusterOptions extends CommonOptions {
  cluster: string;
}

interface PlanOptions extends ClusterOptions {
  backup?: string;
  tables?: string[];
  adopt?: boolean;
  sql: boolean;
}

/** Commands that need no workflow. */
export function addDirectCommands(define: Define): void {
  define(
    'worker',
    'run a worker',
    (command) => command,
    async (context) => {
      await (await context.direct()).runWorker();
      return 0;
    },
  );

  define<ClusterOptions>(
    'doctor',
    'read-only checks of everything a recovery needs',
    (command) => command.requiredOption('--cluster <name>'),
    async (context, options) => {
      const report = await (await context.direct()).doctor(options.cluster);
      if (options.json) context.streams.out(JSON.stringify(report, null, 2) + '\n');
      else {
        const mark = (ok: boolean) => (ok ? '✔' : '✖');
        const lines = [`${mark(report.keeper.ok)} keeper: ${report.keeper.detail}`];
        for (const node of report.nodes)
          for (const check of node.checks)
            lines.push(`${mark(check.ok)} ${node.name} (${node.shard}/${node.replica}) ${check.name}: ${check.detail}`);
        for (const backup of report.backups)
          lines.push(`  backup ${backup.repository}/${backup.name}, taken ${backup.takenAt}`);
        context.streams.out(lines.map(printable).join('\n') + '\n');
      }
      return report.ok ? 0 : 1;
    },
  );

  define<PlanOptions>(
    'plan',
    'inspect the cluster and print the plan, its hash and its exact SQL; changes no table',
    (command) =>
      command
        .requiredOption('--cluster <name>')
        .option('--backup <ref>', 'latest, REPO or REPO/NAME')
        .option('--tables <pattern>', "such as 'db.*'; repeatable", collect)
        .option('--adopt', 'go on from the safety clones of an unfinished recovery')
        .option('--no-sql', 'leave out the SQL'),
    async (context, options) => {
      const request = parseRequest({
        cluster: options.cluster,
        backup: options.backup,
        tables: options.tables,
        adopt: options.adopt,
      });
      const plan = await (await context.direct()).plan(request);
      context.streams.out(options.json ? JSON.stringify(plan, null, 2) + '\n' : planToText(plan, { sql: options.sql }));
      const refusal = plan.refusals[0];
      if (refusal) return ERRORS[refusal.code].exitCode;
      return nothingToDo(plan) || plan.items.every((item) => item.action !== 'needs-operator') ? 0 : 3;
    },
  );

  define<ClusterOptions>(
    'unfence',
    'lift the fence of a cluster; works without a workflow',
    (command) => command.requiredOption('--cluster <name>'),
    async (context, options): Promise<ExitCode> => {
      const report = await (await context.direct()).unfence(options.cluster);
      context.streams.out(
        options.json
          ? JSON.stringify(report, null, 2) + '\n'
          : report.nodes.map((node) => printable(`${node.ok ? '✔' : '✖'} ${node.name}: ${node.detail}`)).join('\n') +
              '\n',
      );
      return report.ok ? 0 : 1;
    },
  );

  define<CommonOptions>(
    'schema',
    'print the JSON Schema of config, input or report',
    (command) => command.argument('[what]', 'config, input or report; none: all three'),
    async (context, _options, what) => {
      const schemas: Record<string, unknown> = {
        config: configJsonSchema(),
        input: z.toJSONSchema(requestSchema),
        report: z.toJSONSchema(reportSchema),
      };
      if (what !== undefined && !Object.hasOwn(schemas, what)) {
        context.streams.err(`error: no schema '${what}'; there are config, input and report\n`);
        return 2;
      }
      context.streams.out(JSON.stringify(what === undefined ? schemas : schemas[what], null, 2) + '\n');
      return 0;
    },
  );
}
