// node-postgres (pg), with pg-copy-streams and pg-cursor.

import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { text } from 'node:stream/consumers';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { afterFailure, cell, check, expected, finish, rejects, settings, sleep, tcp, unix, within } from './checks.js';

async function connect(more = {}) {
  const client = new pg.Client({ ...tcp, ...settings, ...more });
  client.on('error', () => {}); // told to whoever waits for an answer, too
  await client.connect();
  return client;
}

/** The first column of the first row. */
async function value(client, sql, parameters) {
  const { rows } = await client.query({ text: sql, values: parameters, rowMode: 'array' });
  return rows[0][0];
}

const a = await connect();
const b = await connect();
afterFailure(() => Promise.all([a.query('rollback'), b.query('rollback')]));

// ---- connect ----

for (const [name, address] of Object.entries({ 'TCP': tcp, 'Unix socket': unix })) {
  await check(`connect: ${name}`, async () => {
    const client = await connect({ ...address, application_name: 'jay ✓' });
    assert.equal(await value(client, 'select 6 * $1::int', [7]), 42);
    assert.ok(Number(await value(client, 'show server_version_num')) >= 180000);
    assert.equal(await value(client, "select current_setting('application_name')"), 'jay \\xe2\\x9c\\x93');
    await client.end();
  });
}
await check('connect: no such database', async () => {
  await rejects(connect({ database: `nosuch@${cell}` }), '3D000', { severity: 'FATAL', message: /database "nosuch.*" does not exist/ });
});
await check('connect: no such role', () => rejects(connect({ user: 'nobody here' }), '28000', { message: /role "nobody here" does not exist/ }));
await check('connect: another cell is another PostgreSQL', async () => {
  await a.query('create table here (i int)');
  const other = await connect({ database: `postgres@${cell}-2` });
  await rejects(other.query('select * from here'), '42P01');
  await other.end();
  assert.equal((await b.query('select * from here')).rowCount, 0);
});
await check('connect: another database of the cell', async () => {
  const client = await connect({ database: `template1@${cell}` });
  assert.match(await value(client, 'select current_database()'), /^template1/);
  await client.end();
});

// ---- types ----

const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
const values = {
  int: [-2147483648, 'int'],
  bigint: ['9223372036854775807', 'bigint'],
  numeric: ['12345678901234567890.1234567890', 'numeric'],
  'numeric without a value': ['NaN', 'numeric'],
  'double precision': [0.1, 'float8'],
  'infinite double precision': [-Infinity, 'float8'],
  boolean: [false, 'bool'],
  'text in many scripts': ['Žluťoučký κόσμε 日本語 🐘 e\u0301 \'"\\\n', 'text'],
  'empty text': ['', 'text'],
  'long text': ['0123456789🐘'.repeat(100_000), 'text'],
  bytea: [bytes, 'bytea'],
  'empty bytea': [Buffer.alloc(0), 'bytea'],
  json: [{ a: [1, null, 'ü'], b: { c: true } }, 'json'],
  jsonb: [{ deep: [{ x: 1.5 }], text: 'ü🐘' }, 'jsonb'],
  'int array': [[1, null, -3], 'int[]'],
  'text array': [['a,b', '"', '\\', null, 'NULL', '', 'ü'], 'text[]'],
  'two-dimensional array': [[[1, 2], [3, 4]], 'int[]'],
  timestamptz: [new Date('2024-02-29T23:59:59.987Z'), 'timestamptz'],
  'timestamp before 1970': [new Date('1969-07-20T20:17:40.001Z'), 'timestamptz'],
  uuid: ['6f1ed002-ab5d-4a3c-9d0e-0123456789ab', 'uuid'],
  null: [null, 'text'],
};
for (const [name, [sent, type]] of Object.entries(values)) {
  await check(`types: ${name}`, async () => {
    assert.deepEqual(await value(a, `select $1::${type}`, [sent]), sent);
    assert.equal(await value(a, `select $1::${type} is null`, [sent]), sent === null);
  });
}
await check('types: timestamps have microseconds', async () => {
  assert.equal(await value(a, "select ($1::timestamptz at time zone 'UTC')::text", ['2024-02-29 23:59:59.123456+05:30']), '2024-02-29 18:29:59.123456');
});

// ---- prepared ----

await check('prepared: a named statement, 300 times', async () => {
  for (let i = 0; i < 300; i++) {
    const { rows } = await a.query({ name: 'twice', text: 'select $1::int * 2 as twice', values: [i] });
    assert.equal(rows[0].twice, 2 * i);
  }
  assert.equal(await value(a, "select count(*)::int from pg_prepared_statements where name = 'twice' and generic_plans + custom_plans = 300"), 1);
});
await check('prepared: an error leaves it usable', async () => {
  const divide = (by) => a.query({ name: 'divide', text: 'select 10 / $1::int as q', values: [by] });
  assert.equal((await divide(5)).rows[0].q, 2);
  await rejects(divide(0), '22012');
  assert.equal((await divide(2)).rows[0].q, 5);
});
await check('prepared: a changed table', async () => {
  await a.query('create table changing (i int)');
  const ask = () => a.query({ name: 'changing', text: 'select * from changing' });
  await ask();
  await b.query('alter table changing add j int');
  await rejects(ask(), '0A000', { message: /cached plan must not change result type/ });
});
await check('prepared: a cursor reads in parts', async () => {
  const cursor = a.query(new Cursor('select i from generate_series(1, $1::int) i', [25_000]));
  let sum = 0;
  for (let rows; (rows = await cursor.read(1000)).length > 0; ) {
    sum += rows.reduce((total, { i }) => total + i, 0);
  }
  await cursor.close();
  assert.equal(sum, (25_000 * 25_001) / 2);
});

