import { RecoveryError } from '../../domain/errors.js';

/** Reads a JSON body of at most `maxBytes`. Throws BODY_NOT_JSON, BODY_TOO_LARGE, or INPUT_INVALID. */
export async function readJson(request: Request, maxBytes: number): Promise<unknown> {
  // A page of another origin cannot send this type without being asked first.
  if (!/^application\/json\s*(;|$)/i.test(request.headers.get('content-type') ?? ''))
    throw new RecoveryError('BODY_NOT_JSON', 'the content type is not application/json', { field: 'Content-Type' });
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const text = decode(await readBytes(request, maxBytes));
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // The parser's own message quotes the text.
    throw malformed('is not JSON');
  }
}

async function readBytes(request: Request, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw malformed('is not UTF-8');
  }
}

const malformed = (complaint: string) =>
  new RecoveryError('INPUT_INVALID', `the body ${complaint}`, { field: '(body)' });
const tooLarge = (maxBytes: number) =>
  new RecoveryError('BODY_TOO_LARGE', `the body has more than ${maxBytes} bytes`, { field: '(body)' });
