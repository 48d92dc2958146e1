// Measures one part of one contestant in a process of its own: measure.js PART CONTESTANT [--quick]; needs --expose-gc.
// Prints one line of JSON: `{ rows: Row[], answer: string }`, the answer being what both contestants must agree on.
//
// Times are in seconds: by the clock, and the CPU time of the whole process, in which are V8's compilers and garbage collectors.

import { readFileSync, writeSync } from 'node:fs';

import { load } from './contestants.js';
import { randomNumbers, text } from './data.js';
import { CHECK, speedTests } from './speed.js';

/**
 * @typedef {import('./contestants.js').Database} Database
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {'µs' | 'ms' | 'MiB'} unit What it is shown in
 * @property {number} value Seconds by the clock, or MiB
 * @property {number} [cpuSeconds]
 * @property {boolean} [isTotal] Of the other rows: not in their mean
 *
 * @typedef {{ rows: Row[], answer: string }} Found
 */

const [part = '', contestant = ''] = process.argv.slice(2);
const isQuick = process.argv.includes('--quick');

/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN;
const cpuSeconds = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6; };
/** V8 is done with compiling when the process has used less than this, in seconds, in so many milliseconds. */
const QUIET_CPU = 0.01;
const QUIET_MS = 200;
const rest = () => new Promise((resolve) => setTimeout(resolve, 20));

/** Once. @template T @param {() => Promise<T>} work @returns {Promise<{ result: T, value: number, cpuSeconds: number }>} */
async function timed(work) {
  const cpuBegin = cpuSeconds();
  const begin = performance.now();
  const result = await work();
  return { result, value: (performance.now() - begin) / 1e3, cpuSeconds: cpuSeconds() - cpuBegin };
}

/** Many times: the median by the clock, the mean of the CPU time. @param {string} name @param {number} count @param {(i: number) => Promise<unknown>} once @returns {Promise<Row>} */
async function repeated(name, count, once) {
  const times = [];
  const cpuBegin = cpuSeconds();
  for (let i = 0; i < count; i++) {
    const begin = performance.now();
    await once(i);
    times.push((performance.now() - begin) / 1e3);
  }
  return { name, unit: 'µs', value: median(times), cpuSeconds: (cpuSeconds() - cpuBegin) / count };
}

/** @returns {Promise<Database>} */
async function create() {
  return (await load(/** @type {import('./contestants.js').Contestant} */ (contestant))).create();
}

/** @param {Database} db */
async function selectOne(db) {
  const { rows } = await db.query('SELECT 1 AS one');
  if (rows[0]?.one !== 1) {
    throw new Error(`SELECT 1 answered ${JSON.stringify(rows)}`);
  }
}

async function open() {
  const db = await create();
  await selectOne(db);
  return db;
}

/** Of the package's entry to the first row. @returns {Promise<Found>} */
async function start() {
  const { value, cpuSeconds } = await timed(open);
  return { rows: [{ name: 'import to the first SELECT 1', unit: 'ms', value, cpuSeconds }], answer: '' };
}

/** Resident, without files that are mapped: when all garbage is collected, and V8 compiles nothing any more. */
async function residentMib() {
  let busy = Infinity;
  for (let i = 0; i < 40 && busy > QUIET_CPU; i++) {
    globalThis.gc?.();
    const begin = cpuSeconds();
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    busy = cpuSeconds() - begin;
  }
  return Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;
}

/** Further instances in one process, which all stay. @returns {Promise<Found>} */
async function instances() {
  const count = isQuick ? 2 : 4;
  const kept = [await open(), await open()];
  const before = await residentMib();
  const further = [];
  for (let i = 0; i < count; i++) {
    const { result, ...times } = await timed(open);
    kept.push(result);
    further.push(times);
  }
  const after = await residentMib();
  const original = /** @type {Database} */ (kept[0]);
  await original.exec('CREATE TABLE kept (a int); INSERT INTO kept SELECT generate_series(1, 1000)');
  const clones = [];
  let answer = '';
  for (let i = 0; i < count; i++) {
    const { result, ...times } = await timed(async () => { const clone = await original.clone(); await selectOne(clone); return clone; });
    kept.push(result);
    clones.push(times);
    answer = JSON.stringify((await result.query('SELECT count(*), sum(a) FROM kept')).rows);
  }
  const afterClones = await residentMib();
  const middle = (/** @type {{ value: number, cpuSeconds: number }[]} */ all) =>
    ({ value: median(all.map(({ value }) => value)), cpuSeconds: median(all.map((each) => each.cpuSeconds)) });
  return {
    rows: [
      { name: 'a further instance, to its first SELECT 1', unit: 'ms', ...middle(further) },
      { name: 'clone(), to its first SELECT 1', unit: 'ms', ...middle(clones) },
      { name: 'memory of a further instance', unit: 'MiB', value: (after - before) / count },
      { name: 'memory of a clone', unit: 'MiB', value: (afterClones - after) / count },
    ],
    answer,
  };
}

