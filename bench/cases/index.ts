import type { Case } from './case.js';
import { conversion } from './conversion.js';
import { crash } from './crash.js';
import { dataRestore } from './data-restore.js';
import { plan } from './plan.js';
import { priceOfSafety } from './price-of-safety.js';
import { restoreReplica } from './restore-replica.js';
import { simulation } from './simulation.js';
import { twoWorkers } from './two-workers.js';
import { verification } from './verification.js';

/** In the order of the table; those that want the same cluster follow each other. */
export const CASES: readonly Case[] = [
  ...[restoreReplica, twoWorkers, priceOfSafety, crash],
  ...[conversion, dataRestore, verification, plan, simulation],
];
