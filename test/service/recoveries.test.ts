import { writeFileSync } from 'node:fs';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { RecoveryError } from '../../src/domain/errors.js';
import { WORKFLOWS } from '../../src/domain/messages.js';
import { connect, Recoveries, startRecovery } from '../../src/service/recoveries.js';
import { scratchDir } from '../support/processes.js';
import { startTemporalServer, type TemporalServer } from '../support/temporal-server.js';

/** A real server without a worker: what the commands say when nobody answers. */
describe('recoveries on a Temporal server without a worker', () => {
  const scratch = scratchDir('recoveries');
  let server: TemporalServer;
  let connection: Connection;
  let client: Client;
  let recoveries: Recoveries;

  beforeAll(async () => {
    server = await startTemporalServer({ dir: scratch.path });
    connection = await Connection.connect({ address: server.address });
    client = new Client({ connection });
    recoveries = new Recoveries(client, 1_000);
  }, 120_000);
  afterAll(async () => {
    await connection?.close();
    await server?.stop();
    scratch.remove();
  }, 60_000);

  const coded = (code: string, message: RegExp): unknown =>
    expect.objectContaining({ code, message: expect.stringMatching(message) as string });

  it('a repeat for the same incident finds the run, and says that it did not start one', async () => {
    const request = { cluster: 'prod', incident: 'INC 1/ü' };
    const first = await startRecovery(client, request, 'nobody');
    expect(first).toMatchObject({ id: 'recover-prod-incident-INC%201%2F%C3%BC', started: true, workers: 0 });
    expect(await startRecovery(client, request, 'nobody')).toEqual({ ...first, started: false });
  });

  it('the same incident with another request is refused, and names the run', async () => {
    const request = { cluster: 'prod', incident: 'INC-2' };
    const { id } = await startRecovery(client, request, 'nobody');
    await expect(startRecovery(client, { ...request, backup: 'latest' }, 'nobody')).rejects.toEqual(
      coded('REQUEST_CONFLICT', new RegExp(id)),
    );
  });

  it('two bots at once get one run', async () => {
    const request = { cluster: 'prod', incident: 'INC-3' };
    const both = await Promise.all([1, 2].map(() => startRecovery(client, request, 'nobody')));
    expect(new Set(both.map(({ runId }) => runId)).size).toBe(1);
    expect(both.filter(({ started }) => started)).toHaveLength(1);
  });

  it('an incident too long for an id still has one of its own', async () => {
    const request = { cluster: 'prod', incident: '災'.repeat(200) };
    const first = await startRecovery(client, request, 'nobody');
    expect(first).toMatchObject({ started: true });
    expect(await startRecovery(client, request, 'nobody')).toEqual({ ...first, started: false });
  });

  it('bad input is refused before anything is sent', async () => {
    await expect(startRecovery(client, { cluster: 'prod', tabels: [] }, 'nobody')).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      details: { field: 'tabels' },
    });
  });

  it('says that no worker is there instead of waiting for ever', { timeout: 30_000 }, async () => {
    const { id } = await startRecovery(client, { cluster: 'prod' }, 'nobody');
    const silence = coded('WORKER_UNAVAILABLE', /no worker polls task queue nobody/);
    await expect(recoveries.progress(id)).rejects.toEqual(silence);
    await expect(recoveries.plan(id)).rejects.toEqual(silence);
    await expect(recoveries.approve(id, { planHash: 'a'.repeat(64), by: 'ann' })).rejects.toEqual(silence);
    expect(await recoveries.workers('nobody')).toBe(0);
  });

  it('whoever waits for a report hears that nobody works on it', { timeout: 30_000 }, async () => {
    const { id } = await startRecovery(client, { cluster: 'prod' }, 'nobody');
    const silences = vi.fn();
    const waiting = recoveries.report(id, silences);
    waiting.catch(() => undefined);
    await vi.waitFor(() => expect(silences).toHaveBeenCalled(), { timeout: 10_000 });
    expect(silences.mock.calls).toEqual([[coded('WORKER_UNAVAILABLE', /no worker polls/)]]);
    await client.workflow.getHandle(id).terminate();
    await expect(waiting).rejects.toEqual(coded('REJECTED', /was terminated/));
  });

  it('a worker that polls and does not answer is told from none', { timeout: 30_000 }, async () => {
    // Takes the first task and never answers it, as a worker does that was stopped with SIGSTOP.
    const taskQueue = { name: 'stuck' };
    const poll = client.withDeadline(Date.now() + 20_000, () =>
      client.workflowService.pollWorkflowTaskQueue({ namespace: 'default', taskQueue, identity: 'stuck' }),
    );
    const { id } = await startRecovery(client, { cluster: 'prod' }, 'stuck');
    await poll;
    await expect(recoveries.progress(id)).rejects.toEqual(
      coded('WORKER_UNAVAILABLE', /^no worker answers within 1 s; 1 polled task queue stuck/),
    );
  });

  it.each<[name: string, call: (id: string) => Promise<unknown>]>([
    ['progress', (id) => recoveries.progress(id)],
    ['plan', (id) => recoveries.plan(id)],
    ['report', (id) => recoveries.report(id)],
    ['approve', (id) => recoveries.approve(id, { planHash: 'h', by: 'ann' })],
    ['resolve', (id) => recoveries.resolve(id, { action: 'retry' })],
    ['abort', (id) => recoveries.signal(id, 'abort')],
    ['watch', (id) => recoveries.watch(id, () => undefined, 50)],
  ])('%s of an unknown id, and of a workflow that is no recovery', { timeout: 30_000 }, async (name, call) => {
    await expect(call('nope')).rejects.toEqual(coded('WORKFLOW_UNKNOWN', /no such workflow/));
    const workflowId = `backup-${name}`;
    await client.workflow.start(WORKFLOWS.backup, { workflowId, taskQueue: 'nobody', args: [{}] });
    await expect(call(workflowId)).rejects.toEqual(coded('WORKFLOW_UNKNOWN', /not a recovery but backupCluster/));
  });

  it('a run that was terminated is no success, and may have left its fence', { timeout: 30_000 }, async () => {
    const { id } = await startRecovery(client, { cluster: 'prod' }, 'nobody');
    const silences = vi.fn();
    const watched = recoveries.watch(id, () => undefined, 50, silences);
    watched.catch(() => undefined);
    await vi.waitFor(() => expect(silences).toHaveBeenCalled(), { timeout: 10_000 });
    await client.workflow.getHandle(id).terminate('from the UI');
    const ended = coded('REJECTED', /was terminated .* unfence/);
    await expect(watched).rejects.toEqual(ended);
    await expect(recoveries.report(id)).rejects.toEqual(ended);
    await expect(recoveries.progress(id)).rejects.toEqual(ended);
    await expect(recoveries.signal(id, 'abort')).rejects.toEqual(
      coded('RECOVERY_ENDED', /has ended already \(TERMINATED\)/),
    );
  });

  it('a namespace that is not there is a mistake of the configuration', async () => {
    const elsewhere = new Client({ connection, namespace: 'nope' });
    await expect(startRecovery(elsewhere, { cluster: 'prod' }, 'nobody')).rejects.toEqual(
      coded('CONFIG_INVALID', /no namespace nope/),
    );
  });
});

describe('connect', () => {
  it('names the address where no server is, within seconds', { timeout: 30_000 }, async () => {
    vi.stubEnv('TEMPORAL_ADDRESS', '127.0.0.1:1');
    const before = Date.now();
    await expect(connect()).rejects.toThrow(/no Temporal server at 127\.0\.0\.1:1/);
    expect(Date.now() - before).toBeLessThan(15_000);
    vi.unstubAllEnvs();
  });

  it('does not repeat a broken profile: a key may stand in it', async () => {
    const scratch = scratchDir('profile');
    const file = `${scratch.path}/temporal.toml`;
    writeFileSync(file, 'broken = [\napi_key = "canary-4711"\n');
    vi.stubEnv('TEMPORAL_CONFIG_FILE', file);
    const error: unknown = await connect().catch((cause: unknown) => cause);
    vi.unstubAllEnvs();
    scratch.remove();
    expect(error).toBeInstanceOf(RecoveryError);
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(JSON.stringify({ ...(error as RecoveryError), message: String(error) })).not.toContain('canary');
  });
});
