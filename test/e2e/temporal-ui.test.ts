import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Report } from '../../src/domain/report.js';
import { createDataset } from '../support/dataset.js';
import { compareSnapshots, takeSnapshot, type Snapshot } from '../support/oracle.js';
import { scratchDir, waitFor } from '../support/processes.js';
import { CLUSTER, REPOSITORY, startRig, type Rig } from '../support/recovery-rig.js';
import { describeOn } from '../support/scenarios.js';
import { openPage, screenshot, StartForm, startBrowser, WorkflowPages } from '../support/temporal-ui.js';

const RECOVERED_MS = 120_000;

/** A person with nothing but the stock UI, from a form to a report. The steps follow each other. */
describeOn('embedded', 'the stock Temporal UI', { needs: ['nativeBackup'] }, () => {
  const scratch = scratchDir('temporal-ui');
  let rig: Rig;
  let browser: Browser;
  let connection: Connection;
  let client: Client;
  let before: Snapshot;
  let page: Page;
  let id: string;
  let runId: string;

  const judge = () => takeSnapshot({ nodes: rig.nodes, keeperHosts: rig.ensemble.hosts });
  const eventsOf = async (workflowId: string) =>
    (await client.workflow.getHandle(workflowId).fetchHistory()).events ?? [];
  const activitiesOf = async (workflowId: string) =>
    (await eventsOf(workflowId)).flatMap(
      (event) => event.activityTaskScheduledEventAttributes?.activityType?.name ?? [],
    );
  const cli = async (...args: string[]) => {
    const { exitCode, stdout, stderr } = await rig.cli(...args);
    expect(exitCode, stderr).toBe(0);
    return stdout;
  };

  beforeAll(async () => {
    rig = await startRig({ dir: scratch.path, ui: true, policies: { approval: 'required' } });
    await createDataset(rig.nodes, 'small');
    before = await judge();
    await rig.startWorker();
    await cli('backup', '--cluster', CLUSTER, '--to', REPOSITORY, '--wait');
    await rig.disaster({ lostShards: [1] });
    connection = await Connection.connect({ address: rig.temporal.address });
    client = new Client({ connection });
    browser = await startBrowser();
    page = await openPage(browser);
  });
  afterAll(async () => {
    await browser?.close();
    await connection?.close();
    await rig?.stop();
    scratch.remove();
  });

  it('a template does nothing, and its link opens a form that is filled in', async () => {
    const ui = rig.temporal.uiAddress ?? '';
    const lost = compareSnapshots(before, await judge());
    const made = await cli('template', '--cluster', CLUSTER, '--backup', 'latest', '--ui', ui, '--json');
    const template = JSON.parse(made) as { id: string; url: string };
    expect((await client.workflow.getHandle(template.id).describe()).status.name).toBe('COMPLETED');
    expect(await activitiesOf(template.id)).toEqual(['getPolicy']);
    expect(compareSnapshots(before, await judge())).toEqual(lost);
    expect((await rig.cli('report', template.id)).exitCode).toBe(2);

    await page.goto(template.url);
    const form = new StartForm(page);
    expect(await form.input()).toEqual({ cluster: CLUSTER, backup: 'latest', approval: 'required' });
    expect(await form.field('taskQueue')).toBe('clickhouse-recovery');
    expect(await form.field('workflowType')).toBe('recoverCluster');
    await screenshot(page, 'ui-start');
    ({ id, runId } = await form.start());
  });

  it('the plan waits as a table; a stale hash is refused and leaves no event; the right one recovers the cluster', async () => {
    const run = new WorkflowPages(page, `${rig.temporal.uiAddress}/namespaces/default/workflows/${id}/${runId}`);
    const details = await run.untilDetailsSay('Waiting for approval');
    const [stages, tables] = await details.locator('table').all();
    expect(await stages?.locator('tbody tr').count()).toBe(5);
    expect(await tables?.locator('tbody').innerText()).toMatch(/shop\.orders @ 02\/r1/);
    await screenshot(page, 'ui-waiting');
    const [, planHash = ''] = /"planHash":"([0-9a-f]{64})"/.exec(await details.innerText()) ?? [];

    const events = (await eventsOf(id)).length;
    const stale = { planHash: 'a'.repeat(64), by: 'ann' };
    const refusal = await run.update('approve', stale);
    expect(refusal).toContain(`not the hash of the plan that waits for approval (${planHash})`);
    expect((await eventsOf(id)).length).toBe(events);

    expect(await run.update('approve', { planHash, by: 'ann' })).toBeNull();
    const ended = await run.untilDetailsSay(`${CLUSTER}: succeeded`, RECOVERED_MS);
    expect(await ended.locator('table').last().innerText()).toMatch(/✔\sdone/);
    await screenshot(page, 'ui-succeeded');
    expect(compareSnapshots(before, await judge())).toEqual([]);
  });

  it('the report is a page that reads well on a screen, at night and on a phone, also when Temporal has forgotten the run', async () => {
    const file = join(scratch.path, 'report.html');
    await cli('report', id, '--format', 'html', '--out', file);
    const report = JSON.parse(await cli('report', id, '--json')) as Report;
    expect(report).toMatchObject({ outcome: 'succeeded', plan: { approvedBy: 'approved by ann (as stated)' } });
    expect(report.tables.every(({ action, timeline }) => action === 'none' || (timeline ?? []).length > 0)).toBe(true);
    expect(readFileSync(join(scratch.path, 'reports', `${id}.html`), 'utf8')).toBe(readFileSync(file, 'utf8'));

    for (const [name, options] of Object.entries({
      'report-light': { colorScheme: 'light', viewport: { width: 1100, height: 1500 } },
      'report-dark': { colorScheme: 'dark', viewport: { width: 1100, height: 1500 } },
      'report-phone': { colorScheme: 'light', viewport: { width: 390, height: 1800 } },
    } as const)) {
      const shown = await openPage(browser, options);
      const asked: string[] = [];
      shown.on('request', (request) => asked.push(request.url()));
      shown.on('pageerror', (error) => asked.push(error.message));
      await shown.goto(pathToFileURL(file).href);
      expect(await shown.locator('h1').innerText()).toMatch(/demo\s+✔ succeeded/);
      const [content, window] = await shown.evaluate<number[]>('[document.documentElement.scrollWidth, innerWidth]');
      expect(content).toBeLessThanOrEqual(window!);
      await screenshot(shown, name);
      await shown.getByText('the exact SQL').click();
      expect(await shown.locator('pre').innerText()).toContain('SYSTEM RESTORE REPLICA `shop`.`orders`');
      expect(asked).toEqual([pathToFileURL(file).href]);
      await shown.context().close();
    }

    await client.workflowService.deleteWorkflowExecution({
      namespace: 'default',
      workflowExecution: { workflowId: id },
    });
    await waitFor(
      () =>
        client.workflow
          .getHandle(id)
          .describe()
          .then(
            () => false,
            () => true,
          ),
      {
        what: 'Temporal to forget the run',
        deadlineMs: 60_000,
      },
    );
    expect(JSON.parse(await cli('report', id, '--json'))).toEqual(report);
    expect(await cli('report', id, '--format', 'html')).toBe(readFileSync(file, 'utf8'));
    expect(readdirSync(join(scratch.path, 'reports', 'plans'))).toEqual([`${report.plan.hash}.sql`]);
  });
});
