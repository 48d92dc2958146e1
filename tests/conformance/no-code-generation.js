// A query over each transport in an engine that may not generate code, as in Cloudflare Workers. The modules are compiled first, as a
// Worker gets them from outside; then everything that compiles is replaced by functions that throw, and only then is our code loaded.
// Node is to be run with --disallow-code-generation-from-strings (the test checks that it may not).

import { isThere, loadModules, VARIANTS } from './modules.js';
import { value } from './answers.js';

const modules = await Promise.all(VARIANTS.filter(isThere).map(loadModules));

/** @param {string} name */
const forbid = (name) =>
  function () {
    throw new Error(`${name}: code generation disallowed`);
  };

const { instantiate, Module } = WebAssembly;
/** @type {any} */
const engine = WebAssembly;
for (const name of ['compile', 'compileStreaming', 'instantiateStreaming', 'validate', 'Function']) {
  engine[name] = forbid(`WebAssembly.${name}`);
}
engine.Module = forbid('WebAssembly.Module');
engine.instantiate = (/** @type {unknown} */ source, /** @type {WebAssembly.Imports} */ imports) =>
  source instanceof Module ? instantiate(source, imports) : forbid('WebAssembly.instantiate of bytes')();
const isNode = process.versions.bun === undefined;
globalThis.eval = forbid('eval');
if (isNode && !process.execArgv.includes('--disallow-code-generation-from-strings')) {
  console.error('no-code-generation.js: run with --disallow-code-generation-from-strings');
  process.exit(2);
}

const EMPTY_MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const gates = {
  'new WebAssembly.Module': () => new WebAssembly.Module(EMPTY_MODULE),
  'WebAssembly.compile': () => WebAssembly.compile(EMPTY_MODULE),
  'WebAssembly.instantiate': () => WebAssembly.instantiate(EMPTY_MODULE),
  eval: () => (0, eval)('1'),
  ...(isNode && { 'new Function': () => new Function('return 1') }),
};
for (const [name, work] of Object.entries(gates)) {
  let isForbidden = false;
  try {
    work();
  } catch {
    isForbidden = true;
  }
  if (!isForbidden) {
    console.log(`FAILED: ${name} is not forbidden, so this test shows nothing`);
    process.exit(1);
  }
}

const pgcell = await import('../../js/dist/index.js');
const { Cell } = await import('./driver.js');
let failed = 0;
for (const each of modules) {
  try {
    const cell = await Cell.make(pgcell, each);
    cell.start();
    const answer = value(cell.query("select 'works over ' || 'it'"));
    if (answer !== 'works over it') {
      throw new Error(`answered ${answer}`);
    }
    if (value(cell.query('create extension if not exists plpgsql; select 2')) !== '2') {
      throw new Error('wrong answer');
    }
  } catch (error) {
    failed++;
    console.log(`FAILED: ${each.transport} without code generation\n${/** @type {Error} */ (error).stack}`);
  }
}
console.log(`without code generation: ${modules.length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
