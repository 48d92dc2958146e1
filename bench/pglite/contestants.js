// The two that are measured: pgcell as it is published (js/dist, or the folder PGCELL_DIST), and PGlite from npm.

import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';

/**
 * @typedef {object} Database What both have.
 * @property {(sql: string, parameters?: unknown[]) => Promise<{ rows: any[] }>} query
 * @property {(sql: string) => Promise<{ rows: any[] }[]>} exec
 * @property {(message: Uint8Array) => Promise<Uint8Array>} execProtocolRaw
 * @property {() => Promise<Database>} clone
 * @property {() => Promise<void>} close
 *
 * @typedef {{ create: () => Promise<Database> }} Package
 */

const DIST = process.env['PGCELL_DIST'] ?? new URL('../../js/dist', import.meta.url).pathname;
const PGLITE = new URL('./node_modules/@electric-sql/pglite', import.meta.url).pathname;
const FILES = { pgcell: `${DIST}/node.js`, pglite: `${PGLITE}/dist/index.js` };

/** @typedef {keyof typeof FILES} Contestant */
export const CONTESTANTS = /** @type {Contestant[]} */ (Object.keys(FILES));

/** @param {Contestant} name @returns {Promise<Package>} */
export async function load(name) {
  return (await import(pathToFileURL(FILES[name]).href)).PGlite;
}

/** @returns {Promise<string>} */
export async function pgliteVersion() {
  return JSON.parse(await readFile(`${PGLITE}/package.json`, 'utf8')).version;
}
