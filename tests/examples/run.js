// Runs the examples as they are, with `pgcell` being js/, and checks what they answer: run.js [NAME OF AN EXAMPLE]…
// Prints a line for each check and "N passed, N failed", and exits with 1 when something failed. The browser's screenshot goes to
// build/screenshots/console.png. $CHROMIUM is another command than `chromium`.

import { test as browser } from './browser.js';
import { checker, counts } from './check.js';
import { test as durableObject } from './durable-object.js';
import { test as node } from './node.js';
import { removeScratch } from './scratch.js';
import { test as worker } from './worker.js';

/** Of each example; nothing of it takes as long. */
const TIMEOUT_MS = 180_000;

/** @type {Record<string, (check: import('./check.js').Check) => Promise<void>>} */
const EXAMPLES = { worker, 'durable-object': durableObject, node, browser };

process.on('exit', removeScratch);

const names = process.argv.slice(2);
const unknown = names.filter((name) => !(name in EXAMPLES));
if (unknown.length > 0) {
  console.error(`run.js: unknown: ${unknown.join(' ')}; there are ${Object.keys(EXAMPLES).join(', ')}`);
  process.exit(2);
}
for (const name of names.length > 0 ? names : Object.keys(EXAMPLES)) {
  const check = checker(name);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const tooLate = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not through after ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
  });
  try {
    await Promise.race([EXAMPLES[name]?.(check), tooLate]);
  } catch (error) {
    check.that('runs to its end', false, error instanceof Error ? `${error.stack}\n${error.cause ?? ''}`.trim() : String(error));
  }
  clearTimeout(timer);
}
const { passed, failed } = counts();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
