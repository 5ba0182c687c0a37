import { writeFile } from 'node:fs/promises';
import { RecoveryError } from '../../../domain/errors.js';
import { reportToHtml } from '../../../domain/render-html.js';
import { printable } from '../../../domain/render-plan.js';
import { reportToMarkdown } from '../../../domain/render-report.js';
import type { Report } from '../../../domain/report.js';
import { planTextOf, storedUnlessKnown } from '../../../service/archive.js';
import { exitCodeOf, printJson, printLines, silenceLines } from '../output.js';
import type { CommandContext, CommonOptions, Define } from '../command.js';

interface ReportOptions extends CommonOptions {
  format: string;
  out?: string;
}

type Render = (report: Report, context: CommandContext) => string | Promise<string>;

type Format = 'json' | 'markdown' | 'html';

const FORMATS: Record<Format, Render> = {
  json: (report) => `${JSON.stringify(report, null, 2)}\n`,
  markdown: (report) => reportToMarkdown(report),
  html: async (report, context) =>
    reportToHtml(report, await planTextOf(report, await context.recoveries(), reports(context))),
};

const reports = (context: CommandContext) => async () => (await context.direct()).reports;

export function addReport(define: Define): void {
  define<ReportOptions>(
    'report',
    'the report of a recovery; waits for its end',
    (command) =>
      command
        .argument('<id>')
        .option('--format <format>', 'json, markdown or html', 'markdown')
        .option('--out <file>', 'write it there instead of printing it'),
    async (context, options, id) => {
      if (!Object.hasOwn(FORMATS, options.format))
        throw new RecoveryError('INPUT_INVALID', 'format is json, markdown or html', { field: 'format' });
      const format = options.json ? 'json' : (options.format as Format);
      const render = FORMATS[format];
      const recoveries = await context.recoveries();
      const fromTemporal = () =>
        recoveries.report(id, (reason) => {
          for (const line of silenceLines(reason)) context.streams.err(`${printable(line)}\n`);
        });
      const report = await storedUnlessKnown(fromTemporal, reports(context), id);
      if (options.out !== undefined) await write(context, options.out, await render(report, context));
      else if (format === 'json') printJson(context.streams, report, 2);
      else context.streams.out(await render(report, context));
      return exitCodeOf(report.outcome);
    },
  );
}

async function write({ streams }: CommandContext, file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text);
  } catch (cause) {
    const { code = 'error' } = cause as NodeJS.ErrnoException;
    throw new RecoveryError('INPUT_INVALID', `${file} cannot be written (${code})`, { field: 'out' });
  }
  printLines(streams, [`wrote ${file}`]);
}
