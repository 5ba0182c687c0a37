// Throughput of a cold copy against `cp -a` and `sha256sum` on the same tree in the same run:
//
//     npm run build && node bench/cold-copy.mjs [FOLDER] [--files 4000] [--bytes 600000000]
//
// Without FOLDER it makes a tree like ClickHouse's: many small files of parts, some large ones. Each measurement reads
// from the page cache, as the servers' own last writes would be, and ends with its bytes on the disk.

import { execFileSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const dist = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist');
const { transfer } = await import(join(dist, 'agent/transfer.js'));
const { walk } = await import(join(dist, 'agent/tree.js'));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { files: { type: 'string', default: '4000' }, bytes: { type: 'string', default: '600000000' } },
});
const scratch = mkdtempSync(join(positionals[0] ? dirname(positionals[0]) : process.cwd(), '.cold-bench-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

/** Parts of 20 files, of which one holds nearly all the bytes. */
function makeTree(root, files, bytes) {
  const block = randomFillSync(Buffer.allocUnsafe(1024 * 1024));
  const parts = Math.max(1, Math.floor(files / 20));
  for (let part = 1; part <= parts; part++) {
    const folder = join(root, `data/shop/orders/all_${part}_${part}_0`);
    mkdirSync(folder, { recursive: true });
    for (let file = 0; file < 19; file++) writeFileSync(join(folder, `c${file}.mrk`), block.subarray(0, 400));
    const chunks = Math.ceil(bytes / parts / block.length);
    writeFileSync(join(folder, 'c0.bin'), Buffer.concat(Array.from({ length: chunks }, () => block)));
  }
}

const tree = positionals[0] ?? join(scratch, 'tree');
if (!positionals[0]) makeTree(tree, Number(values.files), Number(values.bytes));
const sync = () => execFileSync('sync', ['-f', scratch]);
const shell = (command) => execFileSync('bash', ['-c', command], { stdio: ['ignore', 'ignore', 'inherit'] });

async function copy(method) {
  const to = join(scratch, `copy-${method}`);
  mkdirSync(to);
  await transfer({
    entries: walk({ name: 'data', root: tree }),
    ...{ from: tree, to, method, progressFile: join(scratch, `${method}.jsonl`), check: () => undefined },
  });
}

const ways = {
  'cp -a, then sync': () => (shell(`cp -a '${tree}' '${join(scratch, 'cp')}'`), sync()),
  sha256sum: () => shell(`find '${tree}' -type f -print0 | xargs -0 sha256sum`),
  'cp -a, sha256sum, then sync': () => {
    shell(`cp -a '${tree}' '${join(scratch, 'cp')}' && find '${tree}' -type f -print0 | xargs -0 sha256sum`);
    sync();
  },
  'cold copy, streamed': () => copy('stream'),
  'cold copy, hard links': () => copy('hardlink'),
};

let [files, bytes] = [0, 0];
for await (const entry of walk({ name: 'data', root: tree }))
  if (entry.kind === 'file') [files, bytes] = [files + 1, bytes + entry.size];
shell(`find '${tree}' -type f -print0 | xargs -0 cat`);
console.log(`${files.toLocaleString('en-US')} files, ${(bytes / 1e6).toFixed(0)} MB; of three runs the median`);
for (const [name, run] of Object.entries(ways)) {
  const seconds = [];
  for (let round = 0; round < 3; round++) {
    for (const left of ['cp', 'copy-stream', 'copy-hardlink', 'stream.jsonl', 'hardlink.jsonl'])
      rmSync(join(scratch, left), { recursive: true, force: true });
    sync();
    const startedAt = performance.now();
    await run();
    seconds.push((performance.now() - startedAt) / 1000);
  }
  const median = seconds.sort((a, b) => a - b)[1];
  console.log(
    `${name.padEnd(30)}${median.toFixed(2).padStart(7)} s${(bytes / 1e6 / median).toFixed(0).padStart(7)} MB/s`,
  );
}
