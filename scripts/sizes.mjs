// usage: sizes.mjs: what a Worker needs of the package, js/dist/worker.js and all it imports, and how small it gets on the way there.
// gzip is the command, at -9, as it is what limits are told in; brotli is at 9: 11 takes a minute for a tenth less.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { brotliCompressSync, constants } from 'node:zlib';

const DIST = new URL('../js/dist/', import.meta.url);
const files = new Set(['worker.js']);
for (const name of files) {
  if (name.endsWith('.js')) {
    for (const [, other] of readFileSync(new URL(name, DIST), 'utf8').matchAll(/\b(?:from|import)\s*"\.\/([^"]+)"/g)) {
      files.add(other);
    }
  }
}
const total = [0, 0, 0];
for (const name of files) {
  const bytes = readFileSync(new URL(name, DIST));
  total[0] += bytes.length;
  total[1] += execFileSync('gzip', ['-9c'], { input: bytes, maxBuffer: 1 << 28 }).length;
  total[2] += brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }).length;
}
const [raw, gzip, brotli] = total.map((n) => n.toLocaleString('en'));
console.log(`pgcell: a Worker needs ${[...files].length} files: ${raw} bytes, gzip -9 ${gzip}, brotli -9 ${brotli}`);
