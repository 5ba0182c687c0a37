import { ERRORS } from '../../../domain/errors.js';
import { workOf, type Plan } from '../../../domain/plan.js';
import { planToText } from '../../../domain/render-plan.js';
import { parseRequest, type RecoveryRequest } from '../../../domain/request.js';
import { printJson, printLines, shellWord, type ExitCode } from '../output.js';
import { collect, type CommonOptions, type Define } from '../command.js';

interface PlanOptions extends CommonOptions {
  cluster: string;
  backup?: string;
  tables?: string[];
  adopt?: boolean;
  sql: boolean;
}

export function addPlan(define: Define): void {
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
      if (options.json) printJson(context.streams, plan, 2);
      else {
        context.streams.out(planToText(plan, { sql: options.sql }));
        if (plan.refusals.length === 0 && workOf(plan).length > 0)
          printLines(context.streams, ['', `next: ${startCommand(request, plan)}`]);
      }
      return exitCode(plan);
    },
  );
}

function exitCode(plan: Plan): ExitCode {
  const refusal = plan.refusals[0];
  if (refusal) return ERRORS[refusal.code].exitCode;
  return plan.items.some((item) => item.action === 'needs-operator') ? 3 : 0;
}

/** The same request again: another one would give another plan, and its hash would be refused. */
function startCommand({ cluster, backup, tables, adopt }: RecoveryRequest, plan: Plan): string {
  return [
    ...['ch-recover', 'start', '--cluster', cluster],
    ...(backup === undefined ? [] : ['--backup', backup]),
    ...(tables ?? []).flatMap((pattern) => ['--tables', pattern]),
    ...(adopt ? ['--adopt'] : []),
    ...['--approve', plan.hash],
  ]
    .map(shellWord)
    .join(' ');
}
