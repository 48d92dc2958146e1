// Compiles the modules as they come from the server, and runs a suite, in a page or a worker.

import * as pgcell from '../../js/dist/browser.js';
import * as template from '../../js/dist/template.js';
import { cases } from '../conformance/suite.js';
import { cases as apiCases } from '../js-api/suite.js';
import { cases as keptCases } from './storage-here.js';
import { apiPlaces, choose, conformancePlaces, runCases } from '../workers/run-cases.js';

/** @type {Record<string, string>} */
const GUESTS = { imports: 'pgcell.wasm', polling: 'pgcell-polling.wasm', callbacks: 'pgcell-callbacks.wasm' };

/** @param {string} name */
const compile = (name) => WebAssembly.compileStreaming(fetch(`/build/${name}`));

/** @param {string} suite a transport, js-api or storage @param {readonly string[]} parts */
async function start(suite, parts) {
  if (suite === 'js-api') {
    return runCases(choose(apiCases, parts), apiPlaces({ ...pgcell, ...template }));
  }
  if (suite === 'storage') {
    return runCases(choose(keptCases, parts), () => ({ context: undefined, end: async () => [] }));
  }
  const transport = /** @type {import('../conformance/driver.js').Transport} */ (suite);
  const modules = {
    transport,
    module: await compile(GUESTS[transport] ?? ''),
    trampoline: transport === 'callbacks' ? await compile('pgcell-trampoline.wasm') : undefined,
  };
  return runCases(choose(cases(transport, pgcell.canWait()), parts), conformancePlaces(pgcell, modules));
}

/**
 * The last text is "N passed, N failed".
 *
 * @param {string} suite
 * @param {readonly string[]} parts of names of cases; none: all
 * @param {(text: string) => void} say
 */
export async function report(suite, parts, say) {
  try {
    for await (const text of await start(suite, parts)) {
      say(text);
    }
  } catch (error) {
    say(`FAILED: ${error instanceof Error ? error.stack : error}`);
    say('0 passed, 1 failed');
  }
}
