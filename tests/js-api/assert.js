// Assertions that run in any engine, without Node's; they know bigint, Date, bytes, NaN and undefined.

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
 * Compares values by what is in them: plain objects (whatever their order), arrays, dates, bytes and primitives.
 *
 * @param {unknown} actual
 * @param {unknown} expected
 */
export function equal(actual, expected, text = '') {
  const [a, b] = [show(actual), show(expected)];
  ok(a === b, `${text ? `${text}: ` : ''}${brief(a)} instead of ${brief(b)}`);
}

/**
 * What a promise is rejected with; its fields must be these, strings may be given as patterns.
 *
 * @param {Promise<unknown> | (() => unknown)} work
 * @param {Record<string, unknown>} fields
 * @returns {Promise<any>} the error
 */
export async function rejected(work, fields) {
  /** @type {unknown} */
  let result;
  try {
    result = await (typeof work === 'function' ? work() : work);
  } catch (error) {
    ok(error instanceof Error, `an Error, not ${brief(show(error))}`);
    for (const [name, expected] of Object.entries(fields)) {
      const actual = /** @type {any} */ (error)[name];
      if (expected instanceof RegExp) {
        ok(expected.test(actual), `${name} of ${error}: ${actual} does not match ${expected}`);
      } else {
        equal(actual, expected, `${name} of ${error}`);
      }
    }
    return error;
  }
  throw new AssertionError(`${brief(show(result))} instead of an error`);
}

/** @param {unknown} value @returns {string} */
function show(value) {
  if (typeof value === 'bigint') {
    return `${value}n`;
  }
  if (typeof value === 'number') {
    return Object.is(value, -0) ? '-0' : String(value);
  }
  if (value instanceof Date) {
    return `Date(${Number.isNaN(value.getTime()) ? 'invalid' : value.toISOString()})`;
  }
  if (value instanceof Uint8Array) {
    return `bytes(${value.length}: ${[...value.subarray(0, 100)]})`;
  }
  if (Array.isArray(value)) {
    return `[${value.map(show).join(', ')}]`;
  }
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([name, part]) => `${name}: ${show(part)}`).join(', ')}}`;
  }
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

/** @param {string} text */
function brief(text) {
  return text.length > 600 ? `${text.slice(0, 600)}…` : text;
}
