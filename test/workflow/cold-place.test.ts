import { afterAll, beforeAll, expect, it } from 'vitest';
import { partsTaskQueue } from '../../src/domain/cold-place.js';
import { startBench, type Bench } from './bench.js';
import { agentOf, PLACED, placed } from './cold-fakes.js';
import { failure, fakes, N1, N2, planOf } from './fakes.js';
import type { PartsActivities, PlacedParts } from '../../src/agent/place.js';

let bench: Bench;
beforeAll(async () => {
  bench = await startBench();
});
afterAll(() => bench.stop());

/** A recovery from the copy of n1; the agents of both nodes, but for those that are null. */
async function recover(
  agents: Record<string, Partial<PartsActivities> | null>,
  { backup = 'copies/g1', agentTimeoutSeconds = 20, nodes = [N1, N2] } = {},
) {
  const faked = fakes({ plans: [planOf([placed('a')])], cold: ['copies'], agentTimeoutSeconds, nodes });
  const asked: unknown[] = [];
  const record =
    <In, Out>(name: string, work: (input: In) => Promise<Out>) =>
    (input: In) => {
      asked.push([name, input]);
      return work(input);
    };
  const report = await bench.scene(faked, async ({ cluster, start, beside }) => {
    const within = async (
      left: string[],
    ): Promise<Awaited<ReturnType<Awaited<ReturnType<typeof start>>['result']>>> => {
      const [host, ...others] = left;
      if (host === undefined) return (await start({ backup })).result();
      const own = { ...agentOf(), ...agents[host] };
      if (agents[host] === null) return within(others);
      const { listCopies, readCopy, placeParts } = own;
      const activities = {
        listCopies,
        readCopy: record(`readCopy ${host}`, readCopy),
        placeParts: record(`placeParts ${host}`, placeParts),
      };
      return beside(partsTaskQueue(cluster, host), activities, () => within(others));
    };
    return within(nodes.map(({ name }) => name));
  });
  const places = asked.filter((each) => (each as [string])[0].startsWith('placeParts'));
  return { report, asked, places, calls: faked.calls.map((call) => call.split(' ')[0]) };
}

const answers = (...all: Partial<PlacedParts>[]) => ({
  placeParts: async () => ({ ...PLACED, ...(all.length > 1 ? all.shift() : all[0]) }),
});
const table = ({ report }: Awaited<ReturnType<typeof recover>>) => report.tables.find((each) => each.table === 'a');

it('parts are placed and attached until the agent finds the copy’s, and only those', async () => {
  const run = await recover({ [N1.name]: answers({ waiting: 2 }, { waiting: 1 }, { waiting: 0 }), [N2.name]: {} });
  expect(run.report.problem).toBeUndefined();
  expect(table(run)?.problem).toBeUndefined();
  expect(run.calls.filter((call) => call === 'attachParts')).toHaveLength(2);
  expect(run.calls).not.toContain('restoreTableData');
  expect(run.places[0]).toEqual(['placeParts n1', { generation: 'g1', manifest: 'm', database: 'db', table: 'a' }]);
});

it('what is not the copy’s is never attached upon: the table is made anew', async () => {
  const run = await recover({ [N1.name]: answers({ waiting: 1, extra: 1 }, { waiting: 2 }, {}), [N2.name]: {} });
  expect(table(run)?.problem).toBeUndefined();
  expect(run.calls.filter((call) => ['prepareStaging', 'attachParts', 'verifyTableParts'].includes(call!))).toEqual([
    ...['prepareStaging', 'prepareStaging', 'attachParts', 'prepareStaging', 'verifyTableParts'],
  ]);
});

it('a part that cannot be attached ends it', async () => {
  const run = await recover({ [N1.name]: answers({ waiting: 1 }), [N2.name]: {} });
  expect(table(run)?.problem).toMatchObject({
    code: 'RESTORE_FAILED',
    message: expect.stringContaining('1 parts of the copy are not attached') as string,
  });
  expect(run.calls).not.toContain('verifyTableParts');
});

it('a damaged copy: its table fails, nothing is verified', async () => {
  const placeParts = () => Promise.reject(failure('COPY_DAMAGED', 'n1: id.bin'));
  const run = await recover({ [N1.name]: { placeParts }, [N2.name]: {} });
  expect(table(run)?.problem).toMatchObject({ code: 'COPY_DAMAGED', message: 'n1: id.bin' });
  expect(run.calls).not.toContain('attachParts');
});

it('the newest copy of all agents that answer, where none is named', async () => {
  const { asked } = await recover(
    { [N1.name]: { listCopies: async () => ['g0', 'g1', 'g2'] }, [N2.name]: { listCopies: async () => ['g0', 'g1'] } },
    { backup: 'copies' },
  );
  expect(asked).toContainEqual(['readCopy n1', { generation: 'g1' }]);
});

it('an agent of the shard is away: its peer’s copy is read; all are: the first is named, and nothing is fenced', async () => {
  const one = await recover({ [N1.name]: null, [N2.name]: {} }, { agentTimeoutSeconds: 1 });
  expect(one.calls).toContain('fenceNode');
  expect(one.asked).toContainEqual(['readCopy n2', { generation: 'g1' }]);
  // Its plan, which is fixed here, has the copy of n1.
  expect(table(one)?.problem).toMatchObject({ code: 'AGENT_UNAVAILABLE', objects: ['n1'] });

  const none = await recover({ [N1.name]: null, [N2.name]: null }, { agentTimeoutSeconds: 1 });
  expect(none.report.problem).toMatchObject({
    code: 'AGENT_UNAVAILABLE',
    message: expect.stringContaining('ch-recover agent --node n1') as string,
  });
  expect(none.calls).toEqual(['getPolicy', 'saveReport']);
});
