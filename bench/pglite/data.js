// Numbers and texts that are the same in every run.

const ONES = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve', 'thirteen',
  'fourteen', 'fifteen', 'sixteen', 'seventeen', 'eighteen', 'nineteen'];
const TENS = ['', '', 'twenty', 'thirty', 'forty', 'fifty', 'sixty', 'seventy', 'eighty', 'ninety'];

/** @param {number} n 0 to 999,999 @returns {string} */
export function words(n) {
  if (n < 20) {
    return /** @type {string} */ (ONES[n]);
  }
  const [unit, name] = n < 100 ? [10, TENS[Math.floor(n / 10)]] : n < 1000 ? [100, `${words(Math.floor(n / 100))} hundred`]
    : [1000, `${words(Math.floor(n / 1000))} thousand`];
  return n % unit === 0 ? `${name}` : `${name} ${words(n % unit)}`;
}

/** Numbers below `limit` (2 ** 32 at most): xorshift, from a seed other than 0. @param {number} seed @returns {(limit: number) => number} */
export function randomNumbers(seed) {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** A text of that many characters; PostgreSQL compresses it to a third. @param {(limit: number) => number} random @param {number} length */
export function text(random, length) {
  let result = '';
  while (result.length < length) {
    result += `${words(random(100_000))}, `;
  }
  return result.slice(0, length);
}
