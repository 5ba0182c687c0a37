// Changes ZooKeeper for a test, in a process of its own (see keeper-process.ts on why).
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const ZooKeeper = createRequire(import.meta.url)('zookeeper');
const { hosts, changes } = JSON.parse(readFileSync(0, 'utf8'));
const client = new ZooKeeper({ connect: hosts, timeout: 10000, debug_level: 1, host_order_deterministic: false });
setTimeout(() => process.exit(3), 30_000).unref();

const NODE_EXISTS = -110;
const create = (path) =>
  new Promise((resolve, reject) =>
    client.a_create(path, '', 0, (code, message) =>
      code === 0 || code === NODE_EXISTS ? resolve() : reject(new Error(`${path}: ${message}`)),
    ),
  );
const children = (path) =>
  new Promise((resolve) =>
    client.a_get_children(path, false, (code, _message, names) => resolve(code === 0 ? names : [])),
  );
const remove = (path) => new Promise((resolve) => client.a_delete_(path, -1, () => resolve()));

async function removeTree(path) {
  for (const name of await children(path)) await removeTree(`${path}/${name}`);
  await remove(path);
}

client.connect({}, async (error) => {
  if (error) process.exit(4);
  try {
    for (const change of changes) {
      if (change.create) {
        const steps = change.create.split('/').slice(1);
        for (let i = 1; i <= steps.length; i++) await create(`/${steps.slice(0, i).join('/')}`);
      } else await removeTree(change.remove);
    }
    process.exit(0);
  } catch {
    process.exit(5);
  }
});
