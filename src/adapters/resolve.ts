import { lookup } from 'node:dns/promises';

/** Milliseconds. A name server that is away must not hold up a proof, which is made once a minute. */
const PATIENCE_MS = 2_000;
/** Also of a host that was not found: names of containers are known to nobody. Milliseconds. */
const KNOWN_FOR_MS = 300_000;

export interface ResolverOptions {
  find?: (host: string) => Promise<{ address: string }[]>;
  now?: () => number;
  patienceMs?: number;
}

/** Addresses of a host as this machine resolves it, `/etc/hosts` included; none where it cannot. */
export function createResolver({
  find = (host) => lookup(host, { all: true }),
  now = () => performance.now(),
  patienceMs = PATIENCE_MS,
}: ResolverOptions = {}): (host: string) => Promise<string[]> {
  const known = new Map<string, { at: number; answer: Promise<string[]> }>();
  const ask = async (host: string) => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<[]>((resolve) => {
      timer = setTimeout(() => resolve([]), patienceMs);
    });
    const found = await Promise.race([find(host).catch(() => []), late]);
    clearTimeout(timer);
    return found.map(({ address }) => address);
  };
  return (host) => {
    const before = known.get(host);
    if (before && now() - before.at < KNOWN_FOR_MS) return before.answer;
    const answer = ask(host);
    known.set(host, { at: now(), answer });
    return answer;
  };
}
