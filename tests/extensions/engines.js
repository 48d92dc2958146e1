// Runs cases.js with the full module in Node and in workerd: engines.js [node] [workerd]
// Prints "ENGINE: N passed, N failed", and exits with 1 when something failed.

import { PGlite } from '../../js/dist/node-full.js';
import { configure, startWorker } from '../workers/workerd.js';
import { run } from './cases.js';

const TIMEOUT_MS = 900_000;
const wanted = process.argv.slice(2);

let failed = 0;
/** @param {string} engine @param {string} line */
function say(engine, line) {
  console.log(`${engine}: ${line}`);
  failed += Number(/^\d+ passed, /.test(line) ? !/^[1-9]\d* passed, 0 failed$/.test(line) : line.startsWith('FAILED'));
}

if (wanted.length === 0 || wanted.includes('node')) {
  await run(() => PGlite.create(), (line) => say('node', line));
}
if (wanted.length === 0 || wanted.includes('workerd')) {
  const { url, stop } = await startWorker(configure('extensions-worker.js'));
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const lines = (await answer.text()).split('\n').filter(Boolean);
    if (!answer.ok || lines.length === 0) {
      say('workerd', `FAILED: ${answer.status}`);
    }
    lines.forEach((line) => say('workerd', line));
  } finally {
    await stop();
  }
}
process.exit(failed > 0 ? 1 : 0);
