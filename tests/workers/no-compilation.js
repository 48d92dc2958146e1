// Nothing that a Worker loads compiles or evaluates anything at run time: neither the package's modules nor the guests.

import { readFile } from 'node:fs/promises';
import { GUESTS, moduleGraph, PACKAGE_ENTRY, pathOfModule } from './workerd.js';

const FORBIDDEN =
  /\beval\s*\(|\bFunction\s*\(|\bWebAssembly\s*\.\s*(?:Module\s*\(|compile|compileStreaming|instantiateStreaming|validate|Function)\b|\bWebAssembly\s*\[|\baddFunction\b|\bimport\s*\(|\bimport\.meta\b|\brequire\s*\(|from\s*['"](?:node:|[^.])|\bset(?:Timeout|Interval)\s*\(\s*['"`]/;

/** What a guest may import: no more than the contract has. None of these makes code. */
const IMPORTS = {
  wasi_snapshot_preview1: [
    'clock_time_get', 'environ_get', 'environ_sizes_get', 'fd_fdstat_get', 'fd_read', 'fd_write', 'poll_oneoff', 'proc_exit', 'random_get', 'sched_yield',
  ],
  env: ['pglite_js_read', 'pglite_js_write'],
};

/** @param {string} path @param {string} text */
function* inSource(path, text) {
  for (const [i, line] of text.split('\n').entries()) {
    if (FORBIDDEN.test(line)) {
      yield `${path}:${i + 1}: compiles at run time, or is not for Workers: ${line.trim()}`;
    }
  }
}

/** @param {string} name @param {WebAssembly.Module} module */
function* inModule(name, module) {
  for (const { module: from, name: imported, kind } of WebAssembly.Module.imports(module)) {
    /** @type {Record<string, readonly string[]>} */
    const allowed = IMPORTS;
    if (kind !== 'function' || !allowed[from]?.includes(imported)) {
      yield `${name} imports ${kind} ${from}.${imported}`;
    }
  }
  for (const section of ['dylink', 'dylink.0']) {
    if (WebAssembly.Module.customSections(module, section).length > 0) {
      yield `${name} is to be linked dynamically (${section})`;
    }
  }
}

/** @returns {Promise<string[]>} what is wrong */
export async function findCompilation() {
  const bad = ["eval('1')", 'new Function("return 1")', 'new WebAssembly.Module(b)', 'WebAssembly.compile(b)', "from 'node:fs'", "await import('x')"];
  const unseen = bad.filter((line) => [...inSource('', line)].length === 0).map((line) => `the check does not see ${line}`);
  const graph = moduleGraph(PACKAGE_ENTRY);
  const found = [...graph].flatMap(([path, text]) => [...inSource(path, text)]);
  for (const name of Object.values(GUESTS)) {
    found.push(...inModule(name, await WebAssembly.compile(await readFile(pathOfModule(name)))));
  }
  const size = [...graph.values()].reduce((total, text) => total + text.length, 0);
  return [...unseen, ...(size > 50_000 ? [] : [`only ${size} characters are imported by ${PACKAGE_ENTRY}`]), ...found];
}
