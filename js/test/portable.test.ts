/** The sources run where nothing may be compiled or evaluated and Node's modules are missing (tsconfig.json keeps Node's types away). */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const FORBIDDEN =
  /\beval\s*\(|\bnew\s+Function\b|\bnew\s+WebAssembly\.Module\b|WebAssembly\.(compile|compileStreaming|instantiateStreaming|Function)\b|\baddFunction\b|from\s+['"]node:|\brequire\s*\(|\bimport\s*\(|\bimport\.meta\b|\bBuffer\b|\bprocess\./;

/** For one environment: entries, which nothing but the package's users imports, and what only the one for Node imports. */
const ENTRIES = ['browser.ts', 'node.ts', 'browser-full.ts', 'node-full.ts', 'browser-storage.ts', 'directory.ts', 'ambient.d.ts', 'storage-directory.ts',
  'lock-file.ts'];

test('no code generation, no Node built-ins', () => {
  const folder = new URL('../src/', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts') && !ENTRIES.includes(name));
  assert(files.length > 5);
  for (const file of files) {
    readFileSync(new URL(file, folder), 'utf8')
      .split('\n')
      .forEach((line, i) => {
        assert(!FORBIDDEN.test(line), `${file}:${i + 1}: ${line}`);
      });
  }
});

test('the core and the entry for Workers import no other entry', () => {
  const folder = new URL('../src/', import.meta.url);
  for (const root of ['index.ts', 'template.ts', 'worker.ts', 'worker-full.ts']) {
    const seen = new Set([root]);
    for (const file of seen) {
      for (const [, name] of readFileSync(new URL(file, folder), 'utf8').matchAll(/\bfrom '\.\/(.*?\.ts)'/g)) {
        seen.add(name!);
      }
    }
    assert(root === 'template.ts' || seen.size > 10);
    assert.deepEqual(ENTRIES.filter((entry) => seen.has(entry)), [], root);
  }
});

test('that check sees what it is for', () => {
  for (const bad of [
    "eval('1')",
    "new Function('return 1')",
    'new WebAssembly.Module(bytes)',
    'await WebAssembly.compile(bytes)',
    "import { readFile } from 'node:fs';",
    'Buffer.from(x)',
    'process.env',
    "await import('x')",
  ]) {
    assert(FORBIDDEN.test(bad), bad);
  }
});
