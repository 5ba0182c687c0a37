import { RecoveryError } from '../../domain/errors.js';

export interface BodyLimits {
  bodyBytes: number;
  /** Milliseconds. */
  bodyMs: number;
}

/** Reads a JSON body within the limits. Throws BODY_NOT_JSON, BODY_TOO_LARGE, BODY_TOO_SLOW, or INPUT_INVALID. */
export async function readJson(request: Request, { bodyBytes, bodyMs }: BodyLimits): Promise<unknown> {
  // A page of another origin cannot send this type without being asked first.
  if (!/^application\/json\s*(;|$)/i.test(request.headers.get('content-type') ?? ''))
    throw new RecoveryError('BODY_NOT_JSON', 'the content type is not application/json', { field: 'Content-Type' });
  if (Number(request.headers.get('content-length') ?? 0) > bodyBytes) throw tooLarge(bodyBytes);
  const text = decode(await readBytes(request, { bodyBytes, bodyMs }));
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // The parser's own message quotes the text.
    throw malformed('is not JSON');
  }
}

async function readBytes(request: Request, { bodyBytes, bodyMs }: BodyLimits): Promise<Uint8Array> {
  const reader = (request.body as ReadableStream<Uint8Array> | null)?.getReader();
  if (!reader) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let size = 0;
  let late = false;
  // Ends the read: what comes after its end is not waited for, and does nothing.
  const timer = setTimeout(() => {
    late = true;
    reader.cancel().catch(() => undefined);
  }, bodyMs);
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      size += next.value.byteLength;
      if (size > bodyBytes) throw tooLarge(bodyBytes);
      chunks.push(next.value);
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => undefined);
  }
  if (late)
    throw new RecoveryError('BODY_TOO_SLOW', `the body did not arrive within ${bodyMs / 1000} s`, { field: '(body)' });
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
