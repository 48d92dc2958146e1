// Measures pgcell beside PGlite: run.js [--quick] [--node=22|24|26] [--part=PART]… [--processes=N] [--json=FILE]
// Each measurement is a process of its own (measure.js), the two contestants in turns: A B, B A, A B … Shown is the median of the
// processes, and how many times as fast pgcell is, by the clock and by CPU time, in which others at work on the machine are not.
// PGCELL_DIST is the folder of pgcell's package, js/dist unless said. Exits with 1 if the two did not answer the same.

import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';

import { CONTESTANTS, pgliteVersion } from './contestants.js';

/**
 * @typedef {import('./contestants.js').Contestant} Contestant
 * @typedef {'µs' | 'ms' | 'MiB'} Unit
 * @typedef {{ name: string, unit: Unit, value: number, cpuSeconds?: number, isTotal?: boolean }} Measured
 *
 * @typedef {object} Part
 * @property {string} name
 * @property {string} heading
 * @property {(name: string) => boolean} has Which of the rows are in this table
 * @property {boolean} [hasMean]
 *
 * @typedef {object} Row One of a table. In its unit.
 * @property {string} part
 * @property {string} name
 * @property {Unit} unit
 * @property {Record<Contestant, { median: number, quartiles: number[], cpuMedian?: number, samples: number }>} of
 * @property {number} times As fast, or as small
 * @property {number} [cpuTimes]
 * @property {boolean} [isTotal]
 */

const TIMEOUT_MS = 300_000;
const SCALE = { 'µs': 1e6, ms: 1e3, MiB: 1 };
/** How often each part is measured; and if it is to be quick. */
const PROCESSES = { start: [10, 3], instances: [3, 1], latency: [5, 2], 'round-trips': [5, 2], speed: [5, 2] };
/** @type {Record<string, Omit<Part, 'name'>[]>} */
const TABLES = {
  start: [{ heading: 'Start, in a new process', has: () => true }],
  instances: [{ heading: 'Further instances in one process', has: () => true }],
  latency: [{ heading: 'One query', has: () => true, hasMean: true }],
  'round-trips': [{ heading: 'Round trips: one statement by query()', has: () => true, hasMean: true }],
  speed: [
    { heading: 'Speed suite, each test one exec(), in a new process', has: (name) => !name.startsWith('warm '), hasMean: true },
    { heading: 'Speed suite, once more in the same process', has: (name) => name.startsWith('warm '), hasMean: true },
  ],
};

/** @param {string} name The values of an option */
const option = (name) => process.argv.filter((argument) => argument.startsWith(`--${name}=`)).map((argument) => argument.slice(name.length + 3));
const unknown = process.argv.slice(2).filter((argument) => !/^--(quick$|(node|part|processes|json)=)/.test(argument));
const parts = option('part').length > 0 ? option('part') : Object.keys(PROCESSES);
unknown.push(...parts.filter((part) => !(part in PROCESSES)));
if (unknown.length > 0) {
  console.error(`run.js: unknown: ${unknown.join(' ')}; the parts are ${Object.keys(PROCESSES).join(', ')}`);
  process.exit(2);
}
const isQuick = process.argv.includes('--quick');
const node = new URL(`../../tests/conformance/node_modules/node-${option('node').at(-1) ?? '24'}/bin/node`, import.meta.url).pathname;

/** @param {string[]} given @returns {Promise<string>} Its output */
function runNode(given) {
  return new Promise((resolve, reject) => {
    const child = spawn(node, given, { stdio: ['ignore', 'pipe', 'inherit'], timeout: TIMEOUT_MS });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => void (output += text));
    child.on('error', reject);
    child.on('close', (code, signal) => (code === 0 ? resolve(output) : reject(new Error(`${given.join(' ')}: ${signal ?? `exit status ${code}`}`))));
  });
}

/** @param {number[]} values @param {number} part Of 1 */
function quantile(values, part) {
  const ordered = values.toSorted((a, b) => a - b);
  const at = part * (ordered.length - 1);
  const below = ordered[Math.floor(at)] ?? NaN;
  return below + ((ordered[Math.ceil(at)] ?? NaN) - below) * (at - Math.floor(at));
}
const round = (/** @type {number} */ value) => Number(value.toPrecision(4));

