import { RecoveryError } from '../domain/errors.js';

/** Temporal takes 2 MiB; a payload larger than this is on its way there. */
const MAX_PACKED = 1_500_000;

/** Many names become one small text: histories carry it. `what`: for the error where it is not small enough. */
export async function pack(value: unknown, what: string): Promise<string> {
  const stream = new Blob([JSON.stringify(value)]).stream().pipeThrough(new CompressionStream('gzip'));
  const packed = Buffer.from(await new Response(stream).arrayBuffer()).toString('base64');
  if (packed.length > MAX_PACKED)
    throw new RecoveryError('NOT_RECOVERABLE', `${what}: more than one message can carry`);
  return packed;
}

export async function unpack<T>(packed: string): Promise<T> {
  const stream = new Blob([Buffer.from(packed, 'base64')]).stream().pipeThrough(new DecompressionStream('gzip'));
  return JSON.parse(await new Response(stream).text()) as T;
}
