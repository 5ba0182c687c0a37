import { defineSignal } from '@temporalio/workflow';
import { SIGNALS, type Resolution } from '../domain/messages.js';
import type { ShardProgress } from './recover-shard.js';

export const resolveSignal = defineSignal<[Resolution]>(SIGNALS.resolve);
export const abortSignal = defineSignal(SIGNALS.abort);
export const pauseSignal = defineSignal(SIGNALS.pause);
export const resumeSignal = defineSignal(SIGNALS.resume);
/** From a shard of a large recovery to the whole. */
export const shardProgressSignal = defineSignal<[ShardProgress]>('shardProgress');
