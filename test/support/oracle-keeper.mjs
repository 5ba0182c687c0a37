// Reads the children of many ZooKeeper paths and gives them as JSON. A process of its own: see keeper-process.ts on why
// the npm client must not live in a process that spawns children. Shares no code with the product.
// It prints to descriptor 3: the client writes what it has to complain of to stdout.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const ZooKeeper = createRequire(import.meta.url)('zookeeper');
const { hosts, paths } = JSON.parse(readFileSync(0, 'utf8'));
const client = new ZooKeeper({ connect: hosts, timeout: 10000, debug_level: 1, host_order_deterministic: false });
const deadline = setTimeout(() => process.exit(3), 30_000);

const children = (path) =>
  new Promise((resolve, reject) => {
    client.a_get_children(path, false, (code, message, names) => {
      if (code === 0) resolve(names);
      else if (code === -101) resolve(null);
      else reject(new Error(`${path}: ${code} ${message}`));
    });
  });
const sync = () => new Promise((resolve) => client.a_sync('/', () => resolve(undefined)));

client.connect({}, async (error) => {
  if (error) process.exit(4);
  await sync();
  const answer = {};
  for (const path of paths) answer[path] = await children(path);
  clearTimeout(deadline);
  writeFileSync(3, JSON.stringify(answer));
  process.exit(0);
});
