/**
 * A server in front of a ClickHouse node that takes our credentials and, when told to, says them back in its error: what
 * a proxy with debug pages does, and no engine can be made to do. Under /backup it is a clickhouse-backup that always does.
 */
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface EchoProxyOptions {
  /** Of the node, which lets everybody in. */
  target: string;
  password: string;
}

export interface EchoProxy {
  url: string;
  backupUrl: string;
  /** Statements with this text are answered with our credentials in an error of ClickHouse's, after `delayMs`. */
  echo(text: string | null, delayMs?: number): void;
  /** What was said back so far. */
  readonly echoed: string[];
  stop(): Promise<void>;
}

/** NOT_IMPLEMENTED: an error that no step takes for an outage. */
const CODE = 48;

export async function startEchoProxy({ target, password }: EchoProxyOptions): Promise<EchoProxy> {
  const echoed: string[] = [];
  let wanted: string | null = null;
  let waitMs = 0;
  const sayBack = (incoming: IncomingMessage): string => {
    const { authorization = '' } = incoming.headers;
    const credentials = authorization.replace(/^Basic /, '');
    const said = `refused ${credentials}, that is ${Buffer.from(credentials, 'base64').toString('utf8')}`;
    echoed.push(said);
    return said;
  };
  const handle = async (incoming: IncomingMessage, answer: ServerResponse) => {
    const body = await readAll(incoming);
    if (incoming.url?.startsWith('/backup')) {
      answer.writeHead(500, { 'content-type': 'application/json' });
      return answer.end(JSON.stringify({ error: sayBack(incoming) }));
    }
    const given = Buffer.from((incoming.headers.authorization ?? '').replace(/^Basic /, ''), 'base64').toString('utf8');
    if (given !== `default:${password}` && !incoming.url?.startsWith('/ping'))
      return refuse(answer, 516, 'Authentication failed');
    const sql = `${body.toString('utf8')} ${decodeURIComponent(incoming.url ?? '')}`;
    if (wanted !== null && sql.includes(wanted)) {
      await delay(waitMs);
      return refuse(answer, CODE, sayBack(incoming));
    }
    forward(incoming, body, answer);
  };
  const refuse = (answer: ServerResponse, code: number, text: string) => {
    answer.writeHead(500, { 'x-clickhouse-exception-code': String(code) });
    answer.end(`Code: ${code}. DB::Exception: ${text} (NOT_IMPLEMENTED) (version 26.7.1.1)\n`);
  };
  const forward = (incoming: IncomingMessage, body: Buffer, answer: ServerResponse) => {
    const { authorization: _, ...headers } = incoming.headers;
    const outgoing = request(new URL(incoming.url ?? '/', target), { method: incoming.method, headers }, (response) => {
      answer.writeHead(response.statusCode ?? 500, response.headers);
      response.pipe(answer);
    });
    outgoing.on('error', () => answer.destroy());
    outgoing.end(body);
  };
  const server = createServer((incoming, answer) => void handle(incoming, answer).catch(() => answer.destroy()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    backupUrl: `${url}/backup`,
    echoed,
    echo: (text, delayMs = 0) => {
      wanted = text;
      waitMs = delayMs;
    },
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function readAll(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
