// Runs the conformance suite and that of the database class in headless Chromium: run.js [NAME OF A PLACE]… [--part=PART OF A NAME]…
// Prints "chromium: PLACE: N passed, N failed", and exits with 1 when something failed. $CHROMIUM is another command than `chromium`.

import { openPage } from './chromium.js';
import { serve } from './server.js';

const TIMEOUT_MS = 300_000;
/** What runs where: the page's query. @type {Record<string, string>} */
const PLACES = {
  imports: 'suite=imports',
  polling: 'suite=polling',
  callbacks: 'suite=callbacks',
  'imports-in-worker': 'suite=imports&worker',
  'js-api': 'suite=js-api',
  storage: 'suite=storage',
  'storage-in-worker': 'suite=storage&worker',
};

const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--part='));
const parts = process.argv.slice(2).filter((argument) => argument.startsWith('--part=')).map((argument) => argument.slice('--part='.length));
const unknown = names.filter((name) => !(name in PLACES));
if (unknown.length > 0) {
  console.error(`run.js: unknown: ${unknown.join(' ')}`);
  process.exit(2);
}

/** @param {string} name @returns {Promise<boolean>} whether it passed */
async function run(name) {
  let hasFailed = false;
  /** @type {(text: string) => void} */
  let finish = () => {};
  /** @type {Promise<string>} */
  const finished = new Promise((resolve) => (finish = resolve));
  const server = await serve((text) => {
    console.log(`chromium: ${name}: ${text}`);
    hasFailed ||= text.startsWith('FAILED: ');
    if (/^\d+ passed, \d+ failed$/.test(text)) {
      finish(text);
    }
  });
  const query = [PLACES[name], ...parts.map((part) => `part=${encodeURIComponent(part)}`)].join('&');
  const page = openPage(`${server.url}/tests/browser/page.html?${query}`);
  const timer = setTimeout(() => finish(`not through after ${TIMEOUT_MS / 1000} s`), TIMEOUT_MS);
  const result = await Promise.race([finished, page.ended.then((how) => `Chromium has ended: ${how}`)]);
  clearTimeout(timer);
  await page.close();
  server.close();
  const isPassed = !hasFailed && /^[1-9]\d* passed, 0 failed$/.test(result);
  if (!isPassed && !/^\d+ passed/.test(result)) {
    console.log(`chromium: ${name}: ${result}`);
  }
  return isPassed;
}

let failed = 0;
for (const name of names.length > 0 ? names : Object.keys(PLACES)) {
  failed += Number(!(await run(name)));
}
process.exit(failed > 0 ? 1 : 0);
