import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cloneName } from '../../src/domain/names.js';
import type { PlanItem } from '../../src/domain/plan.js';
import { ServerError, type Ports } from '../../src/ports.js';
import { detachedContext } from '../../src/activities/runtime.js';
import { rememberFence } from '../../src/activities/fence-proof.js';
import { Unit } from '../../src/activities/unit.js';

describe('before a statement of the plan is sent', () => {
  const BOOT = 1_000;
  let lifted = false;
  let noLedger = 0;
  let boot = BOOT;
  let sent: string[] = [];
  let unit: Unit;
  /** Where not null: what statements, and questions for a lifted fence, wait for. */
  let held: (() => void)[] | null = null;
  let asking: (() => void)[] | null = null;
  const waitIn = async (gates: (() => void)[] | null) => {
    if (gates) await new Promise<void>((resolve) => gates.push(resolve));
  };

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] });
    [lifted, noLedger, boot, sent] = [false, 0, BOOT, []];
    held = asking = null;
    const ref = { name: 'n1', shard: '01', replica: 'r1' };
    const node = {
      ref,
      query: async (sql: string) => {
        if (sql.includes('AS writers'))
          return [{ database: '', table: '', merges: '0', writers: '0', boot: String(boot) }];
        const answer = [{ kind: 'fenced', latest: '2026-01-01 00:00:00.000' }];
        if (lifted) answer.push({ kind: 'unfenced', latest: '2026-01-01 00:00:01.000' });
        if (sql.includes("IN ('fenced', 'unfenced')")) {
          await waitIn(asking);
          if (noLedger) throw new ServerError(noLedger, 'no ledger', 'n1');
        }
        return answer;
      },
      execute: async (sql: string) => {
        if (sql.startsWith('EXPLAIN')) return;
        sent.push(sql);
        await waitIn(held);
      },
    };
    const cluster = {
      ...{ node: () => node, policy: { statementDeadlineSeconds: 5 }, topology: { nodes: [ref] } },
      pace: async () => undefined,
    };
    const ports = { cluster: () => cluster, sha256: () => '0'.repeat(64) } as unknown as Ports;
    const item = {
      database: 'd',
      table: 't',
      node: ref,
      fetches: null,
      statements: [{ step: 'detach', sql: 'DETACH' }],
    };
    unit = new Unit(ports, 'c', item as unknown as PlanItem, detachedContext());
    rememberFence(ref, BOOT);
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const send = () => unit.send('detach');
  const sentOfPlan = () => sent.filter((sql) => sql.endsWith('DETACH')).length;

  it('the fence is proved, and then it goes', async () => {
    await send();
    expect(sentOfPlan()).toBe(1);
  });

  it('a fence that was lifted by hand is noticed, a second later at most', async () => {
    await send();
    lifted = true;
    vi.advanceTimersByTime(1_001);
    await expect(send()).rejects.toMatchObject({ code: 'FENCE_BYPASSED' });
    expect(sentOfPlan()).toBe(1);
  });

  it.each([
    ['table', 60],
    ['database', 81],
  ])('where the %s of the ledger is gone, nobody knows of a fence: nothing is sent', async (_, code) => {
    noLedger = code;
    await expect(send()).rejects.toMatchObject({ code: 'FENCE_BYPASSED' });
    expect(sentOfPlan()).toBe(0);
  });

  it('a server that was restarted is fenced again, unless the fence was lifted', async () => {
    boot += 100;
    await send();
    expect(sent.some((sql) => sql.startsWith('SYSTEM STOP MERGES'))).toBe(true);
    lifted = true;
    boot += 100;
    await expect(send()).rejects.toMatchObject({ code: 'FENCE_BYPASSED' });
    expect(sentOfPlan()).toBe(1);
  });

  it('no more than 16 are on their way to a node, and each is proved when its turn comes', async () => {
    held = [];
    const all = Array.from({ length: 20 }, () => send());
    await expect.poll(() => held?.length).toBe(16);
    lifted = true;
    vi.advanceTimersByTime(1_001);
    const sending = held;
    held = null;
    sending.forEach((go) => go());
    const ended = await Promise.allSettled(all);
    expect(ended.filter(({ status }) => status === 'fulfilled')).toHaveLength(16);
    expect(sentOfPlan()).toBe(16);
  });

  it('whether the fence was lifted is asked after the question, also where somebody asks already', async () => {
    vi.advanceTimersByTime(2_000);
    asking = [];
    const first = send();
    await expect.poll(() => asking?.length).toBe(1);
    const second = send();
    const refused = expect(second).rejects.toMatchObject({ code: 'FENCE_BYPASSED' });
    // The first question was answered by a server on which it was not lifted yet.
    for (let i = 0; i < 20; i++) await new Promise<void>((resolve) => setImmediate(resolve));
    const answers = asking;
    asking = null;
    answers.forEach((answer) => answer());
    lifted = true;
    await first;
    vi.advanceTimersByTime(2_000);
    await refused;
  });
});

describe('what is observed of a table that a conversion fills', () => {
  const observe = async (readonly: '0' | '1', comparesParts: boolean) => {
    const asked: string[] = [];
    const name = { database: '_recovery', table: cloneName('next', { database: 'd', table: 't' }).table };
    const replica = [readonly, '0', '0', '0', '0', '0', '/tables/t', 'r1'];
    const node = {
      ref: { name: 'n1' },
      query: async (sql: string) =>
        sql.includes('AS kind')
          ? [
              { ...name, kind: 'table', facts: ['ReplicatedMergeTree', ''] },
              { ...name, kind: 'replica', facts: replica },
            ]
          : [],
      execute: async () => undefined,
    };
    const children = async (path: string) => {
      asked.push(path);
      return path.endsWith('/parts') ? [] : ['is_active', 'parts'];
    };
    const cluster = { node: () => node, keeper: { children }, topology: { nodes: [] } };
    const ports = { cluster: () => cluster, sha256: () => '0'.repeat(64) } as unknown as Ports;
    const item = { database: 'd', table: 't', node: node.ref, replicated: true, statements: [], keeperPath: null };
    const unit = new Unit(ports, 'c', item as unknown as PlanItem, detachedContext());
    const seen = await unit.observe(false, { isAlone: true, comparesParts });
    return { asked, keeper: seen.keeper };
  };

  it('is asked of ZooKeeper as long as it is read-only: another server may hold its path', async () => {
    const { asked, keeper } = await observe('1', false);
    expect(asked).toEqual(['/tables/t/replicas/r1']);
    expect(keeper).toMatchObject({ replicaPathExists: true, heldByOther: true, partsAgree: null });
  });

  it('is known from the server alone once it is writable', async () => {
    const { asked, keeper } = await observe('0', false);
    expect(asked).toEqual([]);
    expect(keeper).toMatchObject({ replicaPathExists: true, heldByOther: false, partsAgree: null });
  });

  it('is compared with what ZooKeeper lists where it is validated', async () => {
    const { asked, keeper } = await observe('0', true);
    expect(asked).toEqual(['/tables/t/replicas/r1', '/tables/t/replicas/r1/parts']);
    expect(keeper).toMatchObject({ heldByOther: false, parts: 0 });
  });
});
