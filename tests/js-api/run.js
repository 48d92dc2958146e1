// Runs the suite in this engine (Node or Bun): run.js [--peer=FILE] [--list] [--verbose] [PART OF A NAME]…
// PGCELL_WASM is the module, build/pgcell.wasm unless said; PGCELL_DIST the folder of the package's files. With --peer the cases that
// PGlite has to pass as well run on PGlite: FILE is dist/index.js of its package.
// Prints a line for each failure, and "js-api: N passed, N failed"; exits with 1 when something failed.

import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { cases } from './suite.js';

const CASE_TIMEOUT_MS = 60_000;

const options = process.argv.slice(2).filter((argument) => argument.startsWith('--'));
const parts = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const peer = options.find((option) => option.startsWith('--peer='))?.slice('--peer='.length);
const unknown = options.filter((option) => !option.startsWith('--peer=') && !['--list', '--verbose'].includes(option));
if (unknown.length > 0) {
  console.error(`run.js: unknown: ${unknown.join(' ')}`);
  process.exit(2);
}

/** @param {string} file @returns {Promise<any>} */
const load = (file) => import(pathToFileURL(file).href);

/** The package under test, with a class that finds the module. @returns {Promise<import('./suite.js').Package>} */
async function loadPackage() {
  if (peer !== undefined) {
    return { ...(await load(peer)), ...(await load(peer.replace(/index\.js$/, 'templating.js'))) };
  }
  const dist = process.env.PGCELL_DIST ?? new URL('../../js/dist', import.meta.url).pathname;
  const wasm = process.env.PGCELL_WASM ?? new URL('../../build/pgcell.wasm', import.meta.url).pathname;
  const pgcell = await load(`${dist}/index.js`);
  const module = WebAssembly.compile(await readFile(wasm));
  class PGlite extends pgcell.PGlite {
    loadModule() {
      return module;
    }
  }
  return { ...pgcell, ...(await load(`${dist}/template.js`)), PGlite };
}

const wanted = cases.filter(({ name, isOwn }) => !(peer && isOwn) && (parts.length === 0 || parts.some((part) => name.includes(part))));
if (options.includes('--list')) {
  console.log(wanted.map(({ name }) => name).join('\n'));
  process.exit(0);
}
const pgcell = await loadPackage();
let passed = 0;
let failed = 0;
for (const { name, run } of wanted) {
  /** @type {any[]} */
  const instances = [];
  const started = performance.now();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  try {
    const tooLate = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not through after ${CASE_TIMEOUT_MS / 1000} s`)), CASE_TIMEOUT_MS);
    });
    const work = run({
      pgcell,
      async open(settings = {}) {
        const db = await pgcell.PGlite.create(settings);
        instances.push(db);
        return db;
      },
    });
    await Promise.race([work, tooLate]);
    passed++;
    if (options.includes('--verbose')) {
      console.log(`js-api: ${name}: ${Math.round(performance.now() - started)} ms`);
    }
  } catch (error) {
    failed++;
    console.log(`js-api: FAILED: ${name}\n${describe(error).replace(/^/gm, '    ')}`);
  }
  clearTimeout(timer);
  await Promise.all(instances.map((db) => (db.closed ? undefined : db.close().catch(() => {}))));
}
console.log(`js-api: ${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0); // PGlite leaves handles open

/** An error and where in the suite. @param {unknown} error @returns {string} */
function describe(error) {
  if (!(error instanceof Error)) {
    return String(error);
  }
  const frames = (error.stack ?? '').split('\n').filter((line) => /\/suite|\/dist\//.test(line));
  const text = [`${error.name}: ${error.message}`, ...frames.slice(0, 4)].join('\n');
  return error.cause === undefined ? text : `${text}\ncaused by ${error.cause}`;
}
