/**
 * Stands before a ClickHouse node and writes down what is sent to it: embedded nodes have no query_log. When told to, it
 * holds or drops answers to what has been done, or refuses who comes.
 */
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

type IsMeant = (sql: string) => boolean;

const REFUSED = { status: 403, code: 516, message: 'default: Authentication failed (AUTHENTICATION_FAILED)' };

export interface RecordingProxy {
  readonly url: string;
  /** Statements, as they were sent, since the start or the last `forget`. */
  readonly statements: readonly string[];
  /** Those that the node answered with success, also where nobody was there any more to read it. */
  readonly succeeded: readonly string[];
  /** Those that the imitated server does not know. */
  readonly unknown: readonly string[];
  forget(): void;
  /** The next answer to a statement like that waits until `release`; the statement has run then. */
  hold(isMeant: IsMeant): { reached: Promise<void>; release(): void };
  /** Statements like that run, and their answers are lost with the connection. Null: none. */
  drop(isMeant: IsMeant | null): void;
  /** From the first statement like that on, all are refused for their credentials. Null: none. */
  refuseFrom(isMeant: IsMeant | null): void;
  stop(): Promise<void>;
}

/** Another server than the one behind the proxy, by what it does not know. */
export interface Imitation {
  /** The error that it answers with, to a probe or in earnest. Null: it knows the statement. */
  refuse(sql: string): { code: number; message: string } | null;
  /** What is asked instead, so that its answer is that of the other server. */
  rewrite(sql: string): string;
}

export async function startRecordingProxy(target: string, imitation?: Imitation): Promise<RecordingProxy> {
  const { hostname, port } = new URL(target);
  const statements: string[] = [];
  const succeeded: string[] = [];
  const unknown: string[] = [];
  let dropped: IsMeant | null = null;
  let refusedFrom: IsMeant | null = null;
  let isRefusing = false;
  let held: { isMeant: IsMeant; reached(): void; released: Promise<void> } | null = null;
  const server = createServer((incoming, outgoing) => {
    const body: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => body.push(chunk));
    incoming.on('end', () => {
      const sent = Buffer.concat(body);
      const inUrl = new URL(incoming.url ?? '/', target).searchParams.get('query') ?? '';
      const statement = `${inUrl}${sent.toString('utf8')}`;
      if ((isRefusing ||= refusedFrom?.(statement) ?? false)) return refuse(outgoing, REFUSED);
      statements.push(statement);
      const error = imitation?.refuse(statement);
      if (error) {
        unknown.push(statement);
        return refuse(outgoing, { ...error, status: 400 });
      }
      forward(incoming, outgoing, imitation ? Buffer.from(imitation.rewrite(sent.toString('utf8'))) : sent, statement);
    });
  });
  const refuse = (outgoing: ServerResponse, { status, code, message }: typeof REFUSED) => {
    outgoing.writeHead(status, { 'x-clickhouse-exception-code': String(code) });
    outgoing.end(`Code: ${code}. DB::Exception: ${message}\n`);
  };
  const waitIfHeld = async (statement: string) => {
    if (!held?.isMeant(statement)) return;
    const { reached, released } = held;
    held = null;
    reached();
    await released;
  };
  const forward = (incoming: IncomingMessage, outgoing: ServerResponse, body: Buffer, statement: string) => {
    const { method, url: path } = incoming;
    // Of another length than what came.
    const { 'transfer-encoding': _chunked, ...rest } = incoming.headers;
    const headers = imitation ? { ...rest, 'content-length': String(body.length) } : incoming.headers;
    const onward = request({ hostname, port, method, path, headers }, (answer) => {
      if (answer.statusCode === 200) succeeded.push(statement);
      if (dropped?.(statement)) return void answer.resume().on('end', () => outgoing.destroy());
      void waitIfHeld(statement).then(() => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
      });
    });
    onward.on('error', () => outgoing.destroy());
    onward.end(body);
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    statements,
    succeeded,
    unknown,
    forget: () => {
      statements.length = 0;
      succeeded.length = 0;
      unknown.length = 0;
    },
    hold: (isMeant) => {
      const [reached, released] = [gate(), gate()];
      held = { isMeant, reached: reached.open, released: released.opened };
      return { reached: reached.opened, release: released.open };
    },
    drop: (isMeant) => void (dropped = isMeant),
    refuseFrom: (isMeant) => {
      refusedFrom = isMeant;
      isRefusing = false;
    },
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function gate(): { opened: Promise<void>; open(): void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}
