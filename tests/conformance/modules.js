// The modules under test, compiled; for Node and Bun. PGCELL_BUILD is the folder they are in.

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

/**
 * A transport, or a variant of one: `asyncify` is the polling transport in a module whose guest can wait.
 *
 * @typedef {import('./driver.js').Transport | 'asyncify'} Variant
 */

const BUILD = process.env.PGCELL_BUILD ?? new URL('../../build', import.meta.url).pathname;

const FILES = {
  imports: 'pgcell.wasm',
  polling: 'pgcell-polling.wasm',
  callbacks: 'pgcell-callbacks.wasm',
  asyncify: 'pgcell-asyncify.wasm',
};

export const VARIANTS = /** @type {Variant[]} */ (Object.keys(FILES));

/** Whether the module was built: one is optional (make check-asyncify). @param {Variant} variant */
export const isThere = (variant) => variant !== 'asyncify' || existsSync(`${BUILD}/${FILES[variant]}`);

/** @param {string} name */
const compile = async (name) => WebAssembly.compile(await readFile(`${BUILD}/${name}`));

/** @param {Variant} variant @returns {Promise<import('./driver.js').Modules>} */
export async function loadModules(variant) {
  return {
    transport: variant === 'asyncify' ? 'polling' : variant,
    module: await compile(FILES[variant]),
    trampoline: variant === 'callbacks' ? await compile('pgcell-trampoline.wasm') : undefined,
  };
}