/** @param {keyof typeof PROCESSES} part @returns {Promise<{ rows: Row[], isSame: boolean }>} */
async function measure(part) {
  const count = Number(option('processes').at(-1) ?? PROCESSES[part][isQuick ? 1 : 0]);
  /** @type {Record<Contestant, Measured[][]>} */
  const runs = { pgcell: [], pglite: [] };
  const answers = new Set();
  for (let number = 0; number < count; number++) {
    for (const contestant of number % 2 ? CONTESTANTS.toReversed() : CONTESTANTS) {
      const script = new URL('./measure.js', import.meta.url).pathname;
      const { rows, answer } = JSON.parse(await runNode(['--expose-gc', script, part, contestant, ...(isQuick ? ['--quick'] : [])]));
      runs[contestant].push(rows);
      answers.add(answer);
    }
  }

  const rows = (runs.pgcell[0] ?? []).map(({ name, unit, cpuSeconds, isTotal }, i) => {
    const summary = (/** @type {Contestant} */ contestant) => {
      const found = runs[contestant].map((run) => /** @type {Measured} */ (run[i]));
      const values = found.map(({ value }) => value * SCALE[unit]);
      const cpu = found.map((each) => (each.cpuSeconds ?? NaN) * SCALE[unit]);
      return {
        median: round(quantile(values, 0.5)),
        quartiles: [0.25, 0.75].map((q) => round(quantile(values, q))),
        samples: values.length,
        ...(cpuSeconds !== undefined && { cpuMedian: round(quantile(cpu, 0.5)) }),
      };
    };
    const of = { pgcell: summary('pgcell'), pglite: summary('pglite') };
    return {
      part, name, unit, of, ...(isTotal && { isTotal }), times: round(of.pglite.median / of.pgcell.median),
      ...(cpuSeconds !== undefined && { cpuTimes: round((of.pglite.cpuMedian ?? NaN) / (of.pgcell.cpuMedian ?? NaN)) }),
    };
  });
  return { rows, isSame: answers.size === 1 };
}

/** @param {(number | undefined)[]} values */
function geometricMean(values) {
  const logarithms = values.map((value) => Math.log(value ?? NaN));
  return round(Math.exp(logarithms.reduce((sum, each) => sum + each, 0) / logarithms.length));
}

const NAME_WIDTH = 52;
/** @param {string[]} cells */
const print = ([name = '', ...cells]) => console.log(`  ${name.padEnd(NAME_WIDTH)}${cells.map((cell) => cell.padStart(13)).join('')}`);
const fixed = (/** @type {number | undefined} */ value) => (value === undefined ? '' : value.toFixed(2));

const engine = await runNode(['-p', '`Node ${process.versions.node} (V8 ${process.versions.v8.split(".", 2).join(".")})`']);
const results = { engine: engine.trim(), pglite: await pgliteVersion(), isQuick, tables: /** @type {object[]} */ ([]) };
console.log(`pgcell beside PGlite ${results.pglite}, ${results.engine}; "times": how many times as fast, or as small, pgcell is`);
let failures = 0;
for (const part of /** @type {(keyof typeof PROCESSES)[]} */ (parts)) {
  const { rows, isSame } = await measure(part);
  for (const { heading, has, hasMean } of TABLES[part] ?? []) {
    const shown = rows.filter(({ name }) => has(name)).map((row) => ({ ...row, name: row.name.replace(/^warm /, '') }));
    console.log('');
    print([heading, 'pgcell', 'PGlite', 'times', 'CPU: pgcell', 'PGlite', 'times']);
    for (const { name, unit, of: { pgcell, pglite }, times, cpuTimes } of shown) {
      print([name, `${fixed(pgcell.median)} ${unit}`, `${fixed(pglite.median)} ${unit}`, fixed(times), fixed(pgcell.cpuMedian), fixed(pglite.cpuMedian), fixed(cpuTimes)]);
    }
    const tests = shown.filter(({ isTotal }) => !isTotal);
    const mean = hasMean && { times: geometricMean(tests.map(({ times }) => times)), cpuTimes: geometricMean(tests.map(({ cpuTimes }) => cpuTimes)) };
    if (mean) {
      print(['geometric mean', '', '', fixed(mean.times), '', '', fixed(mean.cpuTimes)]);
    }
    results.tables.push({ part, heading, rows: shown, isSame, ...(mean && { geometricMean: mean }) });
  }
  if (!isSame) {
    failures++;
    console.log(`  ${part}: ANSWERS DIFFER`);
  }
}
const file = option('json').at(-1);
if (file !== undefined) {
  await writeFile(file, JSON.stringify(results, null, 1));
}
process.exitCode = failures > 0 ? 1 : 0;
