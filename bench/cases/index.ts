import type { Case } from './case.js';
import { plan } from './plan.js';
import { restoreReplica } from './restore-replica.js';

/** In the order of the table. */
export const CASES: readonly Case[] = [restoreReplica, plan];
