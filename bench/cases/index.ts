import type { Case } from './case.js';
import { crash } from './crash.js';
import { plan } from './plan.js';
import { priceOfSafety } from './price-of-safety.js';
import { restoreReplica } from './restore-replica.js';
import { simulation } from './simulation.js';

/** In the order of the table. */
export const CASES: readonly Case[] = [restoreReplica, priceOfSafety, crash, plan, simulation];