// ---- copy ----

await a.query('create table copied (i int primary key, v text)');
const lines = Array.from({ length: 20_000 }, (_, i) => `${i}\tůň ${i}\n`);
await check('copy: in and out', async () => {
  await pipeline(Readable.from(lines), a.query(copyFrom('copy copied from stdin')));
  assert.equal(await value(a, 'select sum(i)::int from copied'), (19_999 * 20_000) / 2);
  assert.equal(await text(a.query(copyTo('copy (select * from copied order by i) to stdout'))), lines.join(''));
});
await check('copy: a bad row undoes it', async () => {
  const stream = a.query(copyFrom('copy copied from stdin'));
  await rejects(pipeline(Readable.from(['50000\tgood\n', '50001\tgood\n', 'bad\tline\n']), stream), '22P02', { where: /COPY copied, line 3, column i/ });
  assert.equal(await value(a, 'select count(*)::int from copied'), 20_000);
});
await check('copy: the client gives up', async () => {
  const stream = a.query(copyFrom('copy copied from stdin'));
  stream.write('60000\tgood\n');
  stream.destroy(new Error('enough'));
  await once(stream, 'error').catch(() => {});
  assert.equal(await value(a, 'select count(*)::int from copied'), 20_000);
});

// ---- errors ----

await a.query('create table strict (i int primary key, n text not null, c int constraint positive check (c > 0))');
await a.query("insert into strict values (1, 'one', 1)");
const errors = {
  'syntax': ['selec 1', '42601', { position: '1', routine: 'scanner_yyerror', severity: 'ERROR' }],
  'unknown column': ['select nothing from strict', '42703', { position: '8' }],
  'division by zero': ['select 1 / 0', '22012', {}],
  'unique': ["insert into strict values (1, 'x', 1)", '23505',
    { constraint: 'strict_pkey', table: 'strict', schema: 'public', detail: 'Key (i)=(1) already exists.' }],
  'not null': ['insert into strict values (2, null, 1)', '23502', { column: 'n', table: 'strict' }],
  'check': ["insert into strict values (2, 'x', 0)", '23514', { constraint: 'positive' }],
  'raised in plpgsql': ["do $$ begin raise exception 'own' using errcode = 'ZZ001', detail = 'dé', hint = 'hí'; end $$", 'ZZ001',
    { message: 'own', detail: 'dé', hint: 'hí', where: /PL\/pgSQL function inline_code_block line 1 at RAISE/ }],
};
for (const [name, [sql, sqlstate, fields]] of Object.entries(errors)) {
  await check(`errors: ${name}`, async () => {
    await rejects(a.query(sql), sqlstate, fields);
    assert.equal(await value(a, 'select $1::int', [1]), 1);
  });
}
await check('errors: notices', async () => {
  const notice = once(a, 'notice');
  await a.query("do $$ begin raise notice 'hear %', 'ye'; end $$");
  const [{ message, severity, code }] = await within(5, notice);
  assert.deepEqual([message, severity, code], ['hear ye', 'NOTICE', '00000']);
});
await check('errors: a session that another one ends', async () => {
  const victim = await connect();
  const ended = new Promise((done) => victim.on('end', done)); // once() would be rejected at an error
  const waiting = rejects(victim.query('select pg_sleep(20)'), '57P01', { severity: 'FATAL' });
  await sleep(200);
  await a.query('select pg_terminate_backend($1)', [victim.processID]);
  await within(10, waiting);
  await within(10, ended);
});

// ---- transactions ----

await a.query('create table account (id int primary key, amount int not null)');
const reset = () => a.query('truncate account; insert into account select i, 100 from generate_series(1, 20) i');
const amounts = (client = a) => value(client, 'select array_agg(amount order by id) from account where id <= 2');
const give = (client, id, amount) => client.query('update account set amount = amount + $2 where id = $1', [id, amount]);

