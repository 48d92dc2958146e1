// The speed suite: what SQLite's old speed comparison does, test by test, for PostgreSQL. PGlite publishes its times for the same tests
// under the same numbers (2.1 and 3.1 are PGlite's additions). Each test is one call of exec().

import { randomNumbers, words } from './data.js';

const SEED = 20261121;

/**
 * @typedef {object} Test
 * @property {string} number
 * @property {string} what
 * @property {string} sql
 */

/** @param {string} table @param {number} a @param {number} b */
const insert = (table, a, b) => `INSERT INTO ${table} VALUES(${a},${b},'${words(b)}');`;
/** @param {string[]} lines */
const transaction = (...lines) => ['BEGIN;', ...lines, 'COMMIT;'].join('\n');
/** @param {string} table */
const createTable = (table) => `CREATE TABLE ${table}(a INTEGER, b INTEGER, c VARCHAR(100));`;

/** @param {number} factor 1 or less: of the numbers of statements and rows @returns {Test[]} */
export function speedTests(factor) {
  const random = randomNumbers(SEED);
  const count = (/** @type {number} */ n) => Math.max(1, Math.round(n * factor));
  const times = (/** @type {number} */ n, /** @type {(i: number) => string} */ line) => Array.from({ length: count(n) }, (_, i) => line(i));
  const big = () => random(100_000);
  const n = (/** @type {number} */ value) => count(value).toLocaleString('en-US');
  const rows = (/** @type {string} */ table) =>
    `INSERT INTO ${table} VALUES ${times(25_000, (i) => { const b = big(); return `(${i + 1},${b},'${words(b)}')`; }).join(',\n')};`;

  return [
    ['1', `${n(1000)} INSERTs`, [createTable('t1'), ...times(1000, (i) => insert('t1', i + 1, big()))].join('\n')],
    ['2', `${n(25_000)} INSERTs in a transaction`, transaction(createTable('t2'), ...times(25_000, (i) => insert('t2', i + 1, big())))],
    ['2.1', `${n(25_000)} rows in one INSERT`, transaction(createTable('t2_1'), rows('t2_1'))],
    ['3', `${n(25_000)} INSERTs into an indexed table`,
      transaction(createTable('t3'), 'CREATE INDEX i3 ON t3(c);', ...times(25_000, (i) => insert('t3', i + 1, big())))],
    ['3.1', `${n(25_000)} rows in one INSERT into an indexed table`, transaction(createTable('t3_1'), 'CREATE INDEX i3_1 ON t3_1(c);', rows('t3_1'))],
    ['4', `${n(100)} SELECTs without an index`,
      transaction(...times(100, (i) => `SELECT count(*), avg(b) FROM t2 WHERE b>=${i * 100} AND b<${i * 100 + 1000};`))],
    ['5', `${n(100)} SELECTs on a string comparison`,
      transaction(...times(100, (i) => `SELECT count(*), avg(b) FROM t2 WHERE c LIKE '%${words(i + 1)}%';`))],
    ['6', 'creating two indexes', 'CREATE INDEX i2a ON t2(a);\nCREATE INDEX i2b ON t2(b);'],
    ['7', `${n(5000)} SELECTs with an index`,
      times(5000, (i) => `SELECT count(*), avg(b) FROM t2 WHERE b>=${i * 100} AND b<${i * 100 + 100};`).join('\n')],
    ['8', `${n(1000)} UPDATEs without an index`, transaction(...times(1000, (i) => `UPDATE t1 SET b=b*2 WHERE a>=${i * 10} AND a<${i * 10 + 10};`))],
    ['9', `${n(25_000)} UPDATEs with an index`, transaction(...times(25_000, (i) => `UPDATE t2 SET b=${big()} WHERE a=${i + 1};`))],
    ['10', `${n(25_000)} text UPDATEs with an index`, transaction(...times(25_000, (i) => `UPDATE t2 SET c='${words(big())}' WHERE a=${i + 1};`))],
    ['11', 'INSERTs from a SELECT', transaction('INSERT INTO t1 SELECT b,a,c FROM t2;', 'INSERT INTO t2 SELECT b,a,c FROM t1;')],
    ['12', 'DELETE without an index', "DELETE FROM t2 WHERE c LIKE '%fifty%';"],
    ['13', 'DELETE with an index', `DELETE FROM t2 WHERE a>10 AND a<${count(20_000)};`],
    ['14', 'a big INSERT after a big DELETE', 'INSERT INTO t2 SELECT * FROM t1;'],
    ['15', `a big DELETE, then ${n(12_000)} INSERTs`, transaction('DELETE FROM t1;', ...times(12_000, (i) => insert('t1', i + 1, big())))],
    ['16', 'DROP TABLE', 'DROP TABLE t1;\nDROP TABLE t2;\nDROP TABLE t3;'],
  ].map(([number, what, sql]) => ({ number, what, sql })).map((test) => /** @type {Test} */ (test));
}

/** What the tables have before they are dropped: must be the same for both. */
export const CHECK = ['t1', 't2', 't2_1', 't3', 't3_1'].map((table) =>
  `SELECT '${table}' AS name, count(*)::int, md5(string_agg(a || ' ' || b || ' ' || c, ';' ORDER BY a, b, c)) FROM ${table}`)
  .join(' UNION ALL ') + ' ORDER BY name';