/** @param {string} type @param {string} body */
function message(type, body) {
  const bytes = new TextEncoder().encode(`${type}1234${body}\0`);
  new DataView(bytes.buffer).setUint32(1, bytes.length - 1);
  return bytes;
}

/** @returns {Promise<Found>} */
async function latency() {
  const db = await open();
  const count = isQuick ? 2000 : 10_000;
  const simple = message('Q', 'SELECT 1');
  /** @type {[string, () => Promise<unknown>][]} */
  const calls = [
    ["query('SELECT 1')", () => db.query('SELECT 1')],
    ["query('SELECT $1::int', [1])", () => db.query('SELECT $1::int', [1])],
    ["exec('SELECT 1')", () => db.exec('SELECT 1')],
    ["execProtocolRaw(), 'SELECT 1'", () => db.execProtocolRaw(simple)],
  ];
  const rows = [];
  for (const [name, once] of calls) {
    await repeated(name, count, once); // until V8 has compiled what it compiles
    await rest();
    rows.push(await repeated(name, count, once));
  }
  return { rows, answer: '' };
}

/** One statement, one call of query(), one transaction. @returns {Promise<Found>} */
async function roundTrips() {
  const db = await open();
  const count = isQuick ? 100 : 500;
  const random = randomNumbers(7);
  const rows = [];
  const answers = [];
  for (const [size, name] of /** @type {[number, string][]} */ ([[0, 'small row'], [1000, 'row of 1 kB'], [10_000, 'row of 10 kB']])) {
    const table = `t${size}`;
    const value = () => (size === 0 ? String(random(1e6)) : `'${text(random, size)}'`);
    const values = Array.from({ length: count }, value);
    const others = Array.from({ length: count }, value);
    await db.exec(`CREATE TABLE ${table} (id serial PRIMARY KEY NOT NULL, a ${size === 0 ? 'integer' : 'text'})`);
    rows.push(await repeated(`INSERT of a ${name}`, count, (i) => db.query(`INSERT INTO ${table} (a) VALUES (${values[i]})`)));
    rows.push(await repeated(`SELECT of a ${name}`, count, (i) => db.query(`SELECT * FROM ${table} WHERE id = ${i + 1}`)));
    rows.push(await repeated(`UPDATE of a ${name}`, count, (i) => db.query(`UPDATE ${table} SET a = ${others[i]} WHERE id = ${i + 1}`)));
    answers.push(...(await db.query(`SELECT count(*), md5(string_agg(a::text, ',' ORDER BY id)) FROM ${table}`)).rows);
    rows.push(await repeated(`DELETE of a ${name}`, count, (i) => db.query(`DELETE FROM ${table} WHERE id = ${i + 1}`)));
    answers.push(...(await db.query(`SELECT count(*) FROM ${table}`)).rows);
  }
  return { rows, answer: JSON.stringify(answers) };
}

/** @param {import('./speed.js').Test[]} tests @returns {Promise<Found>} */
async function speedOnce(tests) {
  const { result: db, ...total } = await timed(open);
  /** @type {Row[]} */
  const rows = [];
  let answer = '';
  for (const { number, what, sql } of tests) {
    if (number === '16') {
      answer = JSON.stringify((await db.query(CHECK)).rows);
    }
    globalThis.gc?.();
    await rest();
    const { value, cpuSeconds } = await timed(() => db.exec(sql));
    rows.push({ name: `${number}: ${what}`, unit: 'ms', value, cpuSeconds });
    total.value += value;
    total.cpuSeconds += cpuSeconds;
  }
  rows.push({ name: 'start and all of them', unit: 'ms', isTotal: true, ...total });
  await db.close();
  return { rows, answer };
}

/** Twice, in a new instance each: first as PGlite's own suite does it, where V8 compiles on the way. @returns {Promise<Found>} */
async function speed() {
  const tests = speedTests(isQuick ? 0.1 : 1);
  const first = await speedOnce(tests);
  const second = await speedOnce(tests);
  const warm = second.rows.map((row) => ({ ...row, name: `warm ${row.name}` }));
  return { rows: [...first.rows, ...warm], answer: first.answer + second.answer };
}

/** @type {Record<string, () => Promise<Found>>} */
const PARTS = { start, instances, latency, 'round-trips': roundTrips, speed };
const measurePart = PARTS[part];
if (measurePart === undefined) {
  throw new Error(`no such part: ${part}`);
}
writeSync(1, JSON.stringify(await measurePart()));
process.exit(0); // PGlite leaves handles open
