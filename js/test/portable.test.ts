/** The sources run where nothing may be compiled or evaluated and Node's modules are missing (tsconfig.json keeps Node's types away). */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const FORBIDDEN =
  /\beval\s*\(|\bnew\s+Function\b|\bnew\s+WebAssembly\.Module\b|WebAssembly\.(compile|compileStreaming|instantiateStreaming|Function)\b|\baddFunction\b|from\s+['"]node:|\brequire\s*\(|\bimport\s*\(|\bimport\.meta\b|\bBuffer\b|\bprocess\./;

test('no code generation, no Node built-ins', () => {
  const folder = new URL('../src/', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.ts'));
  assert(files.length > 5);
  for (const file of files) {
    readFileSync(new URL(file, folder), 'utf8')
      .split('\n')
      .forEach((line, i) => {
        assert(!FORBIDDEN.test(line), `${file}:${i + 1}: ${line}`);
      });
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
