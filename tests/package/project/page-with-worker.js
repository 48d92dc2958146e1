// The database on the page, and another one in a worker of the page.

import { PGlite } from 'pgcell';
import { ask } from './ask.js';
import { report } from './report.js';

report(async () => {
  const worker = new Worker(new URL('./page-worker.js', import.meta.url), { type: 'module' });
  const answer = new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(event.message));
  });
  return `${await ask(PGlite)}, in a worker ${await answer}`;
});
