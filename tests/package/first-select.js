// Measures import to the first answer, in Node processes of their own: first-select.js [--runs=N]
// Prints a line for each Node: the median, least and most of the time in the process, from before import('pgcell') to the result of the
// first query, its parts, and the time of the whole process. Exits with 1 when a median is over the bar; --no-bar only prints.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NODES } from './engines.js';
import { install, PROJECT } from './packed.js';
import { succeed } from './scratch.js';

const BAR_MS = 120;
const RUNS = Number(process.argv.find((argument) => argument.startsWith('--runs='))?.slice('--runs='.length) ?? 10);
const PARTS = ['import', 'create', 'query'];
const PROGRAM = `const times = [performance.now()];
const { PGlite } = await import('pgcell');
times.push(performance.now());
const db = await PGlite.create();
times.push(performance.now());
const { rows } = await db.query('SELECT 1 AS one');
times.push(performance.now());
console.log(JSON.stringify({ one: rows[0]?.one, times }));
`;

/** @param {number[]} numbers */
const median = (numbers) => {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return ((sorted[middle] ?? NaN) + (sorted[sorted.length - 1 - middle] ?? NaN)) / 2;
};
/** @param {number[]} numbers of milliseconds */
const spread = (numbers) => `${median(numbers).toFixed(1)} ms (${Math.min(...numbers).toFixed(1)} to ${Math.max(...numbers).toFixed(1)})`;

/** @param {string} node */
async function measure(node) {
  const began = performance.now();
  const answer = JSON.parse(await succeed([node, 'first.js'], { cwd: PROJECT }));
  const wall = performance.now() - began;
  if (answer.one !== 1) {
    throw new Error(`SELECT 1 gave ${answer.one}`);
  }
  const parts = PARTS.map((_, i) => answer.times[i + 1] - answer.times[i]);
  return { inside: answer.times.at(-1) - answer.times[0], parts, wall };
}

await install();
writeFileSync(join(PROJECT, 'first.js'), PROGRAM);
let slow = 0;
for (const [name, node] of Object.entries(NODES)) {
  await measure(node); // fills the caches
  /** @type {Awaited<ReturnType<typeof measure>>[]} */
  const results = [];
  for (let run = 0; run < RUNS; run++) {
    results.push(await measure(node));
  }
  const inside = results.map((result) => result.inside);
  const parts = PARTS.map((part, i) => `${part} ${median(results.map((result) => result.parts[i] ?? NaN)).toFixed(1)}`);
  console.log(`${name}: import to first answer ${spread(inside)}: ${parts.join(', ')}; the process ${spread(results.map(({ wall }) => wall))}`);
  slow += Number(!(median(inside) <= BAR_MS));
}
if (slow > 0) {
  console.log(`${slow} of ${Object.keys(NODES).length} over ${BAR_MS} ms`);
}
process.exit(slow > 0 && !process.argv.includes('--no-bar') ? 1 : 0);
