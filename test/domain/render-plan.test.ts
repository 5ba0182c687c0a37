import { describe, expect, it } from 'vitest';
import { problem } from '../../src/domain/errors.js';
import type { Plan, PlanItem } from '../../src/domain/plan.js';
import { planToText, printable, printableBlock } from '../../src/domain/render-plan.js';

const node = { name: 'a', shard: '01', replica: 'r1' };
const bystander = { name: 'b', shard: '02', replica: 'r1' };

function item(change: Partial<PlanItem> = {}): PlanItem {
  return {
    database: 'shop',
    table: 'orders',
    node,
    situation: 'keeper-metadata-lost',
    action: 'restore-replica',
    authority: true,
    replicated: true,
    method: 'restore-replica',
    standing: true,
    fetches: null,
    expected: { parts: 1, rows: 2000, digest: '1' },
    keeperPath: null,
    uuid: '',
    statements: [{ step: 'restore-replica', sql: 'SYSTEM RESTORE REPLICA `shop`.`orders`' }],
    rebuildRefusal: null,
    ...change,
  };
}

function plan(change: Partial<Plan> = {}): Plan {
  const onNode = {
    ...{ embedded: false, version: '26.7', method: 'restore-replica' as const },
    ...{ strategy: 'restore', databases: [] },
  };
  return {
    cluster: 'prod',
    hash: 'f'.repeat(64),
    backup: { repository: 'nightly', name: 'monday', takenAt: '2026-11-23T00:00:00Z', evidence: 'manifest' },
    nodes: [
      {
        node,
        ...onNode,
        fence: ['SYSTEM STOP MERGES'],
        databases: ['CREATE DATABASE IF NOT EXISTS `shop`'],
        closing: ['SYSTEM START MERGES'],
      },
      { node: bystander, ...onNode, fence: [], closing: ['INSERT INTO `_recovery`.`canary`'] },
    ],
    items: [item()],
    keeperState: [{ what: 'KeeperMap tables', detail: '2 of them', verdict: 'unrecoverable' }],
    warnings: ['clocks differ'],
    refusals: [],
    ...change,
  };
}

const ESC = '\u001b';

describe('planToText', () => {
  it('says what is wrong, what is done, and what is approved', () => {
    const text = planToText(plan());
    expect(text).toContain(`cluster prod, plan ${'f'.repeat(64)}`);
    expect(text).toContain('backup  nightly/monday, taken 2026-11-23T00:00:00Z (evidence: manifest)');
    expect(text).toMatch(
      /^shop\.orders @ 01\/r1 +keeper-metadata-lost → restore-replica \(2,000 rows, 1 part\), goes first$/m,
    );
    expect(text).toContain('warning clocks differ');
    expect(text).toContain('in ZooKeeper too: KeeperMap tables: unrecoverable — 2 of them');
  });

  it('groups the exact SQL by node and table, with what concerns nodes that have no work', () => {
    const text = planToText(plan());
    expect(text).toContain(
      [
        '-- node a (01/r1)',
        'SYSTEM STOP MERGES;',
        'CREATE DATABASE IF NOT EXISTS `shop`;',
        '-- shop.orders @ 01/r1',
        'SYSTEM RESTORE REPLICA `shop`.`orders`;',
      ].join('\n'),
    );
    expect(text).toContain('-- node b (02/r1)\n-- after validation\nINSERT INTO `_recovery`.`canary`;');
    expect(text).toContain('-- after validation\nSYSTEM START MERGES;');
    expect(planToText(plan(), { sql: false })).not.toContain('SYSTEM');
  });

  it('shows no SQL where nothing is to be done: none would be sent', () => {
    const text = planToText(plan({ items: [item({ action: 'none', situation: 'healthy', statements: [] })] }));
    expect(text).toContain('nothing to do');
    expect(text).toContain('1 table is healthy and stays as it is');
    expect(text).not.toContain('SYSTEM STOP');
  });

  it('names refusals with their hints, and does not call a refused plan nothing to do', () => {
    const text = planToText(plan({ items: [], refusals: [problem('RECOVERY_UNFINISHED', 'clones on a')] }));
    expect(text).toContain('REFUSED RECOVERY_UNFINISHED: clones on a');
    expect(text).toMatch(/^ +hint: start with "adopt": true/m);
    expect(text).not.toContain('nothing to do');
  });

  it('gives the reason of a table that is left to a person', () => {
    const text = planToText(
      plan({ items: [item({ action: 'needs-operator', problem: problem('REPLICA_ACTIVE', 'r2 is live') })] }),
    );
    expect(text).toContain('REPLICA_ACTIVE: r2 is live');
    expect(text).not.toContain('goes first');
  });

  it('lets no name forge a line, move the cursor or turn the text around', () => {
    const table = `x\nREFUSED NOTHING: fine${ESC}[2J\u202e\u009b31m`;
    const sql = `SYSTEM RESTORE REPLICA \`${table}\``;
    const text = planToText(plan({ items: [item({ table, statements: [{ step: 'restore-replica', sql }] })] }));
    expect(text).not.toMatch(/^REFUSED/m);
    // eslint-disable-next-line no-control-regex
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
    expect(text).toContain('shop.x\\u000aREFUSED NOTHING: fine\\u001b[2J\\u202e\\u009b31m @ 01/r1');
  });
});

describe('printable', () => {
  it.each([
    ['escape', `a${ESC}b`, 'a\\u001bb'],
    ['line feed', 'a\nb', 'a\\u000ab'],
    ['C1 control', 'a\u009bb', 'a\\u009bb'],
    ['right-to-left override', 'a\u202eb', 'a\\u202eb'],
    ['zero-width space', 'a\u200bb', 'a\\u200bb'],
    ['line separator', 'a\u2028b', 'a\\u2028b'],
    ['what people write', 'naïve 表 😀 `x` | \\', 'naïve 表 😀 `x` | \\'],
  ])('%s', (_name, text, safe) => {
    expect(printable(text)).toBe(safe);
  });

  it('leaves JSON the same JSON', () => {
    const value = { name: `a${ESC}\u009b\u202e\u200b\n` };
    const text = printableBlock(JSON.stringify(value, null, 2));
    // eslint-disable-next-line no-control-regex
    expect(text).not.toMatch(/[\u001b\u009b\u202e\u200b]/);
    expect(JSON.parse(text)).toEqual(value);
  });
});
