import { expect, it } from 'vitest';
import { isTemplate, TEMPLATE_MEMO, templateLink, templateRequest } from '../../src/domain/template.js';

it('the link has what the form of the UI reads, and no workflow id, which it would look for', () => {
  const run = { namespace: 'dr.a1b2c', runId: 'r&d', workflowType: 'recoverCluster', taskQueue: 'my queue' };
  const url = new URL(templateLink('https://ui.internal/temporal/', run));
  expect(url.origin + url.pathname).toBe('https://ui.internal/temporal/namespaces/dr.a1b2c/workflows/start-workflow');
  expect(Object.fromEntries(url.searchParams)).toEqual({
    runId: 'r&d',
    workflowType: 'recoverCluster',
    taskQueue: 'my queue',
  });
});

it('asks for approval, whatever was asked for', () => {
  expect(templateRequest({ cluster: 'prod', approval: 'auto' })).toEqual({ cluster: 'prod', approval: 'required' });
});

it.each<[Record<string, unknown> | undefined, boolean]>([
  [TEMPLATE_MEMO, true],
  [undefined, false],
  [{ requestHash: 'x' }, false],
  [{ template: 'true' }, false],
])('memo %j: %s', (memo, expected) => expect(isTemplate(memo)).toBe(expected));
