// Assertions that run in any engine, without Node's.

export class AssertionError extends Error {
  name = 'AssertionError';
}

/** @type {(condition: unknown, text: string) => asserts condition} */
export function ok(condition, text) {
  if (!condition) {
    throw new AssertionError(text);
  }
}

/**
 * Compares numbers, strings, and arrays and plain objects of them.
 *
 * @param {unknown} actual
 * @param {unknown} expected
 */
export function equal(actual, expected, text = '') {
  const [a, b] = [show(actual), show(expected)];
  ok(a === b, `${text ? `${text}: ` : ''}${brief(a)} instead of ${brief(b)}`);
}

/**
 * Compares bytes and says where they differ.
 *
 * @param {Uint8Array} actual
 * @param {Uint8Array} expected
 */
export function equalBytes(actual, expected, text = 'bytes') {
  const end = Math.min(actual.length, expected.length);
  for (let i = 0; i < end; i++) {
    if (actual[i] !== expected[i]) {
      throw new AssertionError(`${text} differ at ${i}: ${actual[i]} instead of ${expected[i]}`);
    }
  }
  ok(actual.length === expected.length, `${text}: ${actual.length} instead of ${expected.length}`);
}

/**
 * Runs what must throw an error whose code is `code`, or one of them.
 *
 * @param {string | readonly string[]} code
 * @param {() => unknown} work
 */
export function refused(code, work) {
  /** @type {unknown} */
  let result;
  try {
    result = work();
  } catch (error) {
    const actual = /** @type {{ code?: string }} */ (error)?.code;
    ok(actual !== undefined && [code].flat().includes(actual), `${actual ?? error} instead of ${code}`);
    return;
  }
  throw new AssertionError(`${brief(show(result))} instead of ${code}`);
}

/** @param {unknown} value */
function show(value) {
  return JSON.stringify(value, (_key, part) => (part === undefined ? 'undefined' : part));
}

/** @param {string | undefined} text */
function brief(text) {
  return text !== undefined && text.length > 600 ? `${text.slice(0, 600)}…` : text;
}
