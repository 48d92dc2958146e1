// Counts checks and prints a line for each.

import { isDeepStrictEqual } from 'node:util';

/** @typedef {ReturnType<typeof checker>} Check */

let passed = 0;
let failed = 0;
export const counts = () => ({ passed, failed });

/** @param {unknown} value */
const show = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

/** @param {string} example its name, in front of every line */
export function checker(example) {
  /** @param {string} what @param {boolean} isOk @param {string} [otherwise] what there was instead */
  function that(what, isOk, otherwise = '') {
    if (isOk) {
      passed++;
    } else {
      failed++;
    }
    console.log(`${example}: ${isOk ? 'ok' : 'FAILED'}: ${what}${isOk || otherwise === '' ? '' : `\n${otherwise.replace(/^/gm, '    ')}`}`);
  }
  return {
    that,
    /** @param {string} what @param {unknown} actual @param {unknown} expected */
    equal(what, actual, expected) {
      that(what, isDeepStrictEqual(actual, expected), `${show(actual)}\ninstead of\n${show(expected)}`);
    },
    /** @param {string} what @param {unknown} text @param {RegExp} pattern */
    match(what, text, pattern) {
      that(what, pattern.test(String(text)), `${text}\ndoes not match ${pattern}`);
    },
  };
}
