// Runs cases of the conformance suite and says how it went: for hosts that are no command line (a Worker, a page).

import { Cell } from '../conformance/driver.js';

/**
 * @typedef {import('../conformance/driver.js').Pgcell} Pgcell
 * @typedef {import('../conformance/driver.js').Modules} Modules
 */

/**
 * What cases are given, a new one for each: `end` is called behind the case and tells what the guest has said.
 *
 * @template Context
 * @typedef {{ context: Context, end: () => Promise<string[]> }} Place
 */

/**
 * Cases of tests/conformance.
 *
 * @param {Pgcell} pgcell
 * @param {Modules} modules
 * @returns {() => Place<import('../conformance/suite.js').Context>}
 */
export const conformancePlaces = (pgcell, modules) => () => {
  /** @type {Cell[]} */
  const cells = [];
  const open = async ({ isFresh = false, ...rest } = {}) => {
    const cell = await Cell.make(pgcell, modules, rest);
    cells.push(cell);
    if (!isFresh) {
      cell.start();
    }
    return cell;
  };
  return { context: { pgcell, modules, open }, end: async () => cells.flatMap(({ logs }) => logs.slice(-10)) };
};

/**
 * Cases of tests/js-api.
 *
 * @param {import('../js-api/suite.js').Package} pgcell
 * @returns {() => Place<import('../js-api/suite.js').Context>}
 */
export const apiPlaces = (pgcell) => () => {
  /** @type {any[]} */
  const instances = [];
  const open = async (/** @type {Record<string, any>} */ settings = {}) => {
    const db = await pgcell.PGlite.create(settings);
    instances.push(db);
    return db;
  };
  const end = async () => {
    await Promise.all(instances.map((db) => (db.closed ? undefined : db.close().catch(() => {}))));
    return [];
  };
  return { context: { pgcell, open }, end };
};

/**
 * Yields a text for each case that fails, and a last line "N passed, N failed".
 *
 * @template Context
 * @param {readonly { name: string, run: (context: Context) => Promise<void> }[]} cases
 * @param {() => Place<Context>} makePlace
 * @returns {AsyncGenerator<string>}
 */
export async function* runCases(cases, makePlace) {
  let passed = 0;
  let failed = 0;
  for (const { name, run } of cases) {
    const { context, end } = makePlace();
    /** @type {string[]} */
    let lines = [];
    try {
      await run(context);
      passed++;
    } catch (error) {
      failed++;
      lines = [`FAILED: ${name}`, describe(error)];
    }
    const logs = await end();
    if (lines.length > 0) {
      yield [...lines, ...(logs.length > 0 ? ['the guest said:', ...logs] : [])].join('\n').replaceAll('\n', '\n    ');
    }
  }
  yield `${passed} passed, ${failed} failed`;
}

/** The cases in whose names one of the parts is; all without a part. @template {{ name: string }} C @param {readonly C[]} cases @param {readonly string[]} parts */
export const choose = (cases, parts) => cases.filter(({ name }) => parts.length === 0 || parts.some((part) => name.includes(part)));

/** An error, where it was thrown, and its causes. @param {unknown} error @returns {string} */
function describe(error) {
  if (!(error instanceof Error)) {
    return String(error);
  }
  const frames = (error.stack ?? '').split('\n').filter((line) => /\/suite|\/dist\/|wasm/.test(line));
  const text = [`${error.name}: ${error.message}`, ...frames.slice(0, 12)].join('\n');
  return error.cause === undefined ? text : `${text}\ncaused by ${describe(error.cause)}`;
}
