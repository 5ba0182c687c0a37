import { basename } from 'node:path';
import { SimplePlugin } from '@temporalio/plugin';
import { Runtime, type Worker, type WorkerOptions } from '@temporalio/worker';
import { beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/checks.js';
import { ClickHouseRecoveryPlugin } from '../../src/plugin.js';

const config = parseConfig({
  clusters: {
    prod: {
      keeper: { hosts: ['127.0.0.1:1'] },
      nodes: [{ name: 'a', shard: '01', replica: 'r1', url: 'http://127.0.0.1:2' }],
    },
  },
});
const newPlugin = () => new ClickHouseRecoveryPlugin({ config });
const hello = async () => 'hello';
const host: WorkerOptions = { taskQueue: 'q', workflowsPath: '/theirs.js', activities: { hello } };

/** The parts of a worker that a plugin sees when it runs. */
const workerOf = ({ activities }: WorkerOptions) =>
  ({ options: { activities: new Map(Object.entries(activities ?? {})) } }) as unknown as Worker;

beforeAll(() => {
  Runtime.install({});
});

describe('a worker with the plugin', () => {
  it('keeps its workflows and activities, and has ours', () => {
    const options = newPlugin().configureWorker(host);
    expect(options.workflowsPath).toBe('/theirs.js');
    expect(options.workflowBundle).toBeUndefined();
    expect(options.activities).toMatchObject({ hello, planRecovery: expect.any(Function) as unknown });
    expect(options.interceptors?.activity).toHaveLength(1);
    expect(host.activities).toEqual({ hello });
  });

  it('keeps its bundle', () => {
    const workflowBundle = { codePath: '/theirs.js' };
    const options = newPlugin().configureWorker({ taskQueue: 'q', workflowBundle });
    expect([options.workflowBundle, options.workflowsPath]).toEqual([workflowBundle, undefined]);
  });

  it('has our workflows where it has none', () => {
    expect(basename(newPlugin().configureWorker({ taskQueue: 'q' }).workflowsPath ?? '')).toBe('index.js');
  });

  it('is the same where the plugin is on its connection too', () => {
    const plugin = newPlugin();
    const once = plugin.configureWorker(host);
    expect(plugin.configureWorker(once)).toEqual(once);
  });

  it('with an activity that has a name of ours is refused', () => {
    const taken = { ...host, activities: { hello, planRecovery: hello, saveReport: hello } };
    expect(() => newPlugin().configureWorker(taken)).toThrow(
      expect.objectContaining({ code: 'ACTIVITY_NAME_TAKEN', details: { objects: ['planRecovery', 'saveReport'] } }),
    );
  });

  it('is refused with two of our plugins: which configuration counts could not be told', () => {
    expect(() => newPlugin().configureWorker(newPlugin().configureWorker(host))).toThrow(/names of ours: getPolicy, /);
  });

  it('does not run where a plugin after ours has put its activity in the place of one of ours', async () => {
    const plugin = newPlugin();
    const other = new SimplePlugin({ name: 'other', activities: { liftFence: hello } });
    const options = other.configureWorker(plugin.configureWorker(host));
    let ran = false;
    const running = plugin.runWorker(workerOf(options), async () => void (ran = true));
    await expect(running).rejects.toMatchObject({ code: 'ACTIVITY_NAME_TAKEN', details: { objects: ['liftFence'] } });
    expect(ran).toBe(false);
  });

  it('runs once, and the next one too', async () => {
    const plugin = newPlugin();
    const worker = workerOf(plugin.configureWorker(host));
    let runs = 0;
    const run = () => plugin.runWorker(worker, () => plugin.runWorker(worker, async () => void runs++));
    await run();
    await run();
    expect(runs).toBe(2);
  });
});
