import { readFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import { describe, expect, it } from 'vitest';
import { configJsonSchema } from '../../src/config/schema.js';
import { ERRORS } from '../../src/domain/errors.js';
import { DEFAULT_POLICY, type Policy } from '../../src/domain/policy.js';

/** Written from the code by `npx vitest run -u test/config/docs.test.ts`. */
const NOTE = 'Written from the code: `npx vitest run -u test/config/docs.test.ts`.';

async function markdown(title: string, about: string, header: string[], rows: string[][]): Promise<string> {
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const table = [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
  const file = `docs/${title}.md`;
  return format(`# ${title[0]!.toUpperCase()}${title.slice(1)}\n\n${about}\n\n${table}\n\n${NOTE}\n`, {
    ...(await resolveConfig(file)),
    filepath: file,
  });
}

describe('the reference pages say what the code says', () => {
  it('docs/errors.md', async () => {
    const rows = Object.entries(ERRORS).map(([code, { summary, hint, exitCode, httpStatus, retryable }]) => [
      ...[`\`${code}\``, summary, hint, String(exitCode), String(httpStatus), retryable ? 'yes' : ''],
    ]);
    const about =
      'Codes are stable; texts are not. Exit codes of `ch-recover`: 1 it did not work, 2 what you asked for is not right, 3 a person decides. `again`: the same call may succeed later.';
    const header = ['code', 'what', 'what to do', 'exit', 'HTTP', 'again'];
    await expect(await markdown('errors', about, header, rows)).toMatchFileSnapshot('../../docs/errors.md');
  });

  it('docs/policies.md', async () => {
    const schema = configJsonSchema() as {
      properties: { policies: { properties: Record<keyof Policy, Record<string, unknown>> } };
    };
    const rows = Object.entries(schema.properties.policies.properties).map(([name, of]) => {
      expect(of['description'], name).toBeTypeOf('string');
      const values = of['enum'] ? (of['enum'] as string[]).join(', ') : `${of['type'] as string}`;
      const range = of['maximum'] === undefined ? values : `${of['minimum'] as number} to ${of['maximum'] as number}`;
      return [`\`${name}\``, String(DEFAULT_POLICY[name as keyof Policy]), range, of['description'] as string];
    });
    const about = 'Under `policies:` of recovery.yaml, for all clusters or for one. Every duration is in seconds.';
    const header = ['policy', 'default', 'values', 'meaning'];
    await expect(await markdown('policies', about, header, rows)).toMatchFileSnapshot('../../docs/policies.md');
  });

  it('README links them', () => {
    const readme = readFileSync('README.md', 'utf8');
    for (const page of ['docs/errors.md', 'docs/policies.md']) expect(readme).toContain(page);
  });
});
