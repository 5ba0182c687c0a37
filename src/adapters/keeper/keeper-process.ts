/** The process that holds the ZooKeeper session, see zookeeper.ts. It ends with its parent. */
import { RecoveryError, type ErrorCode } from '../../domain/errors.js';
import type { StaleKind } from '../../ports.js';
import { createNativeKeeper, type KeeperOptions } from './native-keeper.js';
import { Outbox } from './outbox.js';

export interface KeeperCall {
  call: 'exists' | 'children' | 'get' | 'stamp' | 'deleteStale';
  path: string;
  /** Of `deleteStale`. */
  kind?: StaleKind;
}

export type KeeperRequest = KeeperCall & { id: number };

export type KeeperResponse =
  { id: number; value: boolean | string | string[] | null } | { id: number; code: ErrorCode; message: string };

const keeper = createNativeKeeper(JSON.parse(process.argv[2] ?? '{}') as KeeperOptions);

async function answer({ id, call, path, kind = 'replica' }: KeeperRequest): Promise<KeeperResponse> {
  try {
    return { id, value: (await keeper[call](path, kind)) ?? null };
  } catch (cause) {
    const { code, message } =
      cause instanceof RecoveryError ? cause : new RecoveryError('INTERNAL', `ZooKeeper: ${String(cause)}`);
    return { id, code, message };
  }
}

const answers = new Outbox<KeeperResponse>((all) => {
  if (process.connected) process.send?.(all);
});
process.on('message', (requests: KeeperRequest[]) => {
  for (const request of requests) void answer(request).then((response) => answers.add(response));
});
process.on('disconnect', () => {
  // Ending the session at once rather than by its timeout; but a hung server must not keep us.
  setTimeout(() => process.exit(0), 1_000);
  void keeper.close().finally(() => process.exit(0));
});
// Ctrl-C goes to all processes of a terminal: the parent decides when it no longer needs us.
process.on('SIGINT', () => undefined);
