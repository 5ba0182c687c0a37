import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export type ZooKeeperChange = { create: string } | { remove: string };

/** Puts ZooKeeper into a state that only an accident would: creates a node with its parents, or removes a subtree. */
export function runZooKeeper(hosts: readonly string[], changes: ZooKeeperChange[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('./zookeeper-write.mjs', import.meta.url))], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`the change in ZooKeeper failed (${code})`)),
    );
    child.stdin.end(JSON.stringify({ hosts: hosts.join(','), changes }));
  });
}
