// Runs the conformance suite and that of the database class in workerd, the engine of Cloudflare Workers: run.js [--suite=NAME]… [--times] [PART OF A NAME]…
// Prints "workerd: SUITE: N passed, N failed", and exits with 1 when something failed. --times measures instead.

import { configure, GUESTS, startWorker } from './workerd.js';
import { findCompilation } from './no-compilation.js';

const MIB = 1 << 20;
const MEMORY_LIMIT = 48 * MIB;
const TIMEOUT_MS = 300_000;
const RUNS = 7;

const options = process.argv.slice(2).filter((argument) => argument.startsWith('--'));
const parts = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const transports = /** @type {import('../conformance/driver.js').Transport[]} */ (Object.keys(GUESTS));
const suites = [...transports, 'js-api'];
const chosen = suites.filter((name) => options.includes(`--suite=${name}`));
const unknown = options.filter((option) => option !== '--times' && !suites.some((name) => option === `--suite=${name}`));
if (unknown.length > 0) {
  console.error(`run.js: unknown: ${unknown.join(' ')}`);
  process.exit(2);
}

let failed = 0;
const say = (/** @type {string} */ line) => console.log(`workerd: ${line}`);
/** @param {string} line */
function fail(line) {
  failed++;
  say(`FAILED: ${line}`);
}

/** @param {string} address */
async function get(address) {
  const response = await fetch(address, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) {
    throw new Error(`${address}: ${response.status}: ${await response.text()}`);
  }
  return response;
}
/** @param {string} address */
const getText = async (address) => (await get(address)).text();

/** The lines of an answer as they come. @param {string} address */
async function* getLines(address) {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of /** @type {AsyncIterable<Uint8Array>} */ (/** @type {unknown} */ ((await get(address)).body))) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

/** @param {string} name @param {string} address */
async function runSuite(name, address) {
  let last = '';
  for await (const line of getLines(`${address}?${new URLSearchParams(parts.map((part) => ['part', part]))}`)) {
    say(`${name}: ${line}`);
    last = line;
  }
  failed += Number(!/^[1-9]\d* passed, 0 failed$/.test(last));
}

/** @param {import('../conformance/driver.js').Transport} transport */
async function test(transport) {
  const { url, stop } = await startWorker(configure('worker.js', transport));
  try {
    for (const line of (await getText(`${url}/gates`)).split('\n').filter(Boolean)) {
      fail(`${transport}: so this shows nothing: ${line}`);
    }
    await runSuite(transport, `${url}/suite`);
    const answer = await getText(`${url}/memory`);
    if (Number(answer) > 0 && Number(answer) < MEMORY_LIMIT) {
      say(`${transport}: ${(Number(answer) / MIB).toFixed(1)} MiB of linear memory with 1,000 rows and two indexes`);
    } else {
      fail(`${transport}: bytes of linear memory with 1,000 rows: ${answer}`);
    }
  } finally {
    await stop();
  }
}

/** The suite of the database class. */
async function testApi() {
  const { url, stop } = await startWorker(configure('api-worker.js'));
  try {
    await runSuite('js-api', url);
  } finally {
    await stop();
  }
}

/** @param {number[]} numbers */
const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1] ?? NaN;
/** @param {number[]} numbers of milliseconds */
const times = (numbers) => `${median(numbers).toFixed(1)} ms (${Math.min(...numbers).toFixed(1)} to ${Math.max(...numbers).toFixed(1)})`;

/** Spawn to first response, ours and an empty Worker's, one after the other; and further requests, each with an instance of its own. */
async function measure() {
  const sides = [
    { name: 'an empty Worker', config: configure('empty.js') },
    { name: 'an instance and SELECT 1', config: configure('first.js', 'imports') },
    { name: 'the same with the database class', config: configure('first-api.js') },
  ].map((side) => ({ ...side, cold: /** @type {number[]} */ ([]), warm: /** @type {number[]} */ ([]) }));
  for (let run = -1; run < RUNS; run++) {
    for (const { name, config, cold, warm } of sides) {
      const began = performance.now();
      const { url, stop } = await startWorker(config);
      try {
        const answer = await getText(url);
        const took = performance.now() - began;
        if (answer !== '1') {
          throw new Error(`${name}: answered ${answer}`);
        }
        const further = [];
        for (let i = 0; i < RUNS; i++) {
          const before = performance.now();
          await getText(url);
          further.push(performance.now() - before);
        }
        if (run >= 0) { // the first run fills the caches
          cold.push(took);
          warm.push(...further);
        }
      } finally {
        await stop();
      }
    }
  }
  const base = median(sides[0]?.cold ?? []);
  for (const { name, cold, warm } of sides) {
    say(`${name}: spawn to first response ${times(cold)}, ${(median(cold) - base).toFixed(1)} ms behind the empty one; a further request ${times(warm)}`);
  }
}

if (options.includes('--times')) {
  await measure();
} else {
  for (const line of await findCompilation()) {
    fail(line);
  }
  /** @type {Record<string, () => Promise<void>>} */
  const tests = { ...Object.fromEntries(transports.map((transport) => [transport, () => test(transport)])), 'js-api': testApi };
  for (const name of chosen.length > 0 ? chosen : Object.keys(tests)) {
    try {
      await tests[name]?.();
    } catch (error) {
      fail(`${name}: ${error instanceof Error ? `${error.message} ${error.cause ?? ''}` : error}`);
    }
  }
}
process.exit(failed > 0 ? 1 : 0);
