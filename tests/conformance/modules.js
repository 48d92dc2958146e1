// The modules under test, compiled; for Node and Bun. PGCELL_BUILD is the folder they are in.

import { readFile } from 'node:fs/promises';

/** @typedef {import('./driver.js').Transport} Transport */

const BUILD = process.env.PGCELL_BUILD ?? new URL('../../build', import.meta.url).pathname;

const FILES = { imports: 'pgcell.wasm', polling: 'pgcell-polling.wasm', callbacks: 'pgcell-callbacks.wasm' };

export const TRANSPORTS = /** @type {Transport[]} */ (Object.keys(FILES));

/** @param {string} name */
const compile = async (name) => WebAssembly.compile(await readFile(`${BUILD}/${name}`));

/** @param {Transport} transport @returns {Promise<import('./driver.js').Modules>} */
export async function loadModules(transport) {
  return {
    transport,
    module: await compile(FILES[transport]),
    trampoline: transport === 'callbacks' ? await compile('pgcell-trampoline.wasm') : undefined,
  };
}
