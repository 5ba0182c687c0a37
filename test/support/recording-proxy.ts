/** Stands before a ClickHouse node and writes down what is sent to it: embedded nodes have no query_log. */
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface RecordingProxy {
  readonly url: string;
  /** Statements, as they were sent, since the start or the last `forget`. */
  readonly statements: readonly string[];
  /** Those that the node answered with success, also where nobody was there any more to read it. */
  readonly succeeded: readonly string[];
  forget(): void;
  stop(): Promise<void>;
}

export async function startRecordingProxy(target: string): Promise<RecordingProxy> {
  const { hostname, port } = new URL(target);
  const statements: string[] = [];
  const succeeded: string[] = [];
  const server = createServer((incoming, outgoing) => {
    const body: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => body.push(chunk));
    incoming.on('end', () => {
      const sent = Buffer.concat(body);
      const inUrl = new URL(incoming.url ?? '/', target).searchParams.get('query') ?? '';
      const statement = `${inUrl}${sent.toString('utf8')}`;
      statements.push(statement);
      forward(incoming, outgoing, sent, statement);
    });
  });
  const forward = (incoming: IncomingMessage, outgoing: ServerResponse, body: Buffer, statement: string) => {
    const { method, url: path, headers } = incoming;
    const onward = request({ hostname, port, method, path, headers }, (answer) => {
      if (answer.statusCode === 200) succeeded.push(statement);
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
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
    forget: () => {
      statements.length = 0;
      succeeded.length = 0;
    },
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