await check('transactions: commit, rollback, savepoint', async () => {
  await reset();
  await a.query('begin');
  await give(a, 1, 1);
  assert.deepEqual(await amounts(b), [100, 100]);
  await a.query('savepoint s');
  await rejects(a.query('select 1 / 0'), '22012');
  await rejects(a.query('select 1'), '25P02');
  await a.query('rollback to savepoint s');
  await give(a, 2, 2);
  assert.equal((await a.query('commit')).command, 'COMMIT');
  assert.deepEqual(await amounts(b), [101, 102]);
  await a.query('begin');
  await give(a, 1, 50);
  await a.query('rollback');
  assert.deepEqual(await amounts(b), [101, 102]);
});
await check('transactions: serializable ones that conflict', async () => {
  await reset();
  for (const client of [a, b]) {
    await client.query('begin isolation level serializable');
    await client.query('select sum(amount) from account');
  }
  await give(a, 1, -100);
  await give(b, 2, -100);
  await a.query('commit');
  await rejects(b.query('commit'), '40001');
  assert.deepEqual(await amounts(b), [0, 100]);
});
await check('transactions: a deadlock', async () => {
  await reset();
  for (const [client, id] of [[a, 1], [b, 2]]) {
    await client.query("begin; set local deadlock_timeout = '200ms'");
    await give(client, id, 1);
  }
  const outcomes = await Promise.allSettled([give(a, 2, 1), give(b, 1, 1)]);
  assert.deepEqual(outcomes.map((o) => o.reason?.code).filter(Boolean), ['40P01']);
  await Promise.all([a.query('commit'), b.query('commit')]);
  assert.deepEqual(await amounts(), [101, 101]);
});

// ---- notifications ----

await check('notifications: to an idle connection', async () => {
  const heard = [];
  b.on('notification', ({ channel, payload, processId }) => heard.push([channel, payload, processId]));
  const hear = async (sql) => {
    const heardOne = once(b, 'notification');
    await a.query(sql);
    await within(5, heardOne);
  };
  await b.query('listen news');
  await sleep(500);
  await a.query("begin; notify news, 'never'; rollback");
  await hear("select pg_notify('news', 'žádné '), pg_notify('other', 'x')");
  await hear("notify news, 'two'");
  assert.deepEqual(heard, [['news', 'žádné ', a.processID], ['news', 'two', a.processID]]);
  await b.query('unlisten news');
  await a.query("notify news, 'three'");
  await b.query('select 1');
  assert.equal(heard.length, 2);
});

// ---- cancel ----

for (const [name, sql] of Object.entries({ 'sleeps': 'select pg_sleep(20)', 'computes': 'select count(*) from (select generate_series(1, 2000000000)) s' })) {
  for (const [way, address] of Object.entries({ 'TCP': tcp, 'the Unix socket': unix })) {
    await check(`cancel: a query that ${name}, by a request over ${way}`, async () => {
      const query = new pg.Query(sql);
      const ended = expected(new Promise((resolve, reject) => query.on('error', reject).on('end', resolve)));
      a.query(query);
      await sleep(200);
      new pg.Client(address).cancel(a, query);
      await within(10, rejects(ended, '57014', { message: 'canceling statement due to user request' }));
      assert.equal(await value(a, 'select 1'), 1);
    });
  }
}
await check('cancel: a wrong key does nothing', async () => {
  const query = new pg.Query('select pg_sleep(1)');
  const ended = expected(new Promise((resolve, reject) => query.on('error', reject).on('end', resolve)));
  a.query(query);
  await sleep(100);
  new pg.Client(tcp).cancel({ activeQuery: query, processID: a.processID, secretKey: a.secretKey ^ 1 }, query);
  await within(10, ended);
});
await check('cancel: statement_timeout', async () => {
  await a.query("set statement_timeout = '300ms'");
  const late = { message: 'canceling statement due to statement timeout' };
  await within(10, rejects(a.query('select pg_sleep(20)'), '57014', late));
  await within(10, rejects(a.query('select count(*) from (select generate_series(1, 2000000000)) s'), '57014', late));
  await a.query(`set statement_timeout = ${settings.statement_timeout}`);
  assert.equal(await value(a, 'select 1'), 1);
});

// ---- pool ----

await check('pool: 20 connections move money and lose none', async () => {
  await reset();
  const pool = new pg.Pool({ ...tcp, ...settings, max: 20 });
  const pids = new Set();
  let moved = 0;
  async function move(i) {
    const client = await pool.connect();
    pids.add(client.processID);
    try {
      await client.query('begin');
      const [from, to] = [1 + (i % 20), 1 + ((i * 7 + 3) % 20)].sort((x, y) => x - y); // in one order: no deadlock
      await give(client, from, -i);
      await give(client, to, i);
      await client.query(i % 5 === 0 ? 'rollback' : 'commit');
      moved += i % 5 === 0 ? 0 : i;
    } finally {
      client.release();
    }
  }
  await Promise.all(Array.from({ length: 400 }, (_, i) => move(i)));
  assert.equal(moved, Array.from({ length: 400 }, (_, i) => (i % 5 ? i : 0)).reduce((x, y) => x + y));
  assert.equal(await value(a, 'select sum(amount)::int from account'), 2000);
  assert.ok(Number(await value(a, 'select sum(abs(amount - 100))::int from account')) > 0, 'nothing moved');
  assert.equal(pids.size, 20);
  await pool.end();
});

await a.end();
await b.end();
finish();
