// The page: page.html?suite=NAME[&worker][&part=…]. It shows what the suite says, and sends it to the runner (POST /report).

import { report } from './suite-here.js';

const query = new URLSearchParams(location.search);
const suite = query.get('suite') ?? 'imports';

/** Reports go one after the other. */
let sent = Promise.resolve();
/** @param {string} text */
function say(text) {
  document.getElementById('report')?.append(`${text}\n`);
  sent = sent.then(async () => {
    await fetch('/report', { method: 'POST', body: text });
  });
}

addEventListener('error', (event) => say(`FAILED: ${event.message}`));
addEventListener('unhandledrejection', (event) => say(`FAILED: ${event.reason?.stack ?? event.reason}`));

if (query.has('worker')) {
  const worker = new Worker(new URL('page-worker.js', location.href), { type: 'module' });
  worker.onmessage = ({ data }) => say(data);
  worker.onerror = (event) => say(`FAILED: ${event.message}`);
  worker.postMessage({ suite, parts: query.getAll('part') });
} else {
  await report(suite, query.getAll('part'), say);
}
