// The package in Node as users have it there: threads, directories, processes that are killed. Run by node --test.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { PGlite } from '../../js/dist/node.js';

const scratch = mkdtempSync(join(tmpdir(), 'pgcell-node-'));
after(() => rmSync(scratch, { recursive: true, force: true }));
const wasm = fileURLToPath(new URL('../../js/dist/pgcell.wasm', import.meta.url));
const here = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));

/** @param {PGlite} db @param {string} query @returns {Promise<any>} */
const valueOf = async (db, query) => (await db.query(query, [], { rowMode: 'array' })).rows[0]?.[0];

test('instances of one process do not know each other', async () => {
  const all = await Promise.all(Array.from({ length: 8 }, () => PGlite.create()));
  await Promise.all(all.map((db, i) => db.exec(`create table t as select ${i} as i`)));
  assert.deepEqual(await Promise.all(all.map((db) => valueOf(db, 'select i from t'))), [0, 1, 2, 3, 4, 5, 6, 7]);
  await Promise.all(all.map((db) => db.close()));
});

test('instances in worker threads, of one compiled module and of none', async () => {
  const module = await WebAssembly.compile(readFileSync(wasm));
  const run = (/** @type {number} */ i) =>
    new Promise((resolve, reject) => {
      const worker = new Worker(here('thread.js'), { workerData: { i, module: i % 2 ? module : undefined } });
      worker.once('message', resolve).once('error', reject);
    });
  assert.deepEqual(await Promise.all([1, 2, 3, 4].map(run)), [10, 20, 30, 40]);
});

test('a directory keeps a database', async () => {
  const path = join(scratch, 'a', 'b');
  let db = await PGlite.create(path);
  await db.exec("create table t (i int primary key, s text); insert into t select i, repeat('x', i) from generate_series(1, 2000) i");
  await db.close();
  db = await PGlite.create(pathToFileURL(path).href);
  assert.equal(await valueOf(db, 'select sum(length(s))::int from t'), 2001000);
  await db.query('delete from t where i > 5');
  await db.close();
  db = new PGlite(`file://${path}`);
  assert.equal(await valueOf(db, 'select max(i) from t'), 5);
  await assert.rejects(PGlite.create(path), { name: 'StorageError', message: /in use by process/ });
  await assert.rejects(
    new Promise((resolve, reject) => new Worker(here('thread.js'), { workerData: { path } }).once('message', resolve).once('error', reject)),
    { message: /in use by process/ },
  );
  await db.close();
});

test('directories of something else are left alone', async () => {
  const path = join(scratch, 'foreign');
  mkdirSync(path);
  writeFileSync(join(path, 'PG_VERSION'), '18\n');
  await assert.rejects(PGlite.create(path), { name: 'StorageError', message: /not a database of pgcell.*PG_VERSION/ });
  assert.deepEqual(readdirSync(path), ['PG_VERSION']);
  await assert.rejects(PGlite.create('idb://x'), { name: 'TypeError', message: /a directory or memory:\/\// });
});

test('what was reported is there after the process was killed', { timeout: 120_000 }, async () => {
  const path = join(scratch, 'killed');
  let reported = 0;
  for (let round = 0; round < 6; round++) {
    const child = spawn(process.execPath, [here('writer.js'), path], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => child.once('close', resolve));
    let lines = 0;
    let text = '';
    await new Promise((resolve, reject) => {
      child.once('error', reject).once('exit', () => resolve(undefined)); // should it end by itself
      child.stdout.setEncoding('utf8').on('data', (part) => {
        text += part;
        lines = text.split('\n').length - 1;
        if (lines > 20 + round * 37) {
          child.kill('SIGKILL');
        }
      });
    });
    await ended;
    assert.equal(child.signalCode, 'SIGKILL');
    const last = Number(text.slice(0, text.lastIndexOf('\n')).split('\n').at(-1));
    assert(last > reported, `${last} was reported after ${reported}`);
    reported = last;
    const db = await PGlite.create(path);
    const [row] = (await db.query('select max(i), count(*)::int, sum(length(s))::int from t', [], { rowMode: 'array' })).rows;
    const [max, count, length] = /** @type {any} */ (row);
    // one that was committed may not have been reported yet
    assert(max === reported || max === reported + 1, `${max} instead of ${reported}`);
    assert.deepEqual([count, length], [max, max * 300]);
    reported = max;
    await db.close();
  }
});
