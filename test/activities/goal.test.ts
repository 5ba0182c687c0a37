import { describe, expect, it } from 'vitest';
import { goalOf } from '../../src/activities/verify-parts.js';
import type { PlanItem } from '../../src/domain/plan.js';
import { DEFAULT_POLICY } from '../../src/domain/policy.js';
import { definition, facts, GONE, node, planOf } from '../domain/planner-facts.js';

describe('the goal of a plan that an earlier worker made, and that waits for its approval', () => {
  const t = definition('db', 't');
  const [planned] = planOf([node('a', '01', 'r1', [facts(t, { keeper: GONE })])]).items as [PlanItem];
  const { rebuildRefusal: _, ...rest } = planned;

  it.each([
    [true, null],
    [false, 'EXPLICIT_KEEPER_PATH'],
  ])('convertible %s', (convertible, refusal) => {
    expect(goalOf({ ...rest, convertible } as unknown as PlanItem, DEFAULT_POLICY).rebuildRefusal).toBe(refusal);
  });
});
