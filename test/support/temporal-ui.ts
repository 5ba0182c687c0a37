/** Temporal's stock UI in a real browser, as far as a recovery needs it. What it is made of may change with its version: 2.54. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type Browser, type BrowserContextOptions, type Locator, type Page } from 'playwright-core';
import { waitFor } from './processes.js';
import { findOnPath, repoRoot } from './tools.js';

const DEADLINE_MS = 60_000;

/** Debian's Chromium, or what stands in for it. @throws Error where there is none */
export function startBrowser(): Promise<Browser> {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const executablePath = names.map(findOnPath).find((path) => path !== undefined);
  if (executablePath === undefined) throw new Error('Chromium not found: run `npm run setup`');
  // Its sandbox refuses to run for root, as in a container.
  return chromium.launch({ executablePath, args: ['--no-sandbox'] });
}

/** With SCREENSHOTS=1 what the page shows goes to docs/images. Real runs only: whoever adds one looks at it. */
export async function screenshot(page: Page, name: string): Promise<void> {
  if (process.env['SCREENSHOTS'] !== '1') return;
  const folder = join(repoRoot, 'docs/images');
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`), animations: 'disabled' });
}

export async function openPage(browser: Browser, options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, ...options });
  context.setDefaultTimeout(DEADLINE_MS);
  return context.newPage();
}

/** The form that starts a workflow. */
export class StartForm {
  constructor(readonly page: Page) {}

  field = (name: 'workflowId' | 'taskQueue' | 'workflowType') => this.page.locator(`#${name}`).inputValue();

  /** The JSON in the editor, once it is filled in. */
  async input(): Promise<unknown> {
    const editor = this.page.locator('.cm-content').first();
    const text = await waitFor(async () => (await editor.innerText()).trim(), {
      what: 'the input to be filled in',
      deadlineMs: DEADLINE_MS,
    });
    return JSON.parse(text);
  }

  /** With a random id. */
  async start(): Promise<{ id: string; runId: string }> {
    await this.page.getByRole('button', { name: 'Random UUID' }).click();
    const id = await waitFor(() => this.field('workflowId'), { what: 'a random id', deadlineMs: DEADLINE_MS });
    const path = `/workflows/${id}`;
    const answered = this.page.waitForResponse((each) => new URL(each.url()).pathname.endsWith(path));
    await this.page.getByTestId('start-workflow-button').click();
    const answer = await answered;
    if (!answer.ok()) throw new Error(`the UI could not start it: ${answer.status()} ${await answer.text()}`);
    return { id, runId: ((await answer.json()) as { runId: string }).runId };
  }
}

/** The pages of one workflow. */
export class WorkflowPages {
  constructor(
    readonly page: Page,
    private readonly url: string,
  ) {}

  /** The tab with the live details, when they say `text`. The UI looks at them when it is opened. */
  async untilDetailsSay(text: string, deadlineMs = DEADLINE_MS): Promise<Locator> {
    const details = this.page.frameLocator('#user-metadata-current-details').locator('body');
    await waitFor(
      async () => {
        await this.page.goto(`${this.url}/user-metadata`);
        return (await details.innerText({ timeout: 5_000 })).includes(text);
      },
      { what: `the details to say ${text}`, deadlineMs },
    );
    return details;
  }

  /** Sends an update by name; gives what is wrong with it, or null where it was accepted. */
  async update(name: string, argument: unknown) {
    await this.page.getByRole('button', { name: 'More Actions' }).last().click();
    await this.page.getByRole('menuitem', { name: 'Send an Update' }).last().click();
    const dialog = this.page.getByTestId('update-confirmation-modal').last();
    // The field is disabled: the button that it lies on opens the list.
    await dialog.getByTestId('update-select').click({ force: true });
    await this.page.getByRole('option', { name }).click();
    await dialog.locator('.cm-content').fill(JSON.stringify(argument));
    await dialog.getByTestId('confirm-modal-button').click();
    const refusal = dialog.getByRole('alert').filter({ hasText: /\S/ }).filter({ hasNotText: 'In Progress' }).first();
    const accepted = this.page.getByText('Update successful').first();
    await refusal.or(accepted).first().waitFor();
    if (await accepted.isVisible()) return null;
    const text = await refusal.innerText();
    await dialog.getByTestId('cancel-modal-button').click();
    return text;
  }
}
